import { inHalf, precision, random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { attention, type AttentionVariant } from "./attention.ts";

interface Shape {
  heads: number;
  headDim: number;
  queries: number;
  keys: number;
  batch?: number;
  /** k, v and mask of one picture serve all. */
  shared?: boolean;
  /** Keys kept per batch row; the others are masked. */
  kept?: number[];
  bias?: boolean;
  scale?: number;
  /** Standard deviation of q and k: scores have about its square times sqrt(headDim) * scale. */
  spread?: number;
  queriesPerDispatch?: number;
  /** Two groups of heads, side by side in wider rows of y. */
  groups?: boolean;
  variant?: AttentionVariant;
  bench?: boolean;
}

export function attentionCase(s: Shape): KernelCase {
  const { heads, headDim, queries, keys, batch = 1, kept, bias, scale, spread = 1, variant = "tile" } = s;
  const width = heads * headDim;
  const row = s.groups ? 2 * width : width;
  const kvBatch = s.shared ? 1 : batch;
  const factor = scale ?? 1 / Math.sqrt(headDim);
  const options = [
    variant !== "tile" && variant,
    s.shared && "shared",
    kept && `mask ${kept.join("/")}`,
    bias && "bias",
    spread !== 1 && `spread ${spread}`,
    s.queriesPerDispatch && "split",
    s.groups && "in rows of two groups",
  ];
  return {
    name: `${batch}x${queries}x${keys}, ${heads} heads of ${headDim} ${options.filter(Boolean).join(" ")}`.trim(),
    inputs: () => ({
      q: random([batch, queries, width], 1, spread),
      k: random([kvBatch, keys, width], 2, spread),
      v: { shape: [kvBatch, keys, width], data: randomArray(kvBatch * keys * width, 3, 1, 0.5) },
      ...(kept ? { mask: { shape: [kept.length, keys], data: maskOf(kept, keys) } } : {}),
      ...(bias ? { bias: random([heads, 2 * keys - 1], 4) } : {}),
    }),
    outputs: { y: [batch, queries, row] },
    record: (rec, t) => {
      for (const column of s.groups ? [0, width] : [undefined]) {
        attention(
          rec,
          { q: t.q!, k: t.k!, v: t.v!, y: t.y! },
          { ...s, variant, batch, scale, mask: t.mask, bias: t.bias, ...(column !== undefined && { column }) },
        );
      }
    },
    reference: ({ q, k, v, mask, bias: table }) => {
      const y = new Float32Array(batch * queries * row);
      const weights = new Float64Array(keys);
      for (let b = 0; b < batch; b++) {
        const kvRow = s.shared ? 0 : b * keys;
        const maskRow = kept?.length === 1 ? 0 : b * keys;
        for (let h = 0; h < heads; h++) {
          for (let i = 0; i < queries; i++) {
            const query = (b * queries + i) * width + h * headDim;
            let top = -Infinity;
            for (let j = 0; j < keys; j++) {
              let dot = 0;
              for (let c = 0; c < headDim; c++) dot += q![query + c]! * k![(kvRow + j) * width + h * headDim + c]!;
              weights[j] = dot * factor + (table ? table[h * (2 * keys - 1) + j - i + keys - 1]! : 0);
              if (mask && mask[maskRow + j] === 0) weights[j] = -Infinity;
              top = Math.max(top, weights[j]!);
            }
            let total = 0;
            for (let j = 0; j < keys; j++) total += weights[j] = top === -Infinity ? 0 : Math.exp(weights[j]! - top);
            for (let c = 0; c < headDim; c++) {
              let sum = 0;
              for (let j = 0; j < keys; j++) sum += weights[j]! * v![(kvRow + j) * width + h * headDim + c]!;
              const at = (b * queries + i) * row + h * headDim + c;
              for (let column = 0; column < row; column += width) y[at + column] = total === 0 ? 0 : sum / total;
            }
          }
        }
      }
      return { y };
    },
    // f32 sums in another order and exp2 (3 ULP); an error of a score is its size times 1e-7, and grows with the scores. f16: probabilities and
    // results are rounded to 11 bits; scores are f32 sums of products that f32 holds exactly.
    ...precision(variant, 2e-6 * Math.max(1, spread * spread), {
      f16: 6e-4 * Math.max(1, spread / 10),
      halves: ["q", "k", "v", "y"],
    }),
    ...(s.bench ? { bench: {}, benchOnly: true } : {}),
  };
}

function maskOf(kept: number[], keys: number): Float32Array {
  return Float32Array.from({ length: kept.length * keys }, (_, i) => (i % keys < kept[Math.floor(i / keys)]! ? 1 : 0));
}

const real = { heads: 16, headDim: 72 };
const variants: AttentionVariant[] = ["tile", "register", "tile_f16", "matrix"];

export default {
  kernel: "attention",
  cases: [
    ...variants.flatMap((variant) => [
      attentionCase({ variant, ...real, queries: 67, keys: 67 }), // more than one block of queries and keys
      attentionCase({ variant, ...real, queries: 20, keys: 120, batch: 2, kept: [33, 5] }), // cross-attention
      attentionCase({ variant, heads: 64, headDim: 64, queries: 21, keys: 21, bias: true, scale: 1 }), // T5-XXL
      attentionCase({ variant, heads: 2, headDim: 128, queries: 5, keys: 40, batch: 3, shared: true, kept: [37] }),
      attentionCase({ variant, heads: 4, headDim: 12, queries: 33, keys: 33, bias: true, scale: 1 }),
      attentionCase({ variant, heads: 2, headDim: 72, queries: 1, keys: 1 }),
      attentionCase({ variant, heads: 2, headDim: 20, queries: 3, keys: 9, batch: 2, kept: [0, 4] }), // a row of masked keys only
      attentionCase({ variant, heads: 1, headDim: 72, queries: 3, keys: 2051 }),
      attentionCase({ variant, heads: 2, headDim: 72, queries: 150, keys: 50, batch: 2, queriesPerDispatch: 128 }),
      attentionCase({ variant, heads: 2, headDim: 64, queries: 9, keys: 300, spread: 30 }), // scores of +-2000, rescaled on the way
      attentionCase({ variant, heads: 1, headDim: 512, queries: 40, keys: 130 }), // the image decoder's head
      attentionCase({ variant, heads: 1, headDim: 192, queries: 33, keys: 65 }),
      attentionCase({ variant, heads: 2, headDim: 72, queries: 37, keys: 45, batch: 2, groups: true }),
      attentionCase({ variant, heads: 1, headDim: 512, queries: 1, keys: 1 }),
    ]),
    attentionCase({ heads: 3, headDim: 18, queries: 70, keys: 35 }),
    inHalf(attentionCase({ heads: 3, headDim: 18, queries: 70, keys: 35 }), ["q", "k", "v", "y"], 4e-4),
    inHalf(attentionCase({ variant: "register", ...real, queries: 20, keys: 120, kept: [33] }), ["q", "k", "v"], 2e-6),
    attentionCase({ heads: 2, headDim: 18, queries: 35, keys: 20, batch: 2, groups: true }),
    attentionCase({ heads: 1, headDim: 1, queries: 2, keys: 3, kept: [2] }),
    attentionCase({ heads: 2, headDim: 130, queries: 34, keys: 7 }),
    ...variants.flatMap((variant) => [
      // One head is enough to see a rate; all sixteen at 4096 take minutes on a software device.
      attentionCase({ variant, heads: 1, headDim: 72, queries: 1024, keys: 1024, bench: true }),
      attentionCase({ variant, heads: 1, headDim: 72, queries: 4096, keys: 4096, bench: true }),
      attentionCase({ variant, ...real, queries: 4096, keys: 120, kept: [100], bench: true }),
      attentionCase({ variant, heads: 1, headDim: 512, queries: 1024, keys: 1024, bench: true }),
    ]),
  ],
} satisfies KernelCases;
