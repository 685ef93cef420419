import type { Recording } from "../gpu/recording.ts";
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
  /** Benchmark row: bytes that must move at least once, when the bound is bandwidth rather than arithmetic. */
  readonly bench?: { readonly bytes?: number };
  /** The bench shape is too slow for the CPU twin: it is timed, and its correctness is shown by the other cases. */
  readonly benchOnly?: boolean;
}

export interface KernelCases {
  readonly kernel: string;
  readonly cases: readonly KernelCase[];
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
