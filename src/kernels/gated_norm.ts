import source from "../../shaders/gated_norm.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import type { ScanGrid } from "./ssd_shape.ts";

const kernel = defineKernel("gated_norm", source, { lib: ["scan_order"] });

/** Tensors that y may be split over: with z, weight and out they use all eight storage buffers of a stage. */
export const MAX_GROUPS = 5;

export interface GatedNormTensors {
  /** [S, T, E] in scan order, split by channels over up to MAX_GROUPS tensors: equal ones, but for a smaller last one. */
  readonly y: readonly Tensor[];
  readonly z: Tensor; // [rows, E], token order
  readonly weight: Tensor; // [E]
  readonly out: Tensor; // [rows, 2E] for "concat" of two directions, else [rows, E]
}

/**
 * RMSNorm(y silu(z)) weight per direction, put back into token order; `fusion` says how two directions become one tensor. The rows are
 * those of [B, T] from `first` on.
 */
export function gatedNorm(
  rec: Recording,
  { y, z, weight, out }: GatedNormTensors,
  grid: ScanGrid,
  fusion: "concat" | "sum",
  first = 0,
): void {
  const tokens = grid.height * grid.width;
  const [rows, inner] = z.shape as [number, number];
  const group = y[0]!.shape[2]!;
  const concat = grid.directions === 2 && fusion === "concat";
  if (y.length > MAX_GROUPS || y.length !== Math.ceil(inner / group) || first + rows > grid.batch * tokens) {
    throw new ScanvasError(
      "TensorError",
      `gated_norm: y ${y.map((t) => `[${t.shape}]`).join(" + ")} and z [${z.shape}] from row ${first} do not fit; ` +
        `expected up to ${MAX_GROUPS} parts of ${inner} channels and at most ${grid.batch * tokens} rows`,
    );
  }
  expectShapes("gated_norm", {
    ...Object.fromEntries(
      y.map((t, i) => [
        `y${i}`,
        [t, [grid.directions * grid.batch, tokens, Math.min(group, inner - i * group)]] as [Tensor, number[]],
      ]),
    ),
    weight: [weight, [inner]],
    out: [out, [rows, concat ? 2 * inner : inner]],
  });
  rec.dispatch(
    kernel,
    { y0: y[0], y1: y[1], y2: y[2], y3: y[3], y4: y[4], z, weight, out },
    {
      grid: linearGrid(rows),
      constants: {
        DIRECTIONS: grid.directions,
        SUM: Number(!concat),
        BY_COLUMNS: Number(grid.order === "mamba_h"),
        GROUPS: y.length,
      },
      params: {
        height: grid.height,
        width: grid.width,
        batch: grid.batch,
        inner4: inner / 4,
        group4: group / 4,
        first,
        rows,
      },
      flops: 10 * grid.directions * rows * inner,
    },
  );
}
