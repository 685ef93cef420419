import addPositionSource from "../../shaders/add_position.wgsl?raw";
import guideSource from "../../shaders/guide_and_step.wgsl?raw";
import modulationSource from "../../shaders/modulation.wgsl?raw";
import patchifySource from "../../shaders/patchify.wgsl?raw";
import siluSource from "../../shaders/silu.wgsl?raw";
import unpatchifySource from "../../shaders/unpatchify.wgsl?raw";
import checkFiniteSource from "../../shaders/check_finite.wgsl?raw";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, expectShapes, viewTensor, type Tensor } from "../gpu/tensor.ts";

const lib = ["linear"];
const kernels = {
  addPosition: defineKernel("add_position", addPositionSource, { lib }),
  checkFinite: defineKernel("check_finite", checkFiniteSource, { lib }),
  guideAndStep: defineKernel("guide_and_step", guideSource, { lib }),
  modulation: defineKernel("modulation", modulationSource, { lib }),
  patchify: defineKernel("patchify", patchifySource, { lib }),
  silu: defineKernel("silu", siluSource, { lib: [...lib, "activation"] }),
  unpatchify: defineKernel("unpatchify", unpatchifySource, { lib }),
};

const gridFor = (count: number): [number, number] => linearGrid(Math.ceil(count / 64));

/** latents [b, C, h, w] -> tokens [batch, h/p * w/p, depth], scaled by step[0]; a smaller b is repeated. */
export function patchify(rec: Recording, latents: Tensor, step: Tensor, tokens: Tensor, patch: number): void {
  const [latentBatch, channels, height, width] = latents.shape as [number, number, number, number];
  const depth = tokens.shape[2]!;
  expectShapes("patchify", { tokens: [tokens, [tokens.shape[0]!, (height * width) / patch ** 2, depth]] });
  const count = elementCount(tokens.shape);
  rec.dispatch(
    kernels.patchify,
    { latents, step, tokens },
    {
      grid: gridFor(count),
      params: { count, latent_batch: latentBatch, channels, height, width, patch_size: patch, depth },
    },
  );
}

/** tokens [B, T, p * p * tokenChannels] -> y [B, C, h, w], the first C channels. */
export function unpatchify(rec: Recording, tokens: Tensor, y: Tensor, patch: number): void {
  const [batch, channels, height, width] = y.shape as [number, number, number, number];
  const tokenChannels = tokens.shape[2]! / patch ** 2;
  expectShapes("unpatchify", { tokens: [tokens, [batch, (height * width) / patch ** 2, tokens.shape[2]!]] });
  const count = elementCount(y.shape);
  rec.dispatch(
    kernels.unpatchify,
    { tokens, y },
    {
      grid: gridFor(count),
      params: { count, channels, token_channels: tokenChannels, height, width, patch_size: patch },
    },
  );
}

/** x [.., D] += position, from tables [columns, D/2] and [rows, D/2]; in place. x: tokens [B, rows * columns] from `firstToken` on. */
export function addPosition(rec: Recording, x: Tensor, columnTable: Tensor, rowTable: Tensor, firstToken = 0): void {
  const [columns, half] = columnTable.shape as [number, number];
  const rows = rowTable.shape[0]!;
  expectShapes("add_position", {
    rowTable: [rowTable, [rows, half]],
    x: [x, [...x.shape.slice(0, -1), 2 * half]],
  });
  const count = elementCount(x.shape);
  rec.dispatch(
    kernels.addPosition,
    { x, column_table: columnTable, row_table: rowTable },
    { grid: gridFor(count), params: { count, width: 2 * half, columns, rows, first_token: firstToken } },
  );
}

/** y [k, B, width] = tables [k, width] + t [B, tWidth], t repeated along the width. */
export function modulation(rec: Recording, tables: Tensor, t: Tensor, y: Tensor): void {
  const [k, batch, width] = y.shape as [number, number, number];
  expectShapes("modulation", { tables: [tables, [k, width]], t: [t, [batch, t.shape[1]!]] });
  const count = elementCount(y.shape);
  rec.dispatch(
    kernels.modulation,
    { tables, t, y },
    { grid: gridFor(count), params: { count, width, batch, t_width: t.shape[1]! } },
  );
}

export function silu(rec: Recording, x: Tensor, y: Tensor): void {
  const count = elementCount(x.shape);
  expectShapes("silu", { y: [y, x.shape] });
  rec.dispatch(kernels.silu, { x, y }, { grid: gridFor(count), params: { count } });
}

/**
 * One sampler update in place. `unconditional` and `conditional` may be the same tensor [2, ...]: then the conditional half starts at
 * `conditionalOffset` values. `step` [9] is laid out as `stepValues` in src/session.ts does.
 */
export function guideAndStep(
  rec: Recording,
  operands: { step: Tensor; unconditional: Tensor; conditional: Tensor; latents: Tensor; previousX0: Tensor },
  conditionalOffset: number,
): void {
  const { step, unconditional, conditional, latents, previousX0 } = operands;
  const count = elementCount(latents.shape);
  expectShapes("guide_and_step", { previousX0: [previousX0, latents.shape] });
  rec.dispatch(
    kernels.guideAndStep,
    { step, unconditional, conditional, latents, previous_x0: previousX0 },
    { grid: gridFor(count), params: { count, conditional_offset: conditionalOffset } },
  );
}

/** flag[0] = min(flag[0], stage) when x holds a NaN or an infinity. */
export function checkFinite(rec: Recording, x: Tensor, flag: Tensor, stage: number): void {
  const count = elementCount(x.shape);
  const most = rec.profile.limits.maxStorageBufferBindingSize >> (x.type === "f16" ? 1 : 2);
  for (let first = 0; first < count; first += most) {
    const size = Math.min(most, count - first);
    const part = size === count ? x : viewTensor(x, x.label, [size], first);
    rec.dispatch(
      kernels.checkFinite,
      { x: part, flag },
      { grid: [Math.min(1024, Math.ceil(size / 1024))], params: { count: size, stage } },
    );
  }
}
