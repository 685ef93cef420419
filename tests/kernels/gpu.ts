/** The WebGPU device of the Node tests: Dawn (npm `webgpu`) on the software Vulkan driver that ships with Chromium. */
import { create, globals } from "webgpu";
import { Gpu, type GpuOptions } from "../../src/gpu/device.ts";

Object.assign(globalThis, globals);

let instance: GPU | undefined;

/** A new device with WebGPU's default limits unless told otherwise; tests must hold on those. */
export async function testGpu(options: GpuOptions = {}): Promise<Gpu> {
  instance ??= create([]);
  return Gpu.request({ gpu: instance, limits: "default", ...options });
}
