import type { KernelVariant } from "../gpu/recording.ts";
import { precision, random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { scanTokens } from "./conv1d.ref.ts";
import { ssd, ssdProduct } from "./ssd.ts";
import { softplus } from "./ssd_prepare.ref.ts";
import type { ScanGrid } from "./ssd_shape.ts";

/** Means of the raw dt and of A_log; dt' A a position is about -0.002, -0.2 and -15. "huge" has steps up to 400. */
const DECAYS = {
  slow: { dt: -5, spread: 1, aLog: -1 },
  typical: { dt: -3, spread: 1, aLog: 1.4 },
  fast: { dt: 1, spread: 1, aLog: 2.5 },
  huge: { dt: 0, spread: 150, aLog: 1.4 },
};

interface Shape {
  variant: KernelVariant;
  grid: ScanGrid;
  heads: number;
  headDim: number;
  state: number;
  chunk?: number;
  decay: keyof typeof DECAYS;
  stateBudget?: number;
  /** Only `count` heads from `first` on. */
  part?: { first: number; count: number };
  bench?: boolean;
}

export function ssdCase(shape: Shape): KernelCase {
  const { variant, grid, heads, headDim, state, chunk, decay, bench, stateBudget } = shape;
  const part = shape.part ?? { first: 0, count: heads };
  const { batch, height, width, order, directions } = grid;
  const tokens = height * width;
  const sequences = directions * batch;
  const inner = part.count * headDim;
  const q = chunk ?? 128;
  return {
    name:
      `${variant} ${decay} ${order} ${batch}x${height}x${width} ${directions} direction(s), M ${heads} P ${headDim} N ${state} Q ${q}` +
      (shape.part ? `, heads ${part.first} to ${part.first + part.count}` : "") +
      (stateBudget ? `, states of ${stateBudget} bytes` : ""),
    inputs: () => ({
      x: random([sequences, tokens, inner], 1),
      b: random([sequences, tokens, state], 2),
      c: random([sequences, tokens, state], 3),
      dt: {
        shape: [batch, tokens, heads],
        data: randomArray(batch * tokens * heads, 4, DECAYS[decay].spread, DECAYS[decay].dt),
      },
      dtBias: random([heads], 5, 0.3),
      aLog: { shape: [heads], data: randomArray(heads, 6, 0.3, DECAYS[decay].aLog) },
      skip: random([heads], 7),
    }),
    outputs: { y: [sequences, tokens, inner] },
    record: (rec, t) => {
      const product = ssdProduct(rec, { b: t.b!, c: t.c! }, { chunk, variant });
      ssd(
        rec,
        { x: t.x!, b: t.b!, c: t.c!, product, dt: t.dt!, dtBias: t.dtBias!, aLog: t.aLog!, skip: t.skip!, y: t.y! },
        { grid, heads: part.count, firstHead: part.first, headDim, state, stateBudget, variant },
      );
    },
    /** The recurrence itself, one position after the other. */
    reference: ({ x, b, c, dt, dtBias, aLog, skip }) => {
      const y = new Float32Array(sequences * tokens * inner);
      for (let s = 0; s < sequences; s++) {
        const order = scanTokens(grid, s >= batch);
        for (let i = 0; i < part.count; i++) {
          const m = part.first + i;
          const h = new Float64Array(headDim * state);
          for (let t = 0; t < tokens; t++) {
            const row = s * tokens + t;
            const step = softplus(dt![((s % batch) * tokens + order[t]!) * heads + m]! + dtBias![m]!);
            const keep = Math.exp(-step * Math.exp(aLog![m]!));
            for (let p = 0; p < headDim; p++) {
              const value = x![row * inner + i * headDim + p]!;
              let sum = skip![m]! * value;
              for (let n = 0; n < state; n++) {
                const at = p * state + n;
                h[at] = keep * h[at]! + step * value * b![row * state + n]!;
                sum += h[at]! * c![row * state + n]!;
              }
              y[row * inner + i * headDim + p] = sum;
            }
          }
        }
      }
      return { y };
    },
    // All in f32: 1e-7 to 7e-7 measured on SwiftShader, whatever the decay; room for exp (3 + 2|x| ulp) elsewhere.
    // f16: operands, C B^T and results rounded to 11 bits.
    ...precision(variant, 4e-6, { f16: variant === "matrix" ? 1e-3 : 2e-3, halves: ["x", "b", "c", "y"] }),
    ...(bench ? { bench: {}, benchOnly: true } : {}),
  };
}

const grid = (height: number, width: number, order: ScanGrid["order"], directions: 1 | 2, batch = 1): ScanGrid => ({
  batch,
  height,
  width,
  order,
  directions,
});

const small = { heads: 3, headDim: 16, state: 24 };
const wide = { heads: 2, headDim: 64, state: 256 };

export default {
  kernel: "ssd",
  cases: [
    ...(["tile", "register", "tile_f16", "matrix"] as const).flatMap((variant) => [
      ssdCase({ variant, grid: grid(1, 1, "mamba_h", 2), ...small, decay: "typical" }),
      ssdCase({ variant, grid: grid(1, 7, "mamba_w", 2), ...small, decay: "slow" }),
      ssdCase({ variant, grid: grid(3, 9, "mamba_h", 2), ...small, chunk: 28, decay: "typical" }), // Q - 1
      ssdCase({ variant, grid: grid(4, 7, "mamba_w", 1), ...small, chunk: 28, decay: "slow" }), // Q
      ssdCase({ variant, grid: grid(1, 29, "mamba_h", 2), ...small, chunk: 28, decay: "fast" }), // Q + 1
      ssdCase({ variant, grid: grid(3, 31, "mamba_h", 2, 2), ...small, chunk: 28, decay: "slow" }), // 2Q + 37
      ssdCase({ variant, grid: grid(3, 31, "mamba_w", 2), ...small, chunk: 28, decay: "fast" }),
      ssdCase({ variant, grid: grid(5, 13, "mamba_h", 2), ...small, chunk: 16, decay: "huge" }),
      ssdCase({ variant, grid: grid(1, 293, "mamba_w", 1), ...wide, decay: "slow" }), // 2Q + 37
      ssdCase({ variant, grid: grid(13, 17, "mamba_h", 2), ...wide, decay: "typical" }),
      // 6 lanes of 9 slots x 1536 bytes: 4 lanes a group, so one group spans both directions
      ssdCase({
        variant,
        grid: grid(5, 31, "mamba_h", 2),
        ...small,
        chunk: 16,
        decay: "slow",
        stateBudget: 4 * 9 * 1536,
      }),
      ssdCase({ variant, grid: grid(5, 13, "mamba_w", 2), ...small, chunk: 16, decay: "typical", stateBudget: 1 }),
      ssdCase({
        variant,
        grid: grid(3, 31, "mamba_h", 2, 2),
        ...small,
        heads: 9,
        part: { first: 4, count: 3 },
        chunk: 28,
        decay: "typical",
      }),
    ]),
    // Time per token must not grow: 1024, 4096 and 16384 tokens, the real head and state sizes, few heads.
    ...[32, 64, 128].map((side) =>
      ssdCase({
        variant: "register",
        grid: grid(side, side, "mamba_h", 2),
        heads: 6,
        headDim: 64,
        state: 256,
        decay: "typical",
        bench: true,
      }),
    ),
    ssdCase({
      variant: "tile",
      grid: grid(32, 32, "mamba_h", 2),
      heads: 6,
      headDim: 64,
      state: 256,
      decay: "typical",
      bench: true,
    }),
  ],
} satisfies KernelCases;
