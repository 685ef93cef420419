import source from "../../shaders/gated_norm.wgsl?raw";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import type { ScanGrid } from "./ssd_shape.ts";

const kernel = defineKernel("gated_norm", source, { lib: ["scan_order"] });

export interface GatedNormTensors {
  readonly y: Tensor; // [S, T, E], scan order
  readonly z: Tensor; // [B, T, E], token order
  readonly weight: Tensor; // [E]
  readonly out: Tensor; // [B, T, 2E] for "concat" of two directions, else [B, T, E]
}

/** RMSNorm(y silu(z)) weight per direction, put back into token order; `fusion` says how two directions become one tensor. */
export function gatedNorm(
  rec: Recording,
  { y, z, weight, out }: GatedNormTensors,
  grid: ScanGrid,
  fusion: "concat" | "sum",
): void {
  const tokens = grid.height * grid.width;
  const inner = z.shape[2]!;
  const concat = grid.directions === 2 && fusion === "concat";
  expectShapes("gated_norm", {
    y: [y, [grid.directions * grid.batch, tokens, inner]],
    z: [z, [grid.batch, tokens, inner]],
    weight: [weight, [inner]],
    out: [out, [grid.batch, tokens, concat ? 2 * inner : inner]],
  });
  rec.dispatch(
    kernel,
    { y, z, weight, out },
    {
      grid: linearGrid(grid.batch * tokens),
      constants: { DIRECTIONS: grid.directions, SUM: Number(!concat), BY_COLUMNS: Number(grid.order === "mamba_h") },
      params: { height: grid.height, width: grid.width, batch: grid.batch, inner4: inner / 4 },
      flops: 10 * grid.directions * grid.batch * tokens * inner,
    },
  );
}
