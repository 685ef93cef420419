import { viewTensor, type Tensor } from "../gpu/tensor.ts";
import { inHalf, random, type KernelCase, type KernelCases } from "./case.ts";
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
    record: (rec, t) => {
      const rows = (tensor: Tensor): Tensor => viewTensor(tensor, tensor.label, [batch * tokens, tensor.shape[2]!]);
      gatedNorm(rec, { y: [t.y!], z: rows(t.z!), weight: t.weight!, out: rows(t.out!) }, grid, fusion);
    },
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

/** y in parts of `widths` channels, and a band of `count` rows from `first` on. */
function bandCase(g: ScanGrid, widths: number[], fusion: "concat" | "sum", first: number, count: number): KernelCase {
  const tokens = g.height * g.width;
  const rows = g.batch * tokens;
  const inner = widths.reduce((a, b) => a + b, 0);
  const whole = gatedNormCase(g, inner, fusion);
  const columns = whole.outputs.out![2]!;
  const sequences = g.directions * g.batch;
  return {
    ...whole,
    name: `rows ${first} to ${first + count}, y in ${widths.length} parts, ${whole.name}`,
    inputs: () => ({
      ...Object.fromEntries(widths.map((width, i) => [`y${i}`, random([sequences, tokens, width], 4 + i, 3)])),
      z: random([count, inner], 2, 2),
      weight: random([inner], 3),
    }),
    outputs: { out: [count, columns] },
    record: (rec, t) =>
      gatedNorm(
        rec,
        { y: widths.map((_, i) => t[`y${i}`]!), z: t.z!, weight: t.weight!, out: t.out! },
        g,
        fusion,
        first,
      ),
    reference: (inputs) => {
      const y = new Float32Array(sequences * tokens * inner);
      let channel = 0;
      widths.forEach((width, i) => {
        inputs[`y${i}`]!.forEach((v, at) => (y[Math.floor(at / width) * inner + channel + (at % width)] = v));
        channel += width;
      });
      const z = new Float32Array(rows * inner); // the other rows are computed too, and cut off
      z.set(inputs.z!, first * inner);
      const { out } = whole.reference({ y, z, weight: inputs.weight! });
      return { out: out!.subarray(first * columns, (first + count) * columns) };
    },
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
    bandCase(grid(5, 13, "mamba_h", 2, 2), [40, 40, 40, 24], "concat", 60, 30), // across the batch
    bandCase(grid(5, 13, "mamba_w", 2), [80, 64], "sum", 0, 65),
    bandCase(grid(5, 13, "mamba_h", 2), [32, 32, 32, 32, 16], "concat", 3, 50),
    bandCase(grid(4, 6, "mamba_h", 1), [88, 88, 88], "concat", 7, 1),
    inHalf(bandCase(grid(5, 13, "mamba_h", 2, 2), [40, 24], "concat", 60, 30), ["y0", "z", "out"], 4e-4),
    gatedNormCase(grid(64, 64, "mamba_h", 2), 2304, "concat", true),
  ],
} satisfies KernelCases;
