/** The WebGPU device of these tests: Dawn on lavapipe, with everything that Dawn hides by default. vitest.config.ts starts them on it. */
import { create, globals } from "webgpu";
import { Gpu, type GpuOptions } from "../../src/gpu/device.ts";

Object.assign(globalThis, globals);

// Kept for the life of the process: Dawn ends badly when an instance is collected before its devices.
const dawn = create(["enable-dawn-features=allow_unsafe_apis"]);

/** A device with `shader-f16` and subgroup matrices. On a machine where it has not, the tests fail: nothing here is skipped. */
export async function lavapipeGpu(options: GpuOptions = {}): Promise<Gpu> {
  const gpu = await Gpu.request({ gpu: dawn, f16: true, ...options });
  if (!gpu.profile.f16) throw new Error(`${gpu.adapterKey} has no shader-f16: is this lavapipe?`);
  return gpu;
}
