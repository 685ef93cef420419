import { random, type KernelCase, type KernelCases } from "./case.ts";
import { rmsNorm } from "./rms_norm.ts";

function rmsNormCase(rows: number, dim: number, spread = 1, bench = false): KernelCase {
  return {
    name: `${rows}x${dim}${spread === 1 ? "" : ` spread ${spread}`}`,
    inputs: () => ({ x: random([rows, dim], 1, spread), weight: random([dim], 2) }),
    outputs: { y: [rows, dim] },
    record: (rec, t) => rmsNorm(rec, t.x!, t.weight!, t.y!, 1e-6),
    reference: ({ x, weight }) => {
      const y = new Float32Array(rows * dim);
      for (let r = 0; r < rows; r++) {
        let squares = 0;
        for (let c = 0; c < dim; c++) squares += x![r * dim + c]! ** 2;
        for (let c = 0; c < dim; c++)
          y[r * dim + c] = (x![r * dim + c]! / Math.sqrt(squares / dim + 1e-6)) * weight![c]!;
      }
      return { y };
    },
    tolerance: 1e-6, // f32 rounding and inverseSqrt (2 ULP)
    ...(bench ? { bench: { bytes: 8 * rows * dim }, benchOnly: true } : {}),
  };
}

export default {
  kernel: "rms_norm",
  cases: [
    rmsNormCase(5, 4096), // T5-XXL
    rmsNormCase(3, 52),
    rmsNormCase(1, 4),
    rmsNormCase(2, 256, 1e5), // where T5's residual stream gets to
    rmsNormCase(2, 64, 1e-4), // eps matters
    rmsNormCase(1024, 4096, 1, true),
  ],
} satisfies KernelCases;
