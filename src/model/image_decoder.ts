import type { Recording } from "../gpu/recording.ts";
import { viewTensor, type Tensor } from "../gpu/tensor.ts";
import { attention } from "../kernels/attention.ts";
import { conv2d, four, inputRows, type Rows } from "../kernels/conv2d.ts";
import { gemm } from "../kernels/gemm.ts";
import { copyRows, groupNormFinalise, groupNormPartial, groupStatistics } from "../kernels/group_norm.ts";
import { latentsToRows, rowsToImage } from "../kernels/image_layout.ts";
import type { ImageConfig } from "./image_config.ts";
import type { Weights } from "./weights.ts";

export interface DecodeOptions {
  readonly height: number; // pixels
  readonly width: number;
  /**
   * Largest activation in bytes that is kept whole; what is larger exists only as bands of about this size. Default: what the device can
   * bind.
   */
  readonly bandBytes?: number;
  /** Sees activations before anything can hide a NaN: for finite checks. */
  readonly onStage?: (tensor: Tensor, name: string) => void;
}

/** A layer of the decoder's body: the same resolution in and out, but for the upsampling one. */
interface Layer {
  readonly kind: "resnet" | "upsample";
  readonly prefix: string;
  readonly inChannels: number;
  readonly channels: number;
  readonly height: number; // of its output
  readonly width: number;
  /** Set on the last layer of a block. */
  readonly stage?: string;
}

/** What GroupNorm multiplies by and adds, for the two norms of a resnet. */
interface Norms {
  first?: Tensor;
  second?: Tensor;
}

/**
 * AutoencoderKL's decoder: latents [C, h, w] -> image [3, 8h, 8w] in 0..1 (diffusers, Rombach et al. 2022).
 *
 * GroupNorm wants statistics of whole images. While a layer's output is small it is kept whole. From the first layer that is larger than
 * `bandBytes` on, nothing is kept: the statistics of each norm are gathered band by band, recomputing the layers since the last kept
 * one with the halo rows that their convolutions need, and a last pass makes the picture. So the statistics are exact, there are no seams,
 * and memory is bounded by the band; the price is computing the last layers once for each norm among them.
 */
export function recordImageDecoder(
  rec: Recording,
  config: ImageConfig,
  weights: Weights,
  latents: Tensor,
  image: Tensor,
  options: DecodeOptions,
): void {
  const { channels, latentChannels, groups } = config;
  const [height, width] = latents.shape.slice(-2) as [number, number];
  const budget = Math.min(options.bandBytes ?? Infinity, rec.profile.limits.maxStorageBufferBindingSize);
  const convolution = (name: string, inputs: number, outputs: number, side: 1 | 3) => ({
    weight: weights.get(`${name}.weight`, [outputs, side * side * four(inputs)]),
    bias: weights.get(`${name}.bias`, [outputs]),
  });
  const norm = (name: string, n: number) => ({
    weight: weights.get(`${name}.weight`, [n]),
    bias: weights.get(`${name}.bias`, [n]),
    groups,
    eps: 1e-6,
  });
  const rows = (label: string, from: number, to: number, w: number, n: number): Rows => ({
    tensor: rec.temp(label, [to - from, w, four(n)]),
    first: from,
  });

  // Latents to the first activation, at the latents' resolution.
  let z = rows("latents", 0, height, width, latentChannels);
  const planes = viewTensor(latents, latents.label, [latentChannels, height, width]);
  latentsToRows(rec, planes, z.tensor, 1 / config.scalingFactor, config.shiftFactor);
  if (config.postQuantConv) {
    const y = rows("post_quant", 0, height, width, latentChannels);
    const { weight, bias } = convolution("post_quant_conv", latentChannels, latentChannels, 1);
    conv2d(rec, z, weight, y, { side: 1, height, from: 0, to: height, bias });
    z = y;
  }
  const start = rows("conv_in", 0, height, width, channels[0]!);
  const convIn = convolution("decoder.conv_in", latentChannels, channels[0]!, 3);
  conv2d(rec, z, convIn.weight, start, { side: 3, height, from: 0, to: height, bias: convIn.bias });

  const layers = decoderLayers(config, height, width);
  const norms: Norms[] = layers.map(() => ({}));
  const kept: (Rows | undefined)[] = [];
  const isSmall = ({ height: h, width: w, channels: c, inChannels }: Layer): boolean =>
    h * w * four(Math.max(c, inChannels)) * 4 <= budget;
  /** Bands of a layer's rows: about four activations of a band, halo included, fit the budget. */
  const bandsOf = (h: number, w: number, c: number): [number, number][] => {
    const band = Math.max(8, Math.floor(budget / (w * four(c) * 4 * 4)));
    const count = Math.ceil(h / band);
    return Array.from({ length: count }, (_, i) => [Math.floor((h * i) / count), Math.floor((h * (i + 1)) / count)]);
  };

  /** Rows [from, to) of the input of layer i: kept, or computed for this band. */
  const inputOf = (i: number, from: number, to: number): Rows =>
    i === 0 ? start : (kept[i - 1] ?? compute(i - 1, from, to));

  /** First half of a resnet, rows [from, to): conv1(silu(norm1(x))). */
  const firstHalf = (i: number, x: Rows, from: number, to: number): Rows => {
    const layer = layers[i]!;
    const [low, high] = inputRows(from, to, layer.height, 3);
    const normed = rows("normed", low, high, layer.width, layer.inChannels);
    copyRows(rec, x, normed, { from: low, to: high, scaleShift: norms[i]!.first!, silu: true });
    const hidden = rows("hidden", from, to, layer.width, layer.channels);
    const { weight, bias } = convolution(`${layer.prefix}.conv1`, layer.inChannels, layer.channels, 3);
    conv2d(rec, normed, weight, hidden, { side: 3, height: layer.height, from, to, bias });
    return hidden;
  };

  /** Second half of a resnet, rows [from, to): conv2(silu(norm2(hidden))) + x. */
  const secondHalf = (i: number, x: Rows, hidden: Rows, from: number, to: number): Rows => {
    const { prefix, inChannels, channels: out, height: h, width: w } = layers[i]!;
    const [low, high] = inputRows(from, to, h, 3);
    const normed = rows("normed", low, high, w, out);
    copyRows(rec, hidden, normed, { from: low, to: high, scaleShift: norms[i]!.second!, silu: true });
    const y = rows("y", from, to, w, out);
    const { weight, bias } = convolution(`${prefix}.conv2`, out, out, 3);
    if (inChannels === out) {
      conv2d(rec, normed, weight, y, { side: 3, height: h, from, to, bias, residual: x });
    } else {
      const shortcut = convolution(`${prefix}.conv_shortcut`, inChannels, out, 1);
      conv2d(rec, x, shortcut.weight, y, { side: 1, height: h, from, to, bias: shortcut.bias });
      conv2d(rec, normed, weight, y, { side: 3, height: h, from, to, bias, residual: "y" });
    }
    return y;
  };

  const upsample = (i: number, from: number, to: number): Rows => {
    const { prefix, channels: c, height: h, width: w } = layers[i]!;
    const x = inputOf(i, ...inputRows(from, to, h, 3, true));
    const y = rows("upsampled", from, to, w, c);
    const { weight, bias } = convolution(prefix, c, c, 3);
    conv2d(rec, x, weight, y, { side: 3, height: h, from, to, bias, upsample: true });
    return y;
  };

  /** Rows [from, to) of layer i's output, from the last kept activation. Its norms must be known. */
  const compute = (i: number, from: number, to: number): Rows => {
    const layer = layers[i]!;
    if (layer.kind === "upsample") return upsample(i, from, to);
    const [hiddenLow, hiddenHigh] = inputRows(from, to, layer.height, 3);
    const x = inputOf(i, ...inputRows(hiddenLow, hiddenHigh, layer.height, 3));
    return secondHalf(i, x, firstHalf(i, x, hiddenLow, hiddenHigh), from, to);
  };

  /** Scale and shift of a norm over a whole image that `bandRows` gives band by band. */
  const gather = (
    name: string,
    w: number,
    c: number,
    bands: readonly [number, number][],
    bandRows: (from: number, to: number) => Rows,
  ): Tensor => {
    const statistics = groupStatistics(
      rec,
      "statistics",
      w,
      c,
      bands.map(([from, to]) => to - from),
    );
    for (const [from, to] of bands) groupNormPartial(rec, bandRows(from, to), statistics, from, to);
    const scaleShift = rec.temp("scale_shift", [2, four(c)]);
    groupNormFinalise(rec, statistics, norm(name, c), scaleShift);
    return scaleShift;
  };

  let banded = false;
  layers.forEach((layer, i) => {
    const { prefix, height: h, width: w, inChannels, channels: c } = layer;
    rec.scope(prefix, () => {
      banded ||= !isSmall(layer);
      const bands: [number, number][] = banded ? bandsOf(h, w, Math.max(c, inChannels)) : [[0, h]];
      if (layer.kind === "resnet") {
        norms[i]!.first = gather(`${prefix}.norm1`, w, inChannels, bands, (from, to) => inputOf(i, from, to));
        let hidden: Rows | undefined;
        norms[i]!.second = gather(`${prefix}.norm2`, w, c, bands, (from, to) => {
          const x = inputOf(i, ...inputRows(from, to, h, 3));
          return (hidden = firstHalf(i, x, from, to));
        });
        if (!banded) kept[i] = secondHalf(i, inputOf(i, 0, h), hidden!, 0, h);
      } else if (!banded) kept[i] = upsample(i, 0, h);
      if (prefix === "decoder.mid_block.resnets.0" && config.midAttention) {
        kept[i] = recordMidAttention(rec, weights, kept[i]!, gather, h, w, c);
      }
      if (layer.stage && kept[i]) options.onStage?.(kept[i].tensor, layer.stage);
    });
  });

  rec.scope("decoder.conv_out", () => {
    const last = layers.at(-1)!;
    const { height: h, width: w, channels: c } = last;
    const bands: [number, number][] = banded ? bandsOf(h, w, c) : [[0, h]];
    const scaleShift = gather("decoder.conv_norm_out", w, c, bands, (from, to) => inputOf(layers.length, from, to));
    const { weight, bias } = convolution("decoder.conv_out", c, config.imageChannels, 3);
    for (const [from, to] of bands) {
      const [low, high] = inputRows(from, to, h, 3);
      const x = inputOf(layers.length, low, high);
      const normed = rows("normed", low, high, w, c);
      copyRows(rec, x, normed, { from: low, to: high, scaleShift, silu: true });
      const rgb = rows("rgb", from, to, w, config.imageChannels);
      conv2d(rec, normed, weight, rgb, { side: 3, height: h, from, to, bias });
      options.onStage?.(rgb.tensor, "output");
      rowsToImage(rec, rgb, image);
    }
  });
}

/** The decoder's body as diffusers names it: mid block, then four up blocks, all but the last of which end in an upsampling. */
function decoderLayers({ channels, resnetsPerBlock }: ImageConfig, latentHeight: number, latentWidth: number): Layer[] {
  const layers: Layer[] = [];
  let [height, width, current] = [latentHeight, latentWidth, channels[0]!];
  for (const j of [0, 1]) {
    const prefix = `decoder.mid_block.resnets.${j}`;
    layers.push({
      kind: "resnet",
      prefix,
      inChannels: current,
      channels: current,
      height,
      width,
      ...(j === 1 && { stage: "mid block" }),
    });
  }
  channels.forEach((out, i) => {
    const isLast = i === channels.length - 1;
    for (let j = 0; j < resnetsPerBlock; j++) {
      const prefix = `decoder.up_blocks.${i}.resnets.${j}`;
      layers.push({ kind: "resnet", prefix, inChannels: current, channels: out, height, width });
      current = out;
    }
    if (isLast) return;
    [height, width] = [2 * height, 2 * width];
    const prefix = `decoder.up_blocks.${i}.upsamplers.0.conv`;
    layers.push({ kind: "upsample", prefix, inChannels: out, channels: out, height, width, stage: `up block ${i}` });
  });
  return layers;
}

/** x + to_out(attention(norm(x))): one head of all channels, at the latents' resolution. */
function recordMidAttention(
  rec: Recording,
  weights: Weights,
  x: Rows,
  gather: (
    name: string,
    w: number,
    c: number,
    bands: readonly [number, number][],
    bandRows: (from: number, to: number) => Rows,
  ) => Tensor,
  height: number,
  width: number,
  channels: number,
): Rows {
  const prefix = "decoder.mid_block.attentions.0";
  const { shape } = x.tensor;
  const temp = (label: string): Tensor => rec.temp(label, shape);
  const scaleShift = gather(`${prefix}.group_norm`, width, channels, [[0, height]], () => x);
  const normed = temp("normed");
  copyRows(rec, x, { tensor: normed, first: 0 }, { from: 0, to: height, scaleShift });
  const [q, k, v, mixed, y] = ["q", "k", "v", "mixed", "y"].map(temp) as [Tensor, Tensor, Tensor, Tensor, Tensor];
  gemm(rec, normed, weights.get(`${prefix}.to_qkv.weight`, [3 * channels, channels]), [q, k, v], {
    bias: weights.optional(`${prefix}.to_qkv.bias`),
  });
  const tokens = height * width;
  attention(rec, { q, k, v, y: mixed }, { batch: 1, heads: 1, headDim: channels, queries: tokens, keys: tokens });
  gemm(rec, mixed, weights.get(`${prefix}.to_out.0.weight`, [channels, channels]), y, {
    bias: weights.get(`${prefix}.to_out.0.bias`),
    residual: x.tensor,
  });
  return { tensor: y, first: 0 };
}
