/** The WebGPU device of the Node tests: Dawn (npm `webgpu`) on the software Vulkan driver that ships with Chromium. */
import { create, globals } from "webgpu";
import { Gpu, type GpuOptions } from "../../src/gpu/device.ts";

Object.assign(globalThis, globals);

let instance: GPU | undefined;

/** Dawn itself; one for the process, since a second one would not share its devices. */
export function dawn(): GPU {
  return (instance ??= create([]));
}

/** A new device with WebGPU's default limits unless told otherwise; tests must hold on those. */
export async function testGpu(options: GpuOptions = {}): Promise<Gpu> {
  return Gpu.request({ gpu: dawn(), limits: "default", ...options });
}
