import type { KernelVariant } from "../gpu/recording.ts";
import { precision, random, randomArray, type KernelCase, type KernelCases } from "./case.ts";
import { ssdOutput } from "./ssd_output.ts";
import { chunksOf, type SsdShape } from "./ssd_shape.ts";

function outputCase(variant: KernelVariant, shape: SsdShape, rate: number): KernelCase {
  const { sequences, tokens, heads, firstHead = 0, headDim, state, chunk } = shape;
  const chunks = chunksOf(shape);
  const steps = [sequences, heads, chunks, chunk];
  const lanes = sequences * heads;
  return {
    name: `${variant} ${sequences}x${tokens}, heads from ${firstHead} to ${firstHead + heads}, P ${headDim} N ${state} Q ${chunk}, decay ${rate} a position`,
    inputs: () => {
      const decay = randomArray(lanes * chunks * chunk, 3);
      decay.forEach((v, i) => (decay[i] = (i % chunk ? decay[i - 1]! : 0) + rate * Math.abs(v)));
      const product = random([sequences, chunks, chunk, chunk], 2);
      product.data.forEach((_, i) => {
        if (i % chunk > Math.floor(i / chunk) % chunk) product.data[i] = NaN; // above the diagonal: nobody may look
      });
      return {
        c: random([sequences, tokens, state], 1),
        product,
        decay: { shape: steps, data: decay },
        step: { shape: steps, data: randomArray(lanes * chunks * chunk, 4).map(Math.abs) },
        x: random([sequences, tokens, heads * headDim], 5),
        ...(chunks > 1 ? { states: random([lanes, chunks - 1, state, headDim], 6) } : {}),
        skip: random([firstHead + heads], 7),
      };
    },
    outputs: { y: [sequences, tokens, heads * headDim] },
    record: (rec, t) =>
      ssdOutput(
        rec,
        {
          c: t.c!,
          product: t.product!,
          decay: t.decay!,
          step: t.step!,
          x: t.x!,
          states: t.states,
          skip: t.skip!,
          y: t.y!,
        },
        shape,
        { first: 0, count: lanes },
        variant,
      ),
    reference: ({ c, product, decay, step, x, states, skip }) => {
      const y = new Float32Array(sequences * tokens * heads * headDim);
      for (let sequence = 0; sequence < sequences; sequence++) {
        for (let p = 0; p < tokens; p++) {
          const at = Math.floor(p / chunk); // chunk
          const t = p % chunk;
          for (let m = 0; m < heads; m++) {
            const lane = sequence * heads + m;
            const f = decay!.subarray((lane * chunks + at) * chunk, (lane * chunks + at + 1) * chunk);
            for (let e = 0; e < headDim; e++) {
              const row = (position: number): number => ((sequence * tokens + position) * heads + m) * headDim + e;
              let sum = skip![firstHead + m]! * x![row(p)]!;
              for (let n = 0; n < state && at > 0; n++) {
                const h = states![((lane * (chunks - 1) + at - 1) * state + n) * headDim + e]!;
                sum += Math.exp(f[t]!) * c![(sequence * tokens + p) * state + n]! * h;
              }
              for (let s = 0; s <= t; s++) {
                const g = product![((sequence * chunks + at) * chunk + t) * chunk + s]!;
                sum +=
                  g * Math.exp(f[t]! - f[s]!) * step![(lane * chunks + at) * chunk + s]! * x![row(at * chunk + s)]!;
              }
              y[row(p)] = sum;
            }
          }
        }
      }
      return { y };
    },
    // f32 sums of at most 384 products in another order, exp 3 + 2|x| ulp. f16: operands and results rounded to 11 bits; the tile also sums 16 products in f16.
    ...precision(variant, 2e-6, { f16: variant === "matrix" ? 6e-4 : 1.5e-3, halves: ["c", "product", "x", "y"] }),
  };
}

const variants: KernelVariant[] = ["tile", "register", "tile_f16", "matrix"];

export default {
  kernel: "ssd_output",
  cases: variants.flatMap((variant) => [
    outputCase(variant, { sequences: 2, tokens: 77, heads: 3, headDim: 16, state: 24, chunk: 32 }, -0.05),
    outputCase(variant, { sequences: 2, tokens: 45, heads: 3, firstHead: 4, headDim: 16, state: 8, chunk: 32 }, -0.05),
    outputCase(variant, { sequences: 1, tokens: 150, heads: 2, headDim: 64, state: 256, chunk: 128 }, -0.01),
    outputCase(variant, { sequences: 1, tokens: 300, heads: 1, headDim: 68, state: 20, chunk: 140 }, -3),
    outputCase(variant, { sequences: 2, tokens: 1, heads: 1, headDim: 4, state: 4, chunk: 4 }, -1),
  ]),
} satisfies KernelCases;
