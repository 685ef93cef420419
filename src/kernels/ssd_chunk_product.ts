import matrixSource from "../../shaders/ssd_chunk_product_matrix.wgsl?raw";
import tileSource from "../../shaders/ssd_chunk_product.wgsl?raw";
import registerSource from "../../shaders/ssd_chunk_product_register.wgsl?raw";
import type { KernelVariant, Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { chunkPairs, chunksOf, type SsdShape } from "./ssd_shape.ts";

const tile = defineKernel("ssd_chunk_product", tileSource, { lib: ["tile"] });
const kernels = {
  tile,
  tile_f16: tile,
  matrix: defineKernel("ssd_chunk_product_matrix", matrixSource, { lib: ["matrix_tile"], matrix: true }),
  register: defineKernel("ssd_chunk_product_register", registerSource),
};

export interface SsdChunkProductTensors {
  readonly b: Tensor; // [S, T, N]
  readonly c: Tensor; // [S, T, N]
  readonly product: Tensor; // [S, chunks, Q, Q]; only s <= t is written
}

/** C B^T inside each chunk; see the shader. */
export function ssdChunkProduct(
  rec: Recording,
  { b, c, product }: SsdChunkProductTensors,
  shape: SsdShape,
  variant: KernelVariant = rec.profile.variants.scan,
): void {
  const { sequences, tokens, state, chunk } = shape;
  const chunks = chunksOf(shape);
  expectShapes("ssd_chunk_product", {
    b: [b, [sequences, tokens, state]],
    c: [c, [sequences, tokens, state]],
    product: [product, [sequences, chunks, chunk, chunk]],
  });
  const workgroups =
    variant === "register"
      ? Math.ceil((Math.ceil(chunk / 8) * (chunk / 4)) / 64)
      : Math.ceil(chunk / 128) * Math.ceil(chunk / 64);
  rec.dispatch(
    kernels[variant],
    { b, c, product },
    {
      arithmetic: variant === "tile_f16" ? "f16" : "f32",
      grid: [workgroups, chunks, sequences],
      params: { tokens, state4: state / 4, chunk },
      flops: 2 * sequences * chunkPairs(shape) * state,
    },
  );
}
