import { viewTensor, type WeightType } from "../gpu/tensor.ts";
import { inHalf, precision, random, type KernelCase, type KernelCases } from "./case.ts";
import { gemm, type Activation, type GemmVariant } from "./gemm.ts";

const activations: Record<Activation, (x: number) => number> = {
  none: (x) => x,
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => Math.max(x, 0),
};

interface Shape {
  rows: number;
  columns: number;
  depth: number;
  variant: GemmVariant;
  weights?: WeightType;
  /** w is rows [first, first + columns) of a larger matrix. */
  first?: number;
  activation?: Activation;
  bias?: boolean;
  /** Rows that share one gate vector. */
  gate?: number;
  residual?: "add" | "multiply";
  splits?: number[];
  bench?: boolean;
}

export function gemmCase(s: Shape): KernelCase {
  const { rows, columns, depth, variant, activation = "none", gate, first = 0 } = s;
  const splits = s.splits ?? [columns];
  const options = [
    s.bias && "bias",
    activation !== "none" && activation,
    gate && "gate",
    s.residual,
    s.splits && "split",
    first && `view from ${first}`,
  ];
  return {
    name: `${variant} ${rows}x${columns}x${depth} ${s.weights ?? "f32"} ${options.filter(Boolean).join(" ")}`.trim(),
    inputs: () => ({
      x: random([rows, depth], 1),
      w: random([first + columns, depth], 2, 1 / Math.sqrt(depth), s.weights ?? "f32"),
      ...(s.bias ? { bias: random([columns], 3) } : {}),
      ...(gate ? { gate: random([Math.ceil(rows / gate), 3 * columns], 4) } : {}),
      ...(s.residual ? { residual: random([rows, columns], 5) } : {}),
    }),
    outputs: Object.fromEntries(splits.map((width, i) => [`y${i}`, [rows, width]])),
    record: (rec, t) =>
      gemm(
        rec,
        t.x!,
        first ? viewTensor(t.w!, "w", [columns, depth], first * depth) : t.w!,
        splits.map((_, i) => t[`y${i}`]!),
        {
          variant,
          activation,
          bias: t.bias,
          gate: gate ? { tensor: t.gate!, offset: columns, stride: 3 * columns, rowsPerBatch: gate } : undefined,
          residual: s.residual === "add" ? t.residual : undefined,
          multiply: s.residual === "multiply" ? t.residual : undefined,
        },
      ),
    reference: ({ x, w, bias, gate: gates, residual }) => {
      const out = splits.map((width) => new Float32Array(rows * width));
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) {
          let sum = bias?.[c] ?? 0;
          for (let k = 0; k < depth; k++) sum += x![r * depth + k]! * w![(first + c) * depth + k]!;
          let value = activations[activation](sum);
          if (gates) value *= gates[Math.floor(r / gate!) * 3 * columns + columns + c]!;
          if (s.residual === "add") value += residual![r * columns + c]!;
          if (s.residual === "multiply") value *= residual![r * columns + c]!;
          let split = 0;
          let column = c;
          while (column >= splits[split]!) column -= splits[split++]!;
          out[split]![r * splits[split]! + column] = value;
        }
      }
      return Object.fromEntries(out.map((data, i) => [`y${i}`, data]));
    },
    // f32 sums of up to 4608 products in another order. f16: weights and results rounded to 11 bits, 3e-4; the tile also sums 16 products in f16.
    ...precision(variant, 2e-6, { f16: variant === "matrix" ? 6e-4 : 2e-3, halves: ["x", "y0"] }),
    ...(s.bench ? { bench: {}, benchOnly: true } : {}),
  };
}

const variants: GemmVariant[] = ["tile", "register", "rows", "tile_f16", "matrix"];

/** Rows of one block, of an odd number of blocks, of the model's widths; odd rows and columns. */
/** tile_f16 differs from the tile in what comes after the weights are unpacked. */
const quantised = variants
  .filter((variant) => variant !== "tile_f16")
  .flatMap((variant) =>
    (["q8", "q4"] as const).flatMap((weights) => [
      gemmCase({ variant, weights, rows: 5, columns: 13, depth: 32 }),
      gemmCase({ variant, weights, rows: 9, columns: 70, depth: 96, first: 32, bias: true, activation: "silu" }),
      gemmCase({ variant, weights, rows: 67, columns: 65, depth: 160, splits: [33, 30, 2] }),
      gemmCase({ variant, weights, rows: 130, columns: 69, depth: 1152, first: 32, gate: 65, residual: "add" }),
      gemmCase({ variant, weights, rows: 3, columns: 21, depth: 2304, residual: "multiply" }),
      gemmCase({ variant, weights, rows: 1, columns: 9, depth: 4608, bias: true }),
    ]),
  );

export default {
  kernel: "gemm",
  cases: [
    ...variants.flatMap((variant) => [
      gemmCase({
        variant,
        rows: 33,
        columns: 3456,
        depth: 1152,
        weights: "f16",
        bias: true,
        splits: [1152, 1152, 1152],
      }), // qkv
      gemmCase({ variant, rows: 37, columns: 345, depth: 72, splits: [144, 192, 9] }), // in_proj, odd
      gemmCase({
        variant,
        rows: 130,
        columns: 70,
        depth: 20,
        bias: true,
        activation: "gelu_tanh",
        gate: 65,
        residual: "add",
      }),
      gemmCase({ variant, rows: 3, columns: 8, depth: 64, activation: "silu", weights: "f16" }),
      gemmCase({ variant, rows: 1, columns: 1, depth: 4, activation: "relu", residual: "multiply" }),
      gemmCase({ variant, rows: 9, columns: 96, depth: 48, activation: "gelu_tanh", residual: "multiply" }),
    ]),
    ...quantised,
    // f32 arithmetic on f16 activations: what is left is the rounding of the result.
    ...(["tile", "register", "rows"] as const).map((variant) =>
      inHalf(gemmCase({ variant, rows: 37, columns: 345, depth: 72, splits: [144, 192, 9] }), ["x", "y0", "y2"], 4e-4),
    ),
    ...(["tile", "register", "tile_f16", "matrix"] as const).map((variant) =>
      gemmCase({ variant, rows: 1024, columns: 1024, depth: 1024, bench: true }),
    ),
    ...(["tile", "register", "tile_f16", "matrix"] as const).flatMap((variant) =>
      (["f16", "q8", "q4"] as const).map((weights) =>
        gemmCase({ variant, rows: 1024, columns: 1152, depth: 1152, weights, bench: true }),
      ),
    ),
    ...(["f16", "q8", "q4"] as const).map((weights) =>
      gemmCase({ variant: "rows", rows: 2, columns: 6912, depth: 1152, weights, bench: true }),
    ),
  ],
} satisfies KernelCases;
