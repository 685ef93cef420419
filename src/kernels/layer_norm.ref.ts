import { inHalf, random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { layerNorm } from "./layer_norm.ts";

interface Shape {
  rows: number;
  dim: number;
  /** Pictures; 0 for no modulation. */
  batch?: number;
  mean?: number;
  bench?: boolean;
}

function layerNormCase({ rows, dim, batch = 1, mean = 0, bench }: Shape): KernelCase {
  const stride = 6 * dim + 4;
  const [shiftOffset, scaleOffset] = [3 * dim + 4, 4 * dim + 4];
  const rowsPerBatch = Math.ceil(rows / Math.max(1, batch));
  return {
    name: `${rows}x${dim} ${batch ? `modulation of ${batch}` : "plain"}${mean ? ` mean ${mean}` : ""}`,
    inputs: () => ({
      x: { shape: [rows, dim], data: randomArray(rows * dim, 1, 2, mean) },
      ...(batch ? { modulation: random([batch, stride], 2) } : {}),
    }),
    outputs: { y: [rows, dim] },
    record: (rec, t) =>
      layerNorm(rec, t.x!, t.y!, {
        eps: 1e-6,
        modulation: batch ? { tensor: t.modulation!, shiftOffset, scaleOffset, stride, rowsPerBatch } : undefined,
      }),
    reference: ({ x, modulation }) => {
      const y = new Float32Array(rows * dim);
      for (let r = 0; r < rows; r++) {
        const row = x!.subarray(r * dim, (r + 1) * dim);
        let sum = 0;
        for (const value of row) sum += value;
        let squares = 0;
        for (const value of row) squares += (value - sum / dim) ** 2;
        for (let c = 0; c < dim; c++) {
          const at = Math.floor(r / rowsPerBatch) * stride + c;
          const scale = modulation?.[scaleOffset + at] ?? 0;
          const shift = modulation?.[shiftOffset + at] ?? 0;
          y[r * dim + c] = ((row[c]! - sum / dim) / Math.sqrt(squares / dim + 1e-6)) * (1 + scale) + shift;
        }
      }
      return { y };
    },
    // f32 rounding of values, the mean and inverseSqrt (2 ULP); a mean of m deviations costs m times as much.
    tolerance: 1e-6 * Math.max(1, mean / 2),
    ...(bench ? { bench: { bytes: 8 * rows * dim }, benchOnly: true } : {}),
  };
}

export default {
  kernel: "layer_norm",
  cases: [
    layerNormCase({ rows: 10, dim: 1152, batch: 2 }),
    layerNormCase({ rows: 7, dim: 48, batch: 3 }), // the last picture has one row
    layerNormCase({ rows: 3, dim: 260, batch: 0 }),
    layerNormCase({ rows: 1, dim: 4, batch: 1 }),
    layerNormCase({ rows: 5, dim: 72, batch: 1, mean: 2000 }), // the one-pass variance would lose all digits
    inHalf(layerNormCase({ rows: 10, dim: 1152, batch: 2 }), ["y"], 4e-4), // the rounding of the result
    layerNormCase({ rows: 4096, dim: 1152, batch: 2, bench: true }),
  ],
} satisfies KernelCases;
