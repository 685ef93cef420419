import source from "../../shaders/conv1d.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import type { ScanGrid } from "./ssd_shape.ts";

const kernel = defineKernel("conv1d", source, { lib: ["scan_order"] });

/** All channels, or some: those of x that `first` counts from and none of B and C, or B and C alone. */
export interface Conv1dTensors {
  readonly xbc: Tensor; // [B, T, channels], token order: the channels of x, b and c one after the other
  readonly weight: Tensor; // [E + 2N, K]
  readonly bias: Tensor; // [E + 2N]
  readonly x?: Tensor; // [S, T, E] or fewer channels, scan order
  readonly b?: Tensor; // [S, T, N]
  readonly c?: Tensor; // [S, T, N]
}

/**
 * Causal depthwise convolution + SiLU along the scan, in each direction; see the shader. `first` is the first channel's row in `weight`.
 * It and the numbers of channels are multiples of 4.
 */
export function conv1d(rec: Recording, { xbc, weight, bias, x, b, c }: Conv1dTensors, grid: ScanGrid, first = 0): void {
  const tokens = grid.height * grid.width;
  const sequences = grid.directions * grid.batch;
  const inner = x?.shape[2] ?? 0;
  const state = b?.shape[2] ?? 0;
  const channels = inner + 2 * state;
  const [all, taps] = weight.shape as [number, number];
  if (first + channels > all) {
    throw new ScanvasError(
      "TensorError",
      `conv1d: channels ${first} to ${first + channels} of ${weight.label} [${all}, ${taps}]`,
    );
  }
  expectShapes("conv1d", {
    xbc: [xbc, [grid.batch, tokens, channels]],
    bias: [bias, [all]],
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
      params: {
        height: grid.height,
        width: grid.width,
        batch: grid.batch,
        inner4: inner / 4,
        state4: state / 4,
        first4: first / 4,
      },
      flops: 2 * sequences * tokens * channels * taps,
    },
  );
}
