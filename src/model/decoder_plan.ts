import { four } from "../kernels/conv2d.ts";
import type { ImageConfig } from "./image_config.ts";

/**
 * One activation of the decoder. Each is made from the one before it by a 3x3 convolution (or attention); that of a resnet also from the
 * resnet's input, two before it.
 */
export interface Activation {
  readonly kind: "conv_in" | "hidden" | "resnet" | "attention" | "upsample" | "image";
  /** The layer as diffusers names it: a resnet's `hidden` is what its conv1 makes, `resnet` what its conv2 makes. */
  readonly name: string;
  readonly height: number;
  readonly width: number;
  readonly inChannels: number;
  readonly channels: number;
  /** The GroupNorm that the activation before this one goes through first. It needs statistics of all of that activation. */
  readonly norm?: string;
  /** Set on the last activation of a block. */
  readonly stage?: string;
}

/** How a decoder is computed: which activations are kept, and in what bands each is made. */
export interface DecoderPlan {
  readonly chain: readonly Activation[];
  readonly kept: readonly boolean[];
  /** Rows of a band of each activation. */
  readonly bandRows: readonly number[];
  /** Floating-point operations of all convolutions and the attention. */
  readonly flops: number;
  /** Estimate of the memory that the activations need at once. */
  readonly bytes: number;
}

export interface DecoderLimits {
  /** Bytes of a band of a kept activation. */
  readonly bandBytes: number;
  /** What the activations may need at once. */
  readonly memoryBytes: number;
  /** The largest tensor that can be bound. */
  readonly bindingBytes: number;
}

/** The activations as diffusers' decoder makes them: mid block, then four up blocks, all but the last of which end in an upsampling. */
export function decoderChain(config: ImageConfig, latentHeight: number, latentWidth: number): Activation[] {
  const { channels, resnetsPerBlock, latentChannels, imageChannels } = config;
  let [height, width, current] = [latentHeight, latentWidth, latentChannels];
  const chain: Activation[] = [];
  const add = (
    kind: Activation["kind"],
    name: string,
    out: number,
    more: { norm?: string; stage?: string } = {},
  ): void => {
    chain.push({ kind, name, height, width, inChannels: current, channels: out, ...more });
    current = out;
  };
  const addResnet = (name: string, out: number, stage?: string): void => {
    add("hidden", name, out, { norm: `${name}.norm1` });
    add("resnet", name, out, { norm: `${name}.norm2`, ...(stage && { stage }) });
  };
  add("conv_in", "decoder.conv_in", channels[0]!);
  addResnet("decoder.mid_block.resnets.0", current);
  if (config.midAttention) {
    const name = "decoder.mid_block.attentions.0";
    add("attention", name, current, { norm: `${name}.group_norm` });
  }
  addResnet("decoder.mid_block.resnets.1", current, "mid block");
  channels.forEach((out, i) => {
    for (let j = 0; j < resnetsPerBlock; j++) addResnet(`decoder.up_blocks.${i}.resnets.${j}`, out);
    if (i === channels.length - 1) return;
    [height, width] = [2 * height, 2 * width];
    add("upsample", `decoder.up_blocks.${i}.upsamplers.0.conv`, out, { stage: `up block ${i}` });
  });
  add("image", "decoder.conv_out", imageChannels, { norm: "decoder.conv_norm_out", stage: "output" });
  return chain;
}

const rowBytes = ({ width, channels }: Activation): number => width * four(channels) * 4;
const inputRowBytes = ({ width, inChannels }: Activation): number => width * four(inChannels) * 4;
const bytesOf = (a: Activation): number => a.height * rowBytes(a);

/** Rows of the bands of each activation, if it is kept and if it is streamed. */
interface BandRows {
  readonly kept: readonly number[];
  readonly streamed: readonly number[];
}

/** Rows of a band that has about `bytes`, and its input no more than twice that; input with halo must be bindable. */
function rowsOfBand(a: Activation, bytes: number, bindingBytes: number): number {
  const wanted = Math.floor(bytes / Math.max(rowBytes(a), inputRowBytes(a) / 2));
  const bindable = Math.floor(bindingBytes / Math.max(rowBytes(a), inputRowBytes(a))) - 2;
  return Math.max(1, Math.min(a.height, wanted, bindable));
}

/** The resnet that ends in activation i has other channels than its input, so a 1x1 convolution takes that to the sum. */
export const hasShortcut = (chain: readonly Activation[], i: number): boolean =>
  chain[i]!.kind === "resnet" && chain[i - 2]!.channels !== chain[i]!.channels;

/**
 * Chooses what is kept so that the work is least within `memoryBytes`.
 *
 * Between two kept activations i and j the others are streamed: made band by band from i, in a pass over the image for the statistics of
 * each norm among them, and in a last pass that makes j. So keeping more costs memory and saves passes. In that last pass the bands of i
 * end as those of j begin, which makes the peak the larger of both, not their sum. Choosing is finding the shortest path from the first
 * activation to the image over the steps i -> j that fit.
 */
export function planDecoder(
  config: ImageConfig,
  latentHeight: number,
  latentWidth: number,
  { bandBytes, memoryBytes, bindingBytes }: DecoderLimits,
): DecoderPlan {
  const chain = decoderChain(config, latentHeight, latentWidth);
  // Many bands of streamed activations are alive at once, one or two of kept ones beside what is kept anyway.
  const rows: BandRows = {
    kept: chain.map((a) => rowsOfBand(a, bandBytes, bindingBytes)),
    streamed: chain.map((a) => rowsOfBand(a, bandBytes / 2, bindingBytes)),
  };
  const steps = chain.map((_, j) =>
    chain.map((_, i): Step | undefined =>
      isPossible(chain, i, j)
        ? { flops: flopsBetween(chain, i, j), bytes: bytesBetween(chain, i, j, rows, bandBytes) }
        : undefined,
    ),
  );
  // Where nothing fits, what needs the least memory.
  const larger = steps.flat().flatMap((s) => (s && s.bytes > memoryBytes ? [s.bytes] : []));
  let path: number[] | undefined;
  for (const budget of [memoryBytes, ...larger.sort((a, b) => a - b)]) if ((path = shortestPath(steps, budget))) break;
  const taken = path!.slice(1).map((j, n) => steps[j]![path![n]!]!);
  const kept = chain.map((_, i) => path!.includes(i));
  return {
    chain,
    kept,
    bandRows: kept.map((keep, i) => (keep ? rows.kept : rows.streamed)[i]!),
    flops: flopsOf(chain[0]!) + taken.reduce((sum, { flops }) => sum + flops, 0),
    bytes: Math.max(...taken.map(({ bytes }) => bytes)),
  };
}

interface Step {
  readonly flops: number;
  readonly bytes: number;
}

/** Whether a kept activation j can be made from a kept i with all between them streamed. */
function isPossible(chain: readonly Activation[], i: number, j: number): boolean {
  if (i >= j - 1) return i === j - 1;
  // A kept hidden activation needs the resnet's input kept, or its shortcut, which is made with it; attention sees all of its input.
  return chain[j]!.kind !== "hidden" && chain.slice(i + 1, j + 1).every(({ kind }) => kind !== "attention");
}

/** Operations of all passes that it takes to get from i to j. */
function flopsBetween(chain: readonly Activation[], i: number, j: number): number {
  let flops = 0;
  let pass = 0; // one pass from i to t
  for (let t = i + 1; t <= j; t++) {
    const shortcutIsKept = t - 1 === i && chain[i]!.kind === "hidden";
    pass += flopsOf(chain[t]!) + (hasShortcut(chain, t) && !shortcutIsKept ? shortcutFlops(chain, t) : 0);
    if (t === j || chain[t + 1]!.norm) flops += pass;
  }
  return chain[j]!.kind === "hidden" && hasShortcut(chain, j + 1) ? flops + shortcutFlops(chain, j + 1) : flops;
}

/** Most bytes that are needed at once on the way from i to j. */
function bytesBetween(chain: readonly Activation[], i: number, j: number, rows: BandRows, bandBytes: number): number {
  let working = 0;
  let gathered = 0;
  const rowsOf = (t: number): number => (t === i || t === j ? rows.kept : rows.streamed)[t]!;
  for (let t = i; t <= j; t++) {
    // Rows of t that its reader's band spans and a band at either end; of a resnet's input, rows from the sum's band to the reader's.
    const a = chain[t]!;
    const isSummed = t + 2 <= j && chain[t + 2]!.kind === "resnet";
    const span = t === j ? 0 : rowsOf(t + 1) * (a.height / chain[t + 1]!.height);
    const alive = isSummed ? span + rowsOf(t + 2) + rowsOf(t) : span + 2 * rowsOf(t);
    working += Math.min(a.height, alive) * rowBytes(a);
    if (t > i) gathered = Math.max(gathered, (rowsOf(t) + 2) * inputRowBytes(a));
  }
  return Math.max(heldBytes(chain, i), heldBytes(chain, j)) + working + gathered + attentionBytes(chain, j, bandBytes);
}

/** Bytes of a kept activation and, inside a resnet, of what will be added to its end. */
function heldBytes(chain: readonly Activation[], i: number): number {
  const { kind } = chain[i]!;
  if (kind === "image") return 0; // it has memory of its own
  const added = hasShortcut(chain, i + 1) ? i : i - 1;
  return bytesOf(chain[i]!) + (kind === "hidden" ? bytesOf(chain[added]!) : 0);
}

/** Queries, keys and values while activation j is made: whole, then as two buffers of which later bands use a part each. */
function attentionBytes(chain: readonly Activation[], j: number, bandBytes: number): number {
  const attention = chain.findIndex(({ kind }) => kind === "attention");
  if (attention < 0 || j < attention) return 0;
  const bytes = bytesOf(chain[attention]!);
  return j === attention ? 3 * bytes : 2 * Math.max(0, bytes - bandBytes);
}

function flopsOf({ kind, height, width, inChannels, channels }: Activation): number {
  const pixels = height * width;
  if (kind === "attention") return 8 * pixels * channels ** 2 + 4 * pixels ** 2 * channels;
  return 2 * 9 * pixels * four(inChannels) * channels;
}

const shortcutFlops = (chain: readonly Activation[], i: number): number =>
  2 * chain[i]!.height * chain[i]!.width * chain[i - 2]!.channels * chain[i]!.channels;

/** Indices from the first activation to the last by the fewest operations over steps of at most `bytes`; undefined if there is no way. */
function shortestPath(steps: readonly (readonly (Step | undefined)[])[], bytes: number): number[] | undefined {
  const best: ({ flops: number; path: number[] } | undefined)[] = [{ flops: 0, path: [0] }];
  for (let j = 1; j < steps.length; j++) {
    steps[j]!.forEach((step, i) => {
      const start = best[i];
      if (!step || !start || step.bytes > bytes) return;
      const flops = start.flops + step.flops;
      // Of equal ones the last: it keeps more, in larger bands.
      if (flops <= (best[j]?.flops ?? Infinity)) best[j] = { flops, path: [...start.path, j] };
    });
  }
  return best.at(steps.length - 1)?.path;
}
