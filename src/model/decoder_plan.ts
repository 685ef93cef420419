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
const bytesOf = (a: Activation): number => a.height * rowBytes(a);

/** Rows of which `bytes` hold a band, and twice that its input; input with halo must be bindable. */
function rowsOfBand(a: Activation, bytes: number, bindingBytes: number): number {
  const input = a.width * four(a.inChannels) * 4;
  const wanted = Math.floor(bytes / Math.max(rowBytes(a), input / 2));
  const bindable = Math.floor(bindingBytes / Math.max(rowBytes(a), input)) - 2;
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
 * end as those of j begin, which makes the peak the larger of both, not their sum. Choosing is finding the shortest path from the first activation to
 * the image, over the steps i -> j that fit.
 */
export function planDecoder(
  config: ImageConfig,
  latentHeight: number,
  latentWidth: number,
  { bandBytes, memoryBytes, bindingBytes }: DecoderLimits,
): DecoderPlan {
  const chain = decoderChain(config, latentHeight, latentWidth);
  // Many bands of streamed activations are alive at once, one or two of kept ones beside what is kept anyway.
  const keptRows = chain.map((a) => rowsOfBand(a, bandBytes, bindingBytes));
  const streamedRows = chain.map((a) => rowsOfBand(a, bandBytes / 2, bindingBytes));
  const steps = chain.map((_, j) => chain.map((_, i) => step(chain, i, j, keptRows, streamedRows, bandBytes)));
  const budgets = [memoryBytes, ...new Set(steps.flat().flatMap((s) => (s && s.bytes > memoryBytes ? [s.bytes] : [])))];
  // Where nothing fits, what needs the least memory.
  for (const budget of budgets.sort((a, b) => a - b)) {
    const path = shortestPath(steps, budget);
    if (!path) continue;
    const kept = chain.map((_, i) => path.includes(i));
    const taken = path.slice(1).map((j, n) => steps[j]![path[n]!]!);
    return {
      chain,
      kept,
      bandRows: kept.map((keep, i) => (keep ? keptRows : streamedRows)[i]!),
      flops: flopsOf(chain[0]!) + taken.reduce((sum, { flops }) => sum + flops, 0),
      bytes: Math.max(...taken.map(({ bytes }) => bytes)),
    };
  }
  throw new Error("unreachable: keeping everything is a path");
}

interface Step {
  readonly flops: number;
  readonly bytes: number;
}

/** What it takes to get from a kept activation i to a kept j with all between them streamed; undefined where that cannot be done. */
function step(
  chain: readonly Activation[],
  i: number,
  j: number,
  keptRows: readonly number[],
  streamedRows: readonly number[],
  bandBytes: number,
): Step | undefined {
  const target = chain[j]!;
  if (i >= j) return undefined;
  // A kept hidden activation needs the resnet's input kept, or its shortcut, which is made with it; attention sees all of its input.
  if (i < j - 1 && (target.kind === "hidden" || chain.slice(i + 1, j + 1).some(({ kind }) => kind === "attention"))) {
    return undefined;
  }

  let flops = 0;
  let pass = 0; // of one pass that ends in activation t
  for (let t = i + 1; t <= j; t++) {
    const shortcutIsKept = t - 1 === i && chain[i]!.kind === "hidden";
    pass += flopsOf(chain[t]!) + (hasShortcut(chain, t) && !shortcutIsKept ? shortcutFlops(chain, t) : 0);
    if (t === j || chain[t + 1]!.norm) flops += pass;
  }
  if (target.kind === "hidden" && hasShortcut(chain, j + 1)) flops += shortcutFlops(chain, j + 1);

  /** Bytes of a kept activation and, inside a resnet, of what is to be added to its end. */
  const held = (t: number): number => {
    if (chain[t]!.kind !== "hidden") return bytesOf(chain[t]!);
    return bytesOf(chain[t]!) + bytesOf(chain[hasShortcut(chain, t + 1) ? t : t - 1]!);
  };
  let working = 0;
  let gathered = 0;
  const rowsOf = (t: number): number => (t === i || t === j ? keptRows : streamedRows)[t]!;
  for (let t = i; t <= j; t++) {
    // Rows of t that its reader's band spans and a band at either end; of a resnet's input, rows from the sum's band to the reader's.
    const a = chain[t]!;
    const isSummed = t + 2 <= j && chain[t + 2]!.kind === "resnet";
    const span = t === j ? 0 : rowsOf(t + 1) * (a.height / chain[t + 1]!.height);
    const rows = isSummed ? span + rowsOf(t + 2) + rowsOf(t) : span + 2 * rowsOf(t);
    working += Math.min(a.height, rows) * rowBytes(a);
    if (t > i) gathered = Math.max(gathered, (rowsOf(t) + 2) * a.width * four(a.inChannels) * 4);
  }
  const attention = chain.findIndex(({ kind }) => kind === "attention");
  let aside = 0;
  if (j === attention)
    aside = 3 * bytesOf(target); // queries, keys, values
  // Keys and values are whole tensors, and later each of their two buffers holds one band.
  else if (attention >= 0 && j > attention) aside = 2 * Math.max(0, bytesOf(chain[attention]!) - bandBytes);
  return { flops, bytes: Math.max(held(i), target.kind === "image" ? 0 : held(j)) + working + gathered + aside };
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
