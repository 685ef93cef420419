import partialSource from "../../shaders/group_norm_partial.wgsl?raw";
import finaliseSource from "../../shaders/group_norm_finalise.wgsl?raw";
import copySource from "../../shaders/copy_rows.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { four, type Rows } from "./conv2d.ts";

const partialKernel = defineKernel("group_norm_partial", partialSource);
const finaliseKernel = defineKernel("group_norm_finalise", finaliseSource);
const copyKernel = defineKernel("copy_rows", copySource);

/**
 * Statistics of one image [height, width, channels] that is seen band by band: `groupNormPartial` for each band, then
 * `groupNormFinalise` once. `bands` are the heights of the bands, in any order.
 */
export interface GroupStatistics {
  /** [chunks, 3, channels rounded up to four] */
  readonly partials: Tensor;
  readonly chunk: number;
  readonly chunks: number;
  /** Chunks written so far by the recording. */
  used: number;
}

/**
 * Pixels a chunk has: about a thousand chunks an image; not so small that the partial sums cost more than the image, nor so large that
 * a band of some thousand pixels has too few of them to keep a GPU busy.
 */
const chunkPixels = (pixels: number): number => Math.min(256, Math.max(64, Math.ceil(pixels / 1024)));

export function groupStatistics(
  rec: Recording,
  label: string,
  width: number,
  channels: number,
  bands: readonly number[],
): GroupStatistics {
  const chunk = chunkPixels(width * bands.reduce((a, b) => a + b, 0));
  const chunks = bands.reduce((sum, rows) => sum + Math.ceil((rows * width) / chunk), 0);
  return { partials: rec.temp(`${label}.partials`, [chunks, 3, four(channels)]), chunk, chunks, used: 0 };
}

/** Adds rows [from, to) of the image to its statistics. */
export function groupNormPartial(rec: Recording, x: Rows, statistics: GroupStatistics, from: number, to: number): void {
  const [, width, channels] = x.tensor.shape as [number, number, number];
  const pixels = (to - from) * width;
  const chunks = Math.ceil(pixels / statistics.chunk);
  expectShapes("group_norm_partial", { partials: [statistics.partials, [statistics.chunks, 3, channels]] });
  checkRows("group_norm_partial", x, from, to);
  if (statistics.used + chunks > statistics.chunks) {
    throw new ScanvasError("TensorError", `group_norm_partial ${x.tensor.label}: more bands than were announced`);
  }
  rec.dispatch(
    partialKernel,
    { x: x.tensor, partials: statistics.partials },
    {
      grid: linearGrid(Math.ceil((chunks * channels) / 4 / 64)),
      params: {
        first: (from - x.first) * width,
        pixels,
        chunk: statistics.chunk,
        chunk0: statistics.used,
        c4: channels / 4,
      },
      flops: 4 * pixels * channels,
    },
  );
  statistics.used += chunks;
}

/** What GroupNorm multiplies each channel by and adds to it: [2, channels rounded up to four]. */
export function groupNormFinalise(
  rec: Recording,
  statistics: GroupStatistics,
  norm: { weight: Tensor; bias: Tensor; groups: number; eps: number },
  scaleShift: Tensor,
): void {
  const { chunks, used, partials } = statistics;
  const channels = norm.weight.shape[0]!;
  const stride = four(channels);
  expectShapes("group_norm_finalise", {
    weight: [norm.weight, [channels]],
    bias: [norm.bias, [channels]],
    partials: [partials, [chunks, 3, stride]],
    scaleShift: [scaleShift, [2, stride]],
  });
  if (used !== chunks || channels % norm.groups !== 0) {
    throw new ScanvasError(
      "TensorError",
      `group_norm_finalise ${norm.weight.label}: ${used} of ${chunks} chunks, ${channels} channels in ${norm.groups} groups`,
    );
  }
  rec.dispatch(
    finaliseKernel,
    { partials, gamma: norm.weight, beta: norm.bias, scale_shift: scaleShift },
    {
      grid: [norm.groups],
      params: { chunks, channels, stride, groups: norm.groups, eps: norm.eps },
      flops: 8 * chunks * channels,
    },
  );
}

/** Copies rows [from, to) of x's image to y, normalised by `scaleShift` [2, channels] and passed through SiLU if asked. */
export function copyRows(
  rec: Recording,
  x: Rows,
  y: Rows,
  options: { from: number; to: number; scaleShift?: Tensor; silu?: boolean },
): void {
  const { from, to, scaleShift, silu = false } = options;
  const [, width, channels] = x.tensor.shape as [number, number, number];
  expectShapes("copy_rows", {
    y: [y.tensor, [y.tensor.shape[0]!, width, channels]],
    scaleShift: [scaleShift, [2, channels]],
  });
  checkRows("copy_rows", x, from, to);
  checkRows("copy_rows", y, from, to);
  const pixels = (to - from) * width;
  rec.dispatch(
    copyKernel,
    { x: x.tensor, scale_shift: scaleShift, y: y.tensor },
    {
      grid: linearGrid(Math.ceil((pixels * channels) / 4 / 64)),
      constants: { NORM: Number(Boolean(scaleShift)), SILU: Number(silu) },
      params: { x_first: (from - x.first) * width, y_first: (from - y.first) * width, pixels, c4: channels / 4 },
      flops: (2 * Number(Boolean(scaleShift)) + 4 * Number(silu)) * pixels * channels,
    },
  );
}

function checkRows(who: string, { tensor, first }: Rows, from: number, to: number): void {
  if (from < first || to > first + tensor.shape[0]! || from >= to) {
    throw new ScanvasError(
      "TensorError",
      `${who}: ${tensor.label} holds rows ${first} to ${first + tensor.shape[0]!}, asked for ${from} to ${to}`,
    );
  }
}
