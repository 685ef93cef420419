import tileSource from "../../shaders/conv2d_tile.wgsl?raw";
import registerSource from "../../shaders/conv2d_register.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";

const lib = ["conv2d"];
const tile = defineKernel("conv2d_tile", tileSource, { lib });
const kernels = {
  tile,
  tile_f16: tile,
  register: defineKernel("conv2d_register", registerSource, { lib }),
};

export type Conv2dVariant = keyof typeof kernels;

/** Some rows of an image: `tensor` is [rows, width, channels] and its row 0 is row `first` of the image. */
export interface Rows {
  readonly tensor: Tensor;
  readonly first: number;
}

/** Channels are stored in vec4s: an activation has its channels rounded up to four, the rest zero. */
export const four = (channels: number): number => Math.ceil(channels / 4) * 4;

/** Most operations one dispatch may have, so that none runs into a watchdog: 0.1 s on a slow GPU of 0.2 TFLOP/s. */
const MAX_DISPATCH_FLOPS = 2e10;

export interface Conv2dOptions {
  /** 3: 3x3 with zero padding; 1: 1x1. */
  side: 1 | 3;
  /** Rows of the whole output image, and the rows [from, to) of it that are to be computed. */
  height: number;
  from: number;
  to: number;
  bias?: Tensor; // [outputs]
  /** Convolve the nearest 2x upsampling of x. */
  upsample?: boolean;
  /** Added to the result; "y" adds to what y holds. */
  residual?: Rows | "y";
  /** Overrides the choice of kernel (benchmarks, tests). */
  variant?: Conv2dVariant;
}

/** The rows of x that rows [from, to) of the output need, within an image of `height` output rows. */
export function inputRows(from: number, to: number, height: number, side: 1 | 3, upsample = false): [number, number] {
  const margin = side >> 1;
  const [low, high] = [Math.max(0, from - margin), Math.min(height, to + margin)];
  return upsample ? [low >> 1, (high + 1) >> 1] : [low, high];
}

/**
 * Rows [from, to) of y = conv(x) + bias + residual, NHWC, stride 1. w is [outputs, side * side * channels], tap by tap, of any
 * weight type. x must hold the rows that `inputRows` names; rows outside the image are zeros.
 */
export function conv2d(rec: Recording, x: Rows, w: Tensor, y: Rows, options: Conv2dOptions): void {
  const { side, height, from, to, bias, upsample = false, residual } = options;
  const [xRows, xWidth, channels] = x.tensor.shape as [number, number, number];
  const [yRows, width, stored] = y.tensor.shape as [number, number, number];
  const [outputs, depth] = w.shape as [number, number];
  const [low, high] = inputRows(from, to, height, side, upsample);
  if (
    channels % 4 !== 0 ||
    depth !== side * side * channels ||
    stored !== four(outputs) ||
    width !== xWidth * (upsample ? 2 : 1) ||
    !(from < to && y.first <= from && to <= y.first + yRows && to <= height) ||
    !(x.first <= low && high <= x.first + xRows)
  ) {
    throw new ScanvasError(
      "TensorError",
      `conv2d ${w.label} [${w.shape}]: x [${x.tensor.shape}] from row ${x.first} and y [${y.tensor.shape}] from row ${y.first} ` +
        `do not fit rows ${from} to ${to} of ${height}`,
    );
  }
  expectShapes("conv2d", { bias: [bias, [outputs]] });
  const added = residual === "y" ? undefined : residual;
  if (added) {
    expectShapes("conv2d", { residual: [added.tensor, [added.tensor.shape[0]!, width, stored]] });
    if (added.first > from || to > added.first + added.tensor.shape[0]!) {
      throw new ScanvasError(
        "TensorError",
        `conv2d ${w.label}: residual from row ${added.first} lacks rows ${from} to ${to}`,
      );
    }
  }
  const variant = options.variant ?? rec.profile.variants[outputs <= 8 ? "convFew" : "conv"];
  const [tileChannels, tilePixels] = variant === "register" ? [64, 64] : [64, 128];
  const rowFlops = 2 * width * outputs * depth;
  const mostRows = Math.min(
    Math.floor(MAX_DISPATCH_FLOPS / rowFlops),
    Math.floor((rec.profile.limits.maxComputeWorkgroupsPerDimension * tilePixels) / width),
  );
  const parts = Math.ceil((to - from) / Math.max(1, mostRows));
  for (let part = 0; part < parts; part++) {
    const row0 = from + Math.floor(((to - from) * part) / parts);
    const pixels = (from + Math.floor(((to - from) * (part + 1)) / parts) - row0) * width;
    rec.dispatch(
      kernels[variant],
      { x: x.tensor, w, bias, residual: added?.tensor, y: y.tensor },
      {
        grid: [Math.ceil(outputs / tileChannels), Math.ceil(pixels / tilePixels)],
        arithmetic: variant === "tile_f16" ? "f16" : "f32",
        params: {
          row0,
          pixels,
          height,
          width,
          c4: channels / 4,
          outputs,
          side,
          upsample: Number(upsample),
          x_row0: x.first,
          y_row0: y.first,
          residual_row0: added?.first ?? 0,
          residual_kind: residual === "y" ? 2 : Number(Boolean(added)),
          has_bias: Number(Boolean(bias)),
        },
        flops: 2 * pixels * outputs * depth,
      },
    );
  }
}
