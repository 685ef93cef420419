import matrixSource from "../../shaders/ssd_output_matrix.wgsl?raw";
import tileSource from "../../shaders/ssd_output.wgsl?raw";
import registerSource from "../../shaders/ssd_output_register.wgsl?raw";
import type { KernelVariant, Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { chunkPairs, chunksOf, type LaneRange, type SsdShape } from "./ssd_shape.ts";

const tile = defineKernel("ssd_output", tileSource, { lib: ["tile"] });
const kernels = {
  tile,
  tile_f16: tile,
  matrix: defineKernel("ssd_output_matrix", matrixSource, { lib: ["matrix_tile"], matrix: true }),
  register: defineKernel("ssd_output_register", registerSource),
};

export interface SsdOutputTensors {
  readonly c: Tensor; // [S, T, N]
  readonly product: Tensor; // [S, chunks, Q, Q]
  readonly decay: Tensor; // [S, M, chunks, Q]
  readonly step: Tensor; // [S, M, chunks, Q]
  readonly x: Tensor; // [S, T, E]
  /** [lanes, chunks - 1, N, P]; undefined when there is one chunk only. */
  readonly states: Tensor | undefined;
  readonly skip: Tensor; // D of all heads
  readonly y: Tensor; // [S, T, E]
}

/** The scan's output for `lanes`; see the shader. */
export function ssdOutput(
  rec: Recording,
  { c, product, decay, step, x, states, skip, y }: SsdOutputTensors,
  shape: SsdShape,
  lanes: LaneRange,
  variant: KernelVariant = rec.profile.variants.scan,
): void {
  const { sequences, tokens, heads, headDim, state, chunk, firstHead = 0 } = shape;
  const chunks = chunksOf(shape);
  const steps = [sequences, heads, chunks, chunk];
  const inner = [sequences, tokens, heads * headDim];
  expectShapes("ssd_output", {
    c: [c, [sequences, tokens, state]],
    product: [product, [sequences, chunks, chunk, chunk]],
    decay: [decay, steps],
    step: [step, steps],
    x: [x, inner],
    states: [states, [lanes.count, chunks - 1, state, headDim]],
    y: [y, inner],
  });
  const workgroups =
    variant === "register"
      ? Math.ceil((Math.ceil(headDim / 8) * Math.ceil(chunk / 8)) / 64)
      : Math.ceil(headDim / 64) * Math.ceil(chunk / 128);
  rec.dispatch(
    kernels[variant],
    { c, product, decay, step, x, states, skip, y },
    {
      arithmetic: variant === "tile_f16" ? "f16" : "f32",
      grid: [workgroups, chunks, lanes.count],
      params: {
        tokens,
        heads,
        head_dim4: headDim / 4,
        state4: state / 4,
        chunk,
        chunks,
        lane0: lanes.first,
        first_head: firstHead,
      },
      flops: 2 * lanes.count * headDim * (Math.max(0, tokens - chunk) * state + chunkPairs(shape) + tokens),
    },
  );
}
