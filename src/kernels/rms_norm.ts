import source from "../../shaders/rms_norm.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, expectShapes, type Tensor } from "../gpu/tensor.ts";

const kernel = defineKernel("rms_norm", source, { lib: ["row_sum"] });

/** y = x / sqrt(mean(x^2) + eps) * weight along the last axis, which must be a multiple of 4. weight [dim] f32. */
export function rmsNorm(rec: Recording, x: Tensor, weight: Tensor, y: Tensor, eps: number): void {
  const dim = x.shape.at(-1)!;
  const rows = elementCount(x.shape) / dim;
  expectShapes("rmsNorm", { weight: [weight, [dim]] });
  if (dim % 4 !== 0 || elementCount(y.shape) !== rows * dim) {
    throw new ScanvasError(
      "TensorError",
      `rmsNorm: x [${x.shape}] needs a last axis of 4 n values, and y [${y.shape}] its size`,
    );
  }
  rec.dispatch(
    kernel,
    { x, weight, y },
    { grid: linearGrid(rows), constants: { DIM4: dim / 4 }, params: { rows, eps }, flops: 4 * rows * dim },
  );
}
