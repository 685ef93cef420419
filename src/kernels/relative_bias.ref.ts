import { random, type KernelCase, type KernelCases } from "./case.ts";
import { relativeBias } from "./relative_bias.ts";

function relativeBiasCase(distances: number, buckets: number, heads: number): KernelCase {
  return {
    name: `${distances} distances, ${buckets} buckets, ${heads} heads`,
    inputs: () => ({
      buckets: {
        shape: [distances],
        type: "u32",
        data: Uint32Array.from({ length: distances }, (_, i) => (i * 13 + 5) % buckets),
      },
      table: random([buckets, heads], 1),
    }),
    outputs: { y: [heads, distances] },
    record: (rec, t) => relativeBias(rec, t.buckets!, t.table!, t.y!),
    reference: ({ buckets: bucket, table }) => {
      const y = new Float32Array(heads * distances);
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < distances; i++) y[h * distances + i] = table![bucket![i]! * heads + h]!;
      }
      return { y };
    },
    tolerance: 0, // values are copied
  };
}

export default {
  kernel: "relative_bias",
  cases: [relativeBiasCase(239, 32, 64), relativeBiasCase(65, 32, 4), relativeBiasCase(1, 2, 3)],
} satisfies KernelCases;
