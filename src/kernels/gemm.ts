import matrixSource from "../../shaders/gemm_matrix.wgsl?raw";
import tileSource from "../../shaders/gemm_tile.wgsl?raw";
import registerSource from "../../shaders/gemm_register.wgsl?raw";
import rowsSource from "../../shaders/gemm_rows.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import type { KernelVariant, Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, expectShapes, type Tensor } from "../gpu/tensor.ts";

const lib = ["activation", "gemm_epilogue"];
const tile = defineKernel("gemm_tile", tileSource, { lib });
const kernels = {
  tile,
  tile_f16: tile,
  matrix: defineKernel("gemm_matrix", matrixSource, { lib: [...lib, "matrix_tile"], matrix: true }),
  register: defineKernel("gemm_register", registerSource, { lib }),
  rows: defineKernel("gemm_rows", rowsSource, { lib }),
};

/** Columns and rows of a workgroup in the tile kernels. */
const TILE = [64, 128] as const;

/** "rows" is for few rows. */
export type GemmVariant = KernelVariant | "rows";

/** Numbers as `activate` in shaders/lib/activation.wgsl reads them. */
export const ACTIVATIONS = { none: 0, gelu_tanh: 1, silu: 2, relu: 3 } as const;
export type Activation = keyof typeof ACTIVATIONS;

export interface GemmOptions {
  bias?: Tensor; // [columns]
  activation?: Activation;
  /** y = residual + gate * activation(x w^T + bias): row r uses gate[offset + (r / rowsPerBatch) * stride + column]. */
  gate?: { tensor: Tensor; offset: number; stride: number; rowsPerBatch: number };
  residual?: Tensor; // [rows, columns]
  /** y = activation(x w^T + bias) * multiply: the second half of a gated feed-forward. */
  multiply?: Tensor; // [rows, columns]
  /** Overrides the choice of kernel (benchmarks, the trial, tests). */
  variant?: GemmVariant;
  label?: string;
}

/**
 * y = x w^T with bias, activation, gate, residual. x [.., depth] is read as [rows, depth], w is [columns, depth] of any weight type;
 * y is one tensor or up to three whose last axes add up to `columns`, which then get consecutive columns.
 */
export function gemm(
  rec: Recording,
  x: Tensor,
  w: Tensor,
  y: Tensor | readonly Tensor[],
  options: GemmOptions = {},
): void {
  const [columns, depth] = w.shape as [number, number];
  const rows = elementCount(x.shape) / depth;
  const outputs: readonly Tensor[] = "label" in y ? [y] : y;
  const widths = outputs.map((t) => elementCount(t.shape) / rows);
  if (x.shape.at(-1) !== depth || outputs.length > 3 || widths.reduce((a, b) => a + b, 0) !== columns) {
    throw new ScanvasError(
      "TensorError",
      `gemm ${options.label ?? w.label}: x [${x.shape}], w [${w.shape}] and y ${outputs.map((t) => `[${t.shape}]`).join(" + ")} do not fit`,
    );
  }
  if (depth % 4 !== 0) {
    throw new ScanvasError(
      "TensorError",
      `gemm ${w.label}: depth ${depth} is not a multiple of 4; the converter pads such weights`,
    );
  }
  expectShapes("gemm", { bias: [options.bias, [columns]] });
  const { gate, multiply } = options;
  const residual = options.residual ?? multiply;
  const variant = options.variant ?? (rows <= 4 ? "rows" : rec.profile.variants.gemm);
  const kernel = kernels[variant];
  const [tileColumns, tileRows] = { rows: [8, 1], register: [64, 64], tile: TILE, tile_f16: TILE, matrix: TILE }[
    variant
  ];
  const grid = [Math.ceil(columns / tileColumns!), Math.ceil(rows / tileRows!)];
  rec.dispatch(
    kernel,
    { x, w, bias: options.bias, gate: gate?.tensor, residual, y0: outputs[0], y1: outputs[1], y2: outputs[2] },
    {
      grid,
      arithmetic: variant === "tile_f16" ? "f16" : "f32",
      params: {
        rows,
        columns,
        depth4: depth / 4,
        split0: widths[0]!,
        split1: widths[0]! + (widths[1] ?? 0),
        rows_per_batch: gate?.rowsPerBatch ?? 1,
        gate_offset: gate?.offset ?? 0,
        gate_stride: gate?.stride ?? 0,
        has_bias: Number(Boolean(options.bias)),
        has_gate: Number(Boolean(gate)),
        residual_kind: options.residual ? 1 : multiply ? 2 : 0,
        activation: ACTIVATIONS[options.activation ?? "none"],
      },
      flops: 2 * rows * columns * depth,
    },
  );
}
