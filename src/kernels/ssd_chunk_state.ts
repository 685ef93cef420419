import matrixSource from "../../shaders/ssd_chunk_state_matrix.wgsl?raw";
import tileSource from "../../shaders/ssd_chunk_state.wgsl?raw";
import registerSource from "../../shaders/ssd_chunk_state_register.wgsl?raw";
import type { KernelVariant, Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { chunksOf, type LaneRange, type SsdShape } from "./ssd_shape.ts";

const tile = defineKernel("ssd_chunk_state", tileSource, { lib: ["tile"] });
const kernels = {
  tile,
  tile_f16: tile,
  matrix: defineKernel("ssd_chunk_state_matrix", matrixSource, { lib: ["matrix_tile"], matrix: true }),
  register: defineKernel("ssd_chunk_state_register", registerSource),
};

export interface SsdChunkStateTensors {
  readonly b: Tensor; // [S, T, N]
  readonly x: Tensor; // [S, T, E]
  readonly weight: Tensor; // [S, M, chunks, Q]
  readonly states: Tensor; // [lanes, chunks - 1, N, P]
}

/** What every chunk but the last adds to the states of `lanes`; see the shader. */
export function ssdChunkState(
  rec: Recording,
  { b, x, weight, states }: SsdChunkStateTensors,
  shape: SsdShape,
  lanes: LaneRange,
  variant: KernelVariant = rec.profile.variants.scan,
): void {
  const { sequences, tokens, heads, headDim, state, chunk } = shape;
  const chunks = chunksOf(shape);
  expectShapes("ssd_chunk_state", {
    b: [b, [sequences, tokens, state]],
    x: [x, [sequences, tokens, heads * headDim]],
    weight: [weight, [sequences, heads, chunks, chunk]],
    states: [states, [lanes.count, chunks - 1, state, headDim]],
  });
  const workgroups =
    variant === "register"
      ? Math.ceil((Math.ceil(headDim / 8) * Math.ceil(state / 8)) / 64)
      : Math.ceil(headDim / 64) * Math.ceil(state / 128);
  rec.dispatch(
    kernels[variant],
    { b, x, weight, states },
    {
      arithmetic: variant === "tile_f16" ? "f16" : "f32",
      grid: [workgroups, chunks - 1, lanes.count],
      params: { tokens, heads, head_dim4: headDim / 4, state4: state / 4, chunk, chunks, lane0: lanes.first },
      flops: 2 * lanes.count * (chunks - 1) * chunk * state * headDim,
    },
  );
}
