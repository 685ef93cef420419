import type { Gpu } from "../gpu/device.ts";
import { planMemory } from "../gpu/plan.ts";
import { Program } from "../gpu/program.ts";
import { Recording, type DeviceProfile } from "../gpu/recording.ts";
import { elementCount, makeTensor, type Tensor, type TensorType } from "../gpu/tensor.ts";
import { fromF16, toF16 } from "../numbers/half.ts";
import { dequantizeRows, quantizeRows } from "../numbers/quant.ts";
import type { KernelCase } from "./case.ts";

export interface CaseResult {
  /** Relative Frobenius error by output. */
  readonly errors: Record<string, number>;
  /** Where the largest difference is, for the message of a failure. */
  readonly worst: string;
}

export interface PreparedCase {
  readonly inputs: Record<string, Float32Array>;
  readonly tensors: Record<string, Tensor>;
  readonly program: Program;
  readonly recording: Recording;
  /** Writes the inputs again, for kernels that work in place. */
  upload(): void;
  release(): void;
}

/** Uploads a case's inputs and builds its program. */
export async function prepareCase(
  gpu: Gpu,
  kernelCase: KernelCase,
  profile: DeviceProfile = gpu.profile,
): Promise<PreparedCase> {
  const host = kernelCase.inputs();
  const inputs: Record<string, Float32Array> = {};
  const stored: Record<string, ArrayBufferView<ArrayBuffer>> = {};
  const tensors: Record<string, Tensor> = {};
  const typeOf = (name: string): TensorType =>
    kernelCase.halves?.includes(name) ? "f16" : (host[name]?.type ?? "f32");
  for (const [name, { shape, data }] of Object.entries(host)) {
    const type = typeOf(name);
    tensors[name] = makeTensor(name, shape, type);
    if (type === "f16") {
      const half = new Uint16Array(Math.ceil(data.length / 2) * 2);
      half.set(Array.from(data, toF16));
      stored[name] = half;
      inputs[name] = Float32Array.from(half.subarray(0, data.length), fromF16);
    } else if (type === "q8" || type === "q4") {
      const depth = shape.at(-1)!;
      const words = quantizeRows(Float32Array.from(data), depth, type);
      stored[name] = words;
      inputs[name] = dequantizeRows(words, depth, type);
    } else {
      stored[name] = data as Float32Array<ArrayBuffer>;
      inputs[name] = data instanceof Float32Array ? data : Float32Array.from(data);
    }
  }
  for (const [name, shape] of Object.entries(kernelCase.outputs))
    tensors[name] ??= makeTensor(name, shape, typeOf(name));
  await gpu.arena.allocate(Object.values(tensors));
  const upload = (): void => Object.entries(stored).forEach(([name, data]) => gpu.write(tensors[name]!, data));
  upload();
  const recording = new Recording(kernelCase.name, profile);
  kernelCase.record(recording, tensors);
  const plan = planMemory([recording]);
  const freeWorkspace = await gpu.arena.workspace(plan);
  const program = await Program.build(gpu, recording);
  return {
    inputs,
    tensors,
    program,
    recording,
    upload,
    release() {
      program.dispose();
      freeWorkspace();
      gpu.arena.release(Object.values(tensors));
    },
  };
}

/** Reads the outputs of a case that has run and compares them with `expected`, its reference's answer. */
export async function compareCase(
  gpu: Gpu,
  { tensors }: PreparedCase,
  expected: Readonly<Record<string, Float32Array>>,
): Promise<CaseResult> {
  const errors: Record<string, number> = {};
  let worst = "";
  let largest = -1;
  for (const [name, want] of Object.entries(expected)) {
    const tensor = tensors[name];
    if (!tensor) continue; // of a case that asks for some outputs only
    const got = await gpu.readF32(tensor);
    if (want.length !== elementCount(tensor.shape)) throw new Error(`reference of ${name}: ${want.length} values`);
    let difference = 0;
    let norm = 0;
    for (let i = 0; i < want.length; i++) {
      const delta = Math.abs(got[i]! - want[i]!);
      difference += delta * delta;
      norm += want[i]! * want[i]!;
      if (!(delta <= largest)) {
        largest = delta;
        worst = `${name}[${i}]: got ${got[i]}, expected ${want[i]}`;
      }
    }
    errors[name] = Math.sqrt(difference) / Math.max(Math.sqrt(norm), 1e-30);
  }
  return { errors, worst };
}

/** Runs a case once and compares with its CPU twin. */
export async function runCase(gpu: Gpu, kernelCase: KernelCase, profile?: DeviceProfile): Promise<CaseResult> {
  const prepared = await prepareCase(gpu, kernelCase, profile);
  try {
    gpu.device.pushErrorScope("validation");
    await prepared.program.run();
    const error = await gpu.device.popErrorScope();
    if (error) throw new Error(error.message);
    const expected = kernelCase.reference(prepared.inputs);
    for (const name of Object.keys(kernelCase.outputs)) {
      if (!expected[name]) throw new Error(`the reference gives no ${name}`);
    }
    return await compareCase(gpu, prepared, expected);
  } finally {
    prepared.release();
  }
}
