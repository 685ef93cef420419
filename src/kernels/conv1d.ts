import source from "../../shaders/conv1d.wgsl?raw";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import type { ScanGrid } from "./ssd_shape.ts";

const kernel = defineKernel("conv1d", source, { lib: ["scan_order"] });

export interface Conv1dTensors {
  readonly xbc: Tensor; // [B, T, E + 2N], token order
  readonly weight: Tensor; // [E + 2N, K]
  readonly bias: Tensor; // [E + 2N]
  readonly x: Tensor; // [S, T, E], scan order
  readonly b: Tensor; // [S, T, N]
  readonly c: Tensor; // [S, T, N]
}

/** Causal depthwise convolution + SiLU along the scan, in each direction; see the shader. E and N are multiples of 4. */
export function conv1d(rec: Recording, { xbc, weight, bias, x, b, c }: Conv1dTensors, grid: ScanGrid): void {
  const tokens = grid.height * grid.width;
  const sequences = grid.directions * grid.batch;
  const inner = x.shape[2]!;
  const state = b.shape[2]!;
  const channels = inner + 2 * state;
  const taps = weight.shape[1]!;
  expectShapes("conv1d", {
    xbc: [xbc, [grid.batch, tokens, channels]],
    weight: [weight, [channels, taps]],
    bias: [bias, [channels]],
    x: [x, [sequences, tokens, inner]],
    b: [b, [sequences, tokens, state]],
    c: [c, [sequences, tokens, state]],
  });
  rec.dispatch(
    kernel,
    { xbc, weight, bias, x, b, c },
    {
      grid: [Math.ceil(channels / 4 / 64), Math.ceil(tokens / 4), sequences],
      constants: { TAPS: taps, BY_COLUMNS: Number(grid.order === "mamba_h") },
      params: { height: grid.height, width: grid.width, batch: grid.batch, inner4: inner / 4, state4: state / 4 },
      flops: 2 * sequences * tokens * channels * taps,
    },
  );
}
