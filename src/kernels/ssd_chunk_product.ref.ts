import type { KernelVariant } from "../gpu/recording.ts";
import { precision, random, type KernelCase, type KernelCases } from "./case.ts";
import { ssdChunkProduct } from "./ssd_chunk_product.ts";
import { chunksOf, type SsdShape } from "./ssd_shape.ts";

/** What the kernels leave alone, blocks wholly above the diagonal, keeps the input; blocks that touch it are theirs to fill. */
const rowsOf: Record<KernelVariant, [number, number]> = {
  tile: [128, 64],
  tile_f16: [128, 64],
  matrix: [128, 64],
  register: [8, 4],
};

function chunkProductCase(
  variant: KernelVariant,
  sequences: number,
  tokens: number,
  state: number,
  chunk: number,
): KernelCase {
  const shape: SsdShape = { sequences, tokens, heads: 1, headDim: 4, state, chunk };
  const chunks = chunksOf(shape);
  const [blockRows, blockColumns] = rowsOf[variant];
  return {
    name: `${variant} ${sequences}x${tokens}, N ${state} Q ${chunk}`,
    inputs: () => ({
      b: random([sequences, tokens, state], 1),
      c: random([sequences, tokens, state], 2),
      product: random([sequences, chunks, chunk, chunk], 3),
    }),
    outputs: { product: [sequences, chunks, chunk, chunk] },
    record: (rec, t) => ssdChunkProduct(rec, { b: t.b!, c: t.c!, product: t.product! }, shape, variant),
    reference: ({ b, c, product }) => {
      const out = product!.slice();
      const row = (position: number): number => Math.min(position, tokens - 1); // past the end: the last token
      for (let sequence = 0; sequence < sequences; sequence++) {
        for (let p = 0; p < chunks * chunk; p++) {
          const first = p - (p % chunk);
          for (let s = 0; s < chunk; s++) {
            const blockEnd = Math.floor((p - first) / blockRows) * blockRows + blockRows - 1;
            if (Math.floor(s / blockColumns) * blockColumns > blockEnd) continue;
            let sum = 0;
            for (let n = 0; n < state; n++) {
              sum +=
                c![(sequence * tokens + row(p)) * state + n]! * b![(sequence * tokens + row(first + s)) * state + n]!;
            }
            out[(sequence * chunks * chunk + p) * chunk + s] = sum;
          }
        }
      }
      return { product: out };
    },
    // f32 sums of at most 256 products in another order. f16: operands and results rounded to 11 bits; the tile also sums 16 products in f16.
    ...precision(variant, 1e-6, { f16: variant === "matrix" ? 6e-4 : 1.5e-3, halves: ["b", "c", "product"] }),
  };
}

const variants: KernelVariant[] = ["tile", "register", "tile_f16", "matrix"];

export default {
  kernel: "ssd_chunk_product",
  cases: variants.flatMap((variant) => [
    chunkProductCase(variant, 2, 77, 24, 32),
    chunkProductCase(variant, 1, 200, 256, 128),
    chunkProductCase(variant, 1, 330, 20, 260),
    chunkProductCase(variant, 2, 1, 4, 4),
  ]),
} satisfies KernelCases;
