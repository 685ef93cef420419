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

/** Changes a device as soon as it is made; `number` counts them. */
export type Tamper = (device: GPUDevice, number: number) => void;

/** Dawn, and the devices that it was asked for. `isAway`: it offers no adapter, as a browser whose GPU process starts again. */
export function recordingDawn(tamper?: Tamper, isAway?: () => boolean): { gpu: GPU; devices: GPUDevice[] } {
  const devices: GPUDevice[] = [];
  const requestAdapter = async (options?: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
    if (isAway?.()) return null;
    const adapter = (await dawn().requestAdapter(options))!;
    const requestDevice = async (descriptor?: GPUDeviceDescriptor): Promise<GPUDevice> => {
      const device = await adapter.requestDevice(descriptor);
      devices.push(device);
      tamper?.(device, devices.length - 1);
      return device;
    };
    const { limits, features, info } = adapter;
    return { limits, features, info, requestDevice } as unknown as GPUAdapter;
  };
  return { gpu: { requestAdapter } as unknown as GPU, devices };
}
