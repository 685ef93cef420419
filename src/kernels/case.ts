import type { DeviceProfile, KernelVariant, Recording } from "../gpu/recording.ts";
import type { Tensor, TensorType } from "../gpu/tensor.ts";

/** Input data of a case. Of a packed type (f16, q8, q4), the values are rounded to it and stored as weights are. */
export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint32Array;
  readonly type?: TensorType;
}

/**
 * One check of a kernel against its CPU twin, on any WebGPU device. Tests run every case of `*.ref.ts`, benchmarks those with
 * `bench`, and the self-test on a user's device will run the small ones.
 */
export interface KernelCase {
  readonly name: string;
  /** Made when asked for, so that listing the cases costs nothing. */
  inputs(): Record<string, HostTensor>;
  /** Written by the kernel; an output with the name of an input starts with its data. */
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  record(recording: Recording, tensors: Readonly<Record<string, Tensor>>): void;
  /** Plain loops over the formula in f64 where it matters. Inputs of packed types arrive as the rounded values. */
  reference(inputs: Readonly<Record<string, Float32Array>>): Record<string, Float32Array>;
  /** Largest |y - ref| / |ref| (Frobenius norms), with its reason. */
  readonly tolerance: number;
  /** What the device must have: `shader-f16`, or subgroup matrices too. */
  readonly needs?: "f16" | "matrix";
  /** Inputs and outputs that are f16 in memory, as activations are there; the reference then starts from the rounded inputs. */
  readonly halves?: readonly string[];
  /** Benchmark row: bytes that must move at least once, when the bound is bandwidth rather than arithmetic. */
  readonly bench?: { readonly bytes?: number };
  /** The bench shape is too slow for the CPU twin: it is timed, and its correctness is shown by the other cases. */
  readonly benchOnly?: boolean;
}

export interface KernelCases {
  readonly kernel: string;
  readonly cases: readonly KernelCase[];
}

/** Whether a device of this profile can run a case. */
export const canRun = ({ f16, matrix }: DeviceProfile, { needs }: KernelCase): boolean =>
  needs === undefined || (needs === "f16" ? f16 : matrix !== undefined);

/** The same case with some tensors in f16. */
export const inHalf = (kernelCase: KernelCase, halves: readonly string[], tolerance: number): KernelCase => ({
  ...kernelCase,
  name: `f16 ${halves.join(" ")}: ${kernelCase.name}`,
  needs: "f16",
  halves,
  tolerance,
});

/** What a case of one variant is held to: `f32` in plain arithmetic; in f16, with the tensors `halves` in f16 too, `f16`. */
export function precision(
  variant: KernelVariant | "rows",
  f32: number,
  half: { f16: number; halves: readonly string[] },
): Pick<KernelCase, "tolerance" | "needs" | "halves"> {
  if (variant !== "tile_f16" && variant !== "matrix") return { tolerance: f32 };
  return { tolerance: half.f16, needs: variant === "matrix" ? "matrix" : "f16", halves: half.halves };
}

/** A seeded stream of numbers close to a standard normal (sum of uniforms), fast and equal everywhere. */
export function randomArray(count: number, seed: number, scale = 1, mean = 0): Float32Array<ArrayBuffer> {
  const out = new Float32Array(count);
  let state = (seed * 2654435761 + 1) >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  for (let i = 0; i < count; i++)
    out[i] = mean + scale * (uniform() + uniform() + uniform() + uniform() - 2) * Math.sqrt(3);
  return out;
}

export const random = (shape: readonly number[], seed: number, scale = 1, type: TensorType = "f32"): HostTensor => ({
  shape,
  type,
  data: randomArray(
    shape.reduce((n, d) => n * d, 1),
    seed,
    scale,
  ),
});
