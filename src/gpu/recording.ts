import { ScanvasError } from "../errors.ts";
import { packParams, type Kernel, type ShaderVariant } from "./shader.ts";
import type { MatrixShape } from "./subgroup_matrix.ts";
import { bytesBefore, makeTensor, type Tensor, type TensorType, type WeightType } from "./tensor.ts";

/** What record functions may know of the device: plain data, so that a recording can be made (and planned) without one. */
export interface DeviceProfile {
  /** WebGPU limits that shape dispatches; the specification's defaults when planning without a device. */
  readonly limits: {
    readonly maxStorageBufferBindingSize: number;
    readonly maxBufferSize: number;
    readonly maxComputeWorkgroupsPerDimension: number;
    readonly maxComputeWorkgroupStorageSize: number;
  };
  /** `shader-f16` is there, and f16 arithmetic was asked for: activations between kernels are f16. */
  readonly f16: boolean;
  /** The subgroup matrices that kernels may use, if the device has any. */
  readonly matrix: MatrixShape | undefined;
  /** What won the trial on this adapter, for each family of kernels (kernels/trial.ts). */
  readonly variants: KernelVariants;
  /** Activations that can be made part by part are made in parts of about this many bytes: memory is bounded, and nothing gets slower. */
  readonly activationBytes: number;
  /**
   * Memory that the image decoder may take for activations it would else make again (model/decoder_plan.ts). Large ones come in powers of
   * two: with 1 GiB for them and the rest for bands at work, an SDXL-size decoder makes 1024 x 1024 without computing anything twice.
   */
  readonly decoderBytes: number;
  /** A matrix product of more operations is several dispatches: a submit, and with it a cancel, waits for one at least. */
  readonly dispatchFlops: number;
}

/**
 * Kernels of one result: "tile" stages operands in workgroup memory, "tile_f16" does so in f16 arithmetic, "register" leaves staging to the
 * caches, "matrix" multiplies by subgroup matrices.
 */
export type KernelVariant = "tile" | "tile_f16" | "register" | "matrix";

export interface KernelVariants {
  readonly gemm: KernelVariant;
  readonly attention: KernelVariant;
  /** The products of the state space scan. */
  readonly scan: KernelVariant;
  readonly conv: Exclude<KernelVariant, "matrix">;
  /** Convolutions with few outputs, such as a picture's: most of a tile would be empty. */
  readonly convFew: "tile" | "register";
}

export const DEFAULT_PROFILE: DeviceProfile = {
  limits: {
    maxStorageBufferBindingSize: 128 << 20,
    maxBufferSize: 256 << 20,
    maxComputeWorkgroupsPerDimension: 65535,
    maxComputeWorkgroupStorageSize: 16384,
  },
  f16: false,
  matrix: undefined,
  variants: { gemm: "tile", attention: "tile", scan: "tile", conv: "tile", convFew: "register" },
  activationBytes: 64 << 20,
  decoderBytes: 1536 << 20,
  dispatchFlops: 1e11,
};

export interface Dispatch extends ShaderVariant {
  readonly kind: "dispatch";
  readonly label: string;
  readonly kernel: Kernel;
  /** One per binding of the kernel, in its order; undefined where the kernel was told not to touch it. */
  readonly tensors: readonly (Tensor | undefined)[];
  readonly params: Uint8Array;
  readonly grid: readonly [number, number, number];
  /** Floating-point operations, counted by the record function: what submits are cut by and benchmarks divide by. */
  readonly flops: number;
}

export interface Copy {
  readonly kind: "copy";
  readonly label: string;
  readonly from: Tensor;
  readonly to: Tensor;
  readonly fromOffset: number;
  readonly toOffset: number;
  readonly bytes: number;
}

export type Command = Dispatch | Copy;

export interface DispatchOptions {
  grid: readonly number[];
  params?: Readonly<Record<string, number>>;
  constants?: Readonly<Record<string, number>>;
  arithmetic?: "f32" | "f16";
  flops?: number;
}

/** A list of GPU commands as plain data. Record functions only append; nothing runs and nothing is allocated here. */
export class Recording {
  readonly commands: Command[] = [];
  readonly #scope: string[] = [];

  constructor(
    readonly label: string,
    readonly profile: DeviceProfile = DEFAULT_PROFILE,
  ) {}

  /** A tensor that lives from its first to its last use in this recording; the arena gives it memory shared with others. */
  temp(label: string, shape: readonly number[], type: TensorType = "f32"): Tensor {
    return makeTensor([...this.#scope, label].join("."), shape, type);
  }

  /** `temp` for what one kernel makes for another: f16 where the profile has it, which halves traffic and memory. */
  activation(label: string, shape: readonly number[]): Tensor {
    return this.temp(label, shape, this.profile.f16 ? "f16" : "f32");
  }

  /** Prefixes the labels of everything recorded inside, e.g. "block3.attention". */
  scope<T>(label: string, body: () => T): T {
    this.#scope.push(label);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  /** Appends one dispatch of `grid` workgroups. Every binding must be given or explicitly undefined. */
  dispatch(kernel: Kernel, operands: Readonly<Record<string, Tensor | undefined>>, options: DispatchOptions): void {
    const where = `${[...this.#scope, kernel.name].join(".")}`;
    let weights: WeightType = "f32";
    const halves: string[] = [];
    const tensors = kernel.bindings
      .filter((binding) => binding.access !== "uniform")
      .map((binding) => {
        if (!(binding.name in operands))
          throw new ScanvasError("TensorError", `${where}: ${binding.name} was not given`);
        const tensor = operands[binding.name];
        if (tensor && tensor.bytes > this.profile.limits.maxStorageBufferBindingSize) {
          throw new ScanvasError(
            "LimitError",
            `${where}: ${tensor.label} [${tensor.shape}] needs a binding of ${tensor.bytes} bytes, this device allows ` +
              `${this.profile.limits.maxStorageBufferBindingSize}; choose a smaller height or width`,
          );
        }
        if (tensor && binding.weight && tensor.type !== "u32") weights = tensor.type;
        else if (tensor && binding.typed && tensor.type === "f16") halves.push(binding.name);
        else if (tensor && (binding.weight || (tensor.type !== "f32" && tensor.type !== "u32"))) {
          const expected = binding.weight ? "f32, f16, q8 or q4" : binding.typed ? "f32 or f16" : "f32";
          throw new ScanvasError(
            "TensorError",
            `${where}: ${tensor.label} is ${tensor.type}, ${binding.name} expects ${expected}`,
          );
        }
        return tensor;
      });
    const [x, y = 1, z = 1] = options.grid as [number, number?, number?];
    const most = this.profile.limits.maxComputeWorkgroupsPerDimension;
    if (!(x >= 1 && y >= 1 && z >= 1) || Math.max(x, y, z) > most) {
      throw new ScanvasError(
        "LimitError",
        `${where}: grid [${x}, ${y}, ${z}] is outside 1..${most}; choose a smaller size`,
      );
    }
    for (const name of Object.keys(options.constants ?? {})) {
      if (!kernel.overrides.has(name)) throw new ScanvasError("TensorError", `${where}: no override named ${name}`);
    }
    this.commands.push({
      kind: "dispatch",
      label: where,
      kernel,
      arithmetic: options.arithmetic ?? "f32",
      weights,
      halves,
      constants: options.constants ?? {},
      tensors,
      params: packParams(kernel, options.params ?? {}),
      grid: [x, y, z],
      flops: options.flops ?? 0,
    });
  }

  /** Copies `count` elements (all of `from` unless given) between tensors of one type; offsets count elements. */
  copy(from: Tensor, to: Tensor, range: { count?: number; from?: number; to?: number } = {}): void {
    const label = [...this.#scope, "copy"].join(".");
    const bytes = range.count === undefined ? from.bytes : bytesBefore(from, range.count);
    const fromOffset = from.offset + bytesBefore(from, range.from ?? 0);
    const toOffset = to.offset + bytesBefore(to, range.to ?? 0);
    if (fromOffset + bytes > from.offset + from.bytes || toOffset + bytes > to.offset + to.bytes) {
      throw new ScanvasError("TensorError", `${label}: ${from.label} does not fit ${to.label}`);
    }
    this.commands.push({ kind: "copy", label, from, to, fromOffset, toOffset, bytes });
  }

  /** Tensors a command touches, as owners of memory. */
  static touched(command: Command): Tensor[] {
    const tensors = command.kind === "copy" ? [command.from, command.to] : command.tensors;
    return tensors.filter((t) => t !== undefined).map((t) => t.base ?? t);
  }
}

/** A one-dimensional amount of workgroups as a grid within the dispatch limit; the shader reads `linear_workgroup(id)`. */
export function linearGrid(workgroups: number): [number, number] {
  const x = Math.min(workgroups, 65535);
  return [x, Math.ceil(workgroups / x)];
}
