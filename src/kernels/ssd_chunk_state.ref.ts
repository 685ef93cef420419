import type { KernelVariant } from "../gpu/recording.ts";
import { precision, random, type KernelCase, type KernelCases } from "./case.ts";
import { ssdChunkState } from "./ssd_chunk_state.ts";
import { chunksOf, type SsdShape } from "./ssd_shape.ts";

function chunkStateCase(variant: KernelVariant, shape: SsdShape, first: number, count: number): KernelCase {
  const { sequences, tokens, heads, headDim, state, chunk } = shape;
  const chunks = chunksOf(shape);
  return {
    name: `${variant} ${sequences}x${tokens}, lanes ${first}+${count} of ${heads} heads, P ${headDim} N ${state} Q ${chunk}`,
    inputs: () => ({
      b: random([sequences, tokens, state], 1),
      x: random([sequences, tokens, heads * headDim], 2),
      weight: random([sequences, heads, chunks, chunk], 3),
    }),
    outputs: { states: [count, chunks - 1, state, headDim] },
    record: (rec, t) =>
      ssdChunkState(rec, { b: t.b!, x: t.x!, weight: t.weight!, states: t.states! }, shape, { first, count }, variant),
    reference: ({ b, x, weight }) => {
      const states = new Float32Array(count * (chunks - 1) * state * headDim);
      let at = 0;
      for (let lane = first; lane < first + count; lane++) {
        const rows = Math.floor(lane / heads) * tokens;
        for (let c = 0; c < chunks - 1; c++) {
          for (let n = 0; n < state; n++) {
            for (let p = 0; p < headDim; p++) {
              let sum = 0;
              for (let s = c * chunk; s < (c + 1) * chunk; s++) {
                const w = weight![lane * chunks * chunk + s]!;
                sum += b![(rows + s) * state + n]! * w * x![((rows + s) * heads + (lane % heads)) * headDim + p]!;
              }
              states[at++] = sum;
            }
          }
        }
      }
      return { states };
    },
    // f32 sums of at most 128 products in another order. f16: operands and results rounded to 11 bits; the tile also sums 16 products in f16.
    ...precision(variant, 1e-6, { f16: variant === "matrix" ? 6e-4 : 1.5e-3, halves: ["b", "x"] }),
  };
}

const variants: KernelVariant[] = ["tile", "register", "tile_f16", "matrix"];

export default {
  kernel: "ssd_chunk_state",
  cases: variants.flatMap((variant) => [
    chunkStateCase(variant, { sequences: 2, tokens: 77, heads: 3, headDim: 16, state: 24, chunk: 32 }, 2, 3),
    chunkStateCase(variant, { sequences: 1, tokens: 300, heads: 2, headDim: 64, state: 256, chunk: 128 }, 1, 1),
    chunkStateCase(variant, { sequences: 1, tokens: 45, heads: 1, headDim: 68, state: 132, chunk: 20 }, 0, 1),
    chunkStateCase(variant, { sequences: 2, tokens: 9, heads: 1, headDim: 4, state: 4, chunk: 8 }, 0, 2),
  ]),
} satisfies KernelCases;
