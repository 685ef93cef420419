import source from "../../shaders/ssd_pass_state.wgsl?raw";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { chunksOf, type LaneRange, type SsdShape } from "./ssd_shape.ts";

const kernel = defineKernel("ssd_pass_state", source);

export interface SsdPassStateTensors {
  readonly decay: Tensor; // [S, M, chunks, Q]
  readonly states: Tensor; // [lanes, chunks - 1, N, P], in place
}

/** Turns what each chunk adds into the state it leaves behind; see the shader. */
export function ssdPassState(
  rec: Recording,
  { decay, states }: SsdPassStateTensors,
  shape: SsdShape,
  lanes: LaneRange,
): void {
  const { sequences, heads, headDim, state, chunk } = shape;
  const chunks = chunksOf(shape);
  expectShapes("ssd_pass_state", {
    decay: [decay, [sequences, heads, chunks, chunk]],
    states: [states, [lanes.count, chunks - 1, state, headDim]],
  });
  const size4 = (state * headDim) / 4;
  rec.dispatch(
    kernel,
    { decay, states },
    {
      grid: [Math.ceil(size4 / 64), lanes.count],
      params: { state_size4: size4, slots: chunks - 1, chunk, lane0: lanes.first },
      flops: 2 * lanes.count * (chunks - 1) * state * headDim,
    },
  );
}
