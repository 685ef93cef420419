/** The WebGPU device of these tests: Dawn on lavapipe, with everything that Dawn hides by default. vitest.config.ts starts them on it. */
import { create, globals } from "webgpu";
import { Gpu } from "../../src/gpu/device.ts";

Object.assign(globalThis, globals);

/** Kept for the life of the process: Dawn ends badly when an instance is collected before its devices. */
export const lavapipe = create(["enable-dawn-features=allow_unsafe_apis"]);

/** A device with `shader-f16` and subgroup matrices. On a machine where it has not, the tests fail: nothing here is skipped. */
export async function lavapipeGpu(): Promise<Gpu> {
  const gpu = await Gpu.request({ gpu: lavapipe, f16: true });
  if (!gpu.profile.f16 || !gpu.profile.matrix)
    throw new Error(`${gpu.adapterKey} lacks f16 or matrices: is it lavapipe?`);
  return gpu;
}
