import source from "../../shaders/layer_norm.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

const kernel = defineKernel("layer_norm", source, { lib: ["row_sum"] });

export interface LayerNormOptions {
  eps: number;
  /** Row r reads shift at modulation[shiftOffset + (r / rowsPerBatch) * stride + c], scale likewise. None leaves both out. */
  modulation?: { tensor: Tensor; shiftOffset: number; scaleOffset: number; stride: number; rowsPerBatch: number };
}

/** y = LayerNorm(x) * (1 + scale) + shift along the last axis, which must be a multiple of 4. */
export function layerNorm(rec: Recording, x: Tensor, y: Tensor, { eps, modulation }: LayerNormOptions): void {
  const dim = x.shape.at(-1)!;
  const rows = elementCount(x.shape) / dim;
  if (dim % 4 !== 0 || elementCount(y.shape) !== rows * dim) {
    throw new ScanvasError(
      "TensorError",
      `layerNorm: x [${x.shape}] needs a last axis of 4 n values, and y [${y.shape}] its size`,
    );
  }
  if (modulation) {
    const { tensor, shiftOffset, scaleOffset, stride, rowsPerBatch } = modulation;
    const needed = Math.max(shiftOffset, scaleOffset) + (Math.ceil(rows / rowsPerBatch) - 1) * stride + dim;
    if (needed > elementCount(tensor.shape)) {
      throw new ScanvasError(
        "TensorError",
        `layerNorm: modulation ${tensor.label} [${tensor.shape}] has fewer than ${needed} values`,
      );
    }
  }
  rec.dispatch(
    kernel,
    { x, modulation: modulation?.tensor, y },
    {
      grid: linearGrid(rows),
      constants: { DIM4: dim / 4, MODULATED: Number(Boolean(modulation)) },
      params: {
        rows,
        shift_offset: modulation?.shiftOffset ?? 0,
        scale_offset: modulation?.scaleOffset ?? 0,
        stride: modulation?.stride ?? 0,
        rows_per_batch: modulation?.rowsPerBatch ?? rows,
        eps,
      },
      flops: 8 * rows * dim,
    },
  );
}
