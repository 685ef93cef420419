import source from "../../shaders/gated_activation.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";
import { ACTIVATIONS, type Activation } from "./gemm.ts";

const kernel = defineKernel("gated_activation", source, { lib: ["activation"] });

/** y = activation(a) * b, value by value, for tensors of one size. */
export function gatedActivation(rec: Recording, a: Tensor, b: Tensor, y: Tensor, activation: Activation): void {
  const count = elementCount(y.shape);
  if (elementCount(a.shape) !== count || elementCount(b.shape) !== count) {
    throw new ScanvasError(
      "TensorError",
      `gatedActivation: a [${a.shape}], b [${b.shape}] and y [${y.shape}] differ in size`,
    );
  }
  const quads = Math.ceil(count / 4);
  rec.dispatch(
    kernel,
    { a, b, y },
    {
      grid: linearGrid(Math.ceil(quads / 64)),
      constants: { ACTIVATION: ACTIVATIONS[activation] },
      params: { quads },
      flops: 10 * count,
    },
  );
}
