import tileSource from "../../shaders/ssd_chunk_product.wgsl?raw";
import registerSource from "../../shaders/ssd_chunk_product_register.wgsl?raw";
import type { DeviceProfile, Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { chunkPairs, chunksOf, type SsdShape } from "./ssd_shape.ts";

const kernels = {
  tile: defineKernel("ssd_chunk_product", tileSource, { lib: ["tile"] }),
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
  variant: DeviceProfile["gemm"] = rec.profile.gemm,
): void {
  const { sequences, tokens, state, chunk } = shape;
  const chunks = chunksOf(shape);
  expectShapes("ssd_chunk_product", {
    b: [b, [sequences, tokens, state]],
    c: [c, [sequences, tokens, state]],
    product: [product, [sequences, chunks, chunk, chunk]],
  });
  const workgroups = {
    tile: Math.ceil(chunk / 128) * Math.ceil(chunk / 64),
    register: Math.ceil((Math.ceil(chunk / 8) * (chunk / 4)) / 64),
  }[variant];
  rec.dispatch(
    kernels[variant],
    { b, c, product },
    {
      grid: [workgroups, chunks, sequences],
      params: { tokens, state4: state / 4, chunk },
      flops: 2 * sequences * chunkPairs(shape) * state,
    },
  );
}
