import { ScanvasError } from "../errors.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** The tensors of one component by their names in the converted files (see tools/convert/layout.ts). */
export class Weights {
  constructor(
    private readonly component: string,
    private readonly tensors: ReadonlyMap<string, Tensor>,
    private readonly prefix = "",
  ) {}

  /** The same tensors, by what follows `prefix` and a dot in their names. */
  under(prefix: string): Weights {
    return new Weights(this.component, this.tensors, `${this.prefix}${prefix}.`);
  }

  /** Every tensor of the component, whatever the prefix: they have memory of their own, also where none is allocated yet. */
  all(): Iterable<Tensor> {
    return this.tensors.values();
  }

  /** TensorError when it is missing or has another shape than `shape`. */
  get(key: string, shape?: readonly number[]): Tensor {
    const name = this.prefix + key;
    const tensor = this.tensors.get(name);
    if (!tensor)
      throw new ScanvasError("TensorError", `${this.component}: tensor ${name} is missing; convert the model again`);
    if (shape && (shape.length !== tensor.shape.length || shape.some((d, i) => d !== tensor.shape[i]))) {
      throw new ScanvasError(
        "TensorError",
        `${this.component}: ${name} has shape [${tensor.shape}], the config asks for [${shape}]; convert the model again`,
      );
    }
    return tensor;
  }

  optional(key: string): Tensor | undefined {
    return this.tensors.get(this.prefix + key);
  }
}
