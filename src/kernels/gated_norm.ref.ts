import { random, type KernelCase, type KernelCases } from "./case.ts";
import { scanTokens } from "./conv1d.ref.ts";
import { gatedNorm } from "./gated_norm.ts";
import type { ScanGrid } from "./ssd_shape.ts";

function gatedNormCase(grid: ScanGrid, inner: number, fusion: "concat" | "sum", bench = false): KernelCase {
  const { batch, height, width, order, directions } = grid;
  const tokens = height * width;
  const sequences = directions * batch;
  const columns = directions === 2 && fusion === "concat" ? 2 * inner : inner;
  return {
    name: `${order} ${batch}x${height}x${width} ${directions} direction(s), ${inner} channels, ${fusion}`,
    inputs: () => {
      const z = random([batch, tokens, inner], 2, 2);
      z.data[0] = 300;
      z.data[1] = -300;
      return { y: random([sequences, tokens, inner], 1, 3), z, weight: random([inner], 3) };
    },
    outputs: { out: [batch, tokens, columns] },
    record: (rec, t) => gatedNorm(rec, { y: t.y!, z: t.z!, weight: t.weight!, out: t.out! }, grid, fusion),
    reference: ({ y, z, weight }) => {
      const out = new Float32Array(batch * tokens * columns);
      for (let s = 0; s < sequences; s++) {
        scanTokens(grid, s >= batch).forEach((token, p) => {
          const row = (s % batch) * tokens + token;
          const gated: number[] = [];
          for (let e = 0; e < inner; e++) {
            const gate = z![row * inner + e]!;
            gated.push((y![(s * tokens + p) * inner + e]! * gate) / (1 + Math.exp(-gate)));
          }
          const rms = Math.sqrt(gated.reduce((sum, v) => sum + v * v, 0) / inner + 1e-5);
          const column = columns > inner && s >= batch ? inner : 0;
          gated.forEach((v, e) => (out[row * columns + column + e]! += (v / rms) * weight![e]!));
        });
      }
      return { out };
    },
    tolerance: 1e-6, // exp 3 + 2|x| ulp, inverseSqrt 2 ulp, a sum of squares in another order
    ...(bench
      ? { bench: { bytes: 4 * tokens * (inner * (batch + sequences) + batch * columns) }, benchOnly: true }
      : {}),
  };
}

const grid = (height: number, width: number, order: ScanGrid["order"], directions: 1 | 2, batch = 1): ScanGrid => ({
  batch,
  height,
  width,
  order,
  directions,
});

export default {
  kernel: "gated_norm",
  cases: [
    gatedNormCase(grid(5, 13, "mamba_h", 2, 2), 144, "concat"),
    gatedNormCase(grid(5, 13, "mamba_w", 2), 144, "sum"),
    gatedNormCase(grid(3, 7, "mamba_h", 2, 2), 2304, "sum"),
    gatedNormCase(grid(4, 6, "mamba_w", 1), 264, "concat"),
    gatedNormCase(grid(1, 1, "mamba_h", 2), 4, "concat"),
    gatedNormCase(grid(64, 64, "mamba_h", 2), 2304, "concat", true),
  ],
} satisfies KernelCases;
