import type { Recording } from "../gpu/recording.ts";
import { viewTensor, type Tensor } from "../gpu/tensor.ts";
import { attention } from "../kernels/attention.ts";
import { conv2d, four, inputRows, type Rows } from "../kernels/conv2d.ts";
import { gemm } from "../kernels/gemm.ts";
import { copyRows, groupNormFinalise, groupNormPartial, groupStatistics } from "../kernels/group_norm.ts";
import { latentsToRows, rowsToImage } from "../kernels/image_layout.ts";
import { hasShortcut, planDecoder } from "./decoder_plan.ts";
import type { ImageConfig } from "./image_config.ts";
import type { Weights } from "./weights.ts";

export interface DecodeOptions {
  readonly height: number; // pixels
  readonly width: number;
  /** Activations are made and stored in bands of rows of about this many bytes. Default: 16 MiB, a convolution's work for one dispatch. */
  readonly bandBytes?: number;
  /**
   * About the most memory that activations may take. What does not fit is computed again for each GroupNorm that reads it; where not even
   * that fits, the least that is possible is taken. Default: the profile's `decoderBytes`.
   */
  readonly memoryBytes?: number;
  /** Sees activations, band by band, before anything can hide a NaN: for finite checks. */
  readonly onStage?: (tensor: Tensor, name: string) => void;
}

const BAND_BYTES = 16 << 20;

/**
 * AutoencoderKL's decoder: latents [C, h, w] -> image [3, 8h, 8w] in 0..1 (diffusers, Rombach et al. 2022).
 *
 * Every activation is a list of bands of rows. A band is made from the bands that hold its input rows, halo included, so within a pass
 * over the image no row is computed twice and there are no seams. GroupNorm wants statistics of whole images: after a pass over a kept
 * activation its bands are there to be read; one that is not kept is made again, band by band, in the next pass. `planDecoder` chooses.
 * The memory of a band is free after its last use, which the memory plan sees by itself.
 */
export function recordImageDecoder(
  rec: Recording,
  config: ImageConfig,
  weights: Weights,
  latents: Tensor,
  image: Tensor,
  options: DecodeOptions,
): void {
  const [latentHeight, latentWidth] = latents.shape.slice(-2) as [number, number];
  const { chain, kept, bandRows } = planDecoder(config, latentHeight, latentWidth, {
    bandBytes: options.bandBytes ?? BAND_BYTES,
    memoryBytes: options.memoryBytes ?? rec.profile.decoderBytes,
    bindingBytes: rec.profile.limits.maxStorageBufferBindingSize,
  });
  const start = recordLatents(rec, config, weights, latents);
  /** Bands of each activation that are there to be read, by number. */
  const bands: Rows[][] = chain.map(() => []);
  /** Of a kept `hidden`: the resnet's input through its 1x1 convolution, where it has one. */
  const shortcuts: Rows[][] = chain.map(() => []);
  /** What the norm in front of an activation multiplies by and adds, once it is known. */
  const scaleShifts: (Tensor | undefined)[] = [];

  /** The bands of activation i that hold rows of [from, to), made if they are not there. */
  const bandsOf = (i: number, from: number, to: number): Rows[] => {
    const rows = bandRows[i]!;
    const numbers = Array.from(
      { length: Math.ceil(to / rows) - Math.floor(from / rows) },
      (_, n) => n + Math.floor(from / rows),
    );
    return numbers.map((k) => (bands[i]![k] ??= makeBand(i, k * rows, Math.min(chain[i]!.height, (k + 1) * rows))));
  };

  /** Rows [from, to) of activation i in one tensor, as activation i + 1 wants them. */
  const gather = (i: number, from: number, to: number): Rows => {
    const { width, channels } = chain[i]!;
    const reader = chain[i + 1]!;
    const parts = bandsOf(i, from, to); // all made before the first is copied, so that `gathered` does not live while they are
    if (parts.length === 1 && !reader.norm) return parts[0]!;
    const gathered = { tensor: rec.temp("gathered", [to - from, width, four(channels)]), first: from };
    const scaleShift = scaleShifts[i + 1];
    const silu = Boolean(scaleShift) && reader.kind !== "attention";
    for (const part of clip(parts, from, to)) {
      copyRows(rec, part.rows, gathered, { from: part.from, to: part.to, scaleShift, silu });
    }
    return gathered;
  };

  /** Rows [from, to) of a resnet's input through its 1x1 convolution; `i` is the resnet's end. */
  const shortcut = (i: number, from: number, to: number): Rows => {
    const { name, height, width, channels } = chain[i]!;
    const { weight, bias } = convolution(weights, `${name}.conv_shortcut`, chain[i - 2]!.channels, channels, 1);
    const y = { tensor: rec.temp("y", [to - from, width, four(channels)]), first: from };
    for (const part of clip(bandsOf(i - 2, from, to), from, to)) {
      conv2d(rec, part.rows, weight, y, { side: 1, height, bias, from: part.from, to: part.to });
    }
    return y;
  };

  const makeBand = (i: number, from: number, to: number): Rows => {
    const { kind, name, height, width, inChannels, channels } = chain[i]!;
    const upsample = kind === "upsample";
    const x = i === 0 ? start : gather(i - 1, ...inputRows(from, to, height, 3, upsample));
    return rec.scope(name, () => {
      const conv = kind === "hidden" ? `${name}.conv1` : kind === "resnet" ? `${name}.conv2` : name;
      const { weight, bias } = convolution(weights, conv, inChannels, channels, 3);
      const shared = { side: 3, height, bias, upsample } as const;
      if (hasShortcut(chain, i) && !kept[i - 1]) {
        const y = shortcut(i, from, to);
        conv2d(rec, x, weight, y, { ...shared, from, to, residual: "y" });
        return y;
      }
      if (kind === "hidden" && kept[i] && hasShortcut(chain, i + 1)) shortcuts[i]!.push(shortcut(i + 1, from, to));
      const y = { tensor: rec.temp("y", [to - from, width, four(channels)]), first: from };
      if (kind !== "resnet") conv2d(rec, x, weight, y, { ...shared, from, to });
      else {
        const added = hasShortcut(chain, i) ? shortcuts[i - 1]! : bandsOf(i - 2, from, to);
        for (const part of clip(added, from, to)) {
          conv2d(rec, x, weight, y, { ...shared, from: part.from, to: part.to, residual: part.rows });
        }
      }
      return y;
    });
  };

  /** All bands of activation i, one after the other, and the statistics of them that the next activation's norm wants. */
  const pass = (i: number): void => {
    const { kind, height, width, channels, stage } = chain[i]!;
    const norm = chain[i + 1]?.norm;
    const starts = Array.from({ length: Math.ceil(height / bandRows[i]!) }, (_, k) => k * bandRows[i]!);
    const heights = starts.map((from) => Math.min(height - from, bandRows[i]!));
    const statistics = norm && rec.scope(norm, () => groupStatistics(rec, "statistics", width, channels, heights));
    starts.forEach((from, k) => {
      const to = from + heights[k]!;
      const band = bandsOf(i, from, to)[0]!;
      if (stage) options.onStage?.(band.tensor, stage);
      if (statistics) rec.scope(norm!, () => groupNormPartial(rec, band, statistics, from, to));
      if (kind === "image") rowsToImage(rec, band, image);
    });
    if (statistics) {
      rec.scope(norm!, () => {
        const scaleShift = rec.temp("scale_shift", [2, four(channels)]);
        const affine = {
          weight: weights.get(`${norm}.weight`, [channels]),
          bias: weights.get(`${norm}.bias`, [channels]),
        };
        groupNormFinalise(rec, statistics, { ...affine, groups: config.groups, eps: 1e-6 }, scaleShift);
        scaleShifts[i + 1] = scaleShift;
      });
    }
    chain.forEach((_, m) => {
      if (!kept[m]) bands[m] = [];
    });
  };

  chain.forEach(({ kind, name }, i) => {
    if (kind === "attention") {
      bands[i] = rec.scope(name, () =>
        recordMidAttention(rec, weights, name, bands[i - 1]!, (x) => gather(i - 1, x.first, endOf(x))),
      );
    }
    if (kept[i] || chain[i + 1]?.norm) pass(i);
  });
}

const endOf = ({ tensor, first }: Rows): number => first + tensor.shape[0]!;

/** What each of `bands` holds of rows [from, to), without those that hold nothing of it. */
function clip(bands: readonly Rows[], from: number, to: number): { rows: Rows; from: number; to: number }[] {
  return bands
    .map((rows) => ({ rows, from: Math.max(from, rows.first), to: Math.min(to, endOf(rows)) }))
    .filter((part) => part.from < part.to);
}

function convolution(
  weights: Weights,
  name: string,
  inputs: number,
  outputs: number,
  side: 1 | 3,
): { weight: Tensor; bias: Tensor } {
  return {
    weight: weights.get(`${name}.weight`, [outputs, side * side * four(inputs)]),
    bias: weights.get(`${name}.bias`, [outputs]),
  };
}

/** The latents as the first convolution reads them. */
function recordLatents(rec: Recording, config: ImageConfig, weights: Weights, latents: Tensor): Rows {
  const { latentChannels: channels, scalingFactor, shiftFactor } = config;
  const [height, width] = latents.shape.slice(-2) as [number, number];
  const temp = (label: string): Rows => ({ tensor: rec.temp(label, [height, width, four(channels)]), first: 0 });
  const z = temp("latents");
  latentsToRows(
    rec,
    viewTensor(latents, latents.label, [channels, height, width]),
    z.tensor,
    1 / scalingFactor,
    shiftFactor,
  );
  if (!config.postQuantConv) return z;
  const y = temp("post_quant");
  const { weight, bias } = convolution(weights, "post_quant_conv", channels, channels, 1);
  conv2d(rec, z, weight, y, { side: 1, height, from: 0, to: height, bias });
  return y;
}

/** x + to_out(attention(norm(x))): one head of all channels, at the latents' resolution. Queries in bands, keys and values whole. */
function recordMidAttention(
  rec: Recording,
  weights: Weights,
  prefix: string,
  x: readonly Rows[],
  normed: (band: Rows) => Rows,
): Rows[] {
  const [, width, channels] = x[0]!.tensor.shape as [number, number, number];
  const height = endOf(x.at(-1)!);
  const qkv = weights.get(`${prefix}.to_qkv.weight`, [3 * channels, channels]);
  const qkvBias = weights.optional(`${prefix}.to_qkv.bias`);
  const out = weights.get(`${prefix}.to_out.0.weight`, [channels, channels]);
  const outBias = weights.get(`${prefix}.to_out.0.bias`, [channels]);
  const [k, v] = ["k", "v"].map((label) => rec.temp(label, [height, width, channels])) as [Tensor, Tensor];
  const queries = x.map((band) => {
    const [q, keys, values] = ["q", "keys", "values"].map((label) => rec.temp(label, band.tensor.shape)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    gemm(rec, normed(band).tensor, qkv, [q, keys, values], { bias: qkvBias });
    rec.copy(keys, k, { to: band.first * width * channels });
    rec.copy(values, v, { to: band.first * width * channels });
    return q;
  });
  return x.map(({ tensor, first }, i) => {
    const q = queries[i]!;
    const [mixed, y] = ["mixed", "y"].map((label) => rec.temp(label, tensor.shape)) as [Tensor, Tensor];
    const sizes = { batch: 1, heads: 1, headDim: channels, queries: tensor.shape[0]! * width, keys: height * width };
    attention(rec, { q, k, v, y: mixed }, sizes);
    gemm(rec, mixed, out, y, { bias: outBias, residual: tensor });
    return { tensor: y, first };
  });
}
