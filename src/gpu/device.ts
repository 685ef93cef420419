import { ScanvasError } from "../errors.ts";
import { fromF16 } from "../numbers/half.ts";
import { Arena } from "./arena.ts";
import { DEFAULT_PROFILE, type DeviceProfile } from "./recording.ts";
import { Pipelines } from "./pipelines.ts";
import { MATRIX_FEATURES, matrixShape } from "./subgroup_matrix.ts";
import { dataBytes, type Tensor } from "./tensor.ts";

export interface GpuOptions {
  /** Where WebGPU comes from; `navigator.gpu` unless given (tests in Node pass Dawn's). */
  gpu?: GPU;
  /** "adapter" (default) asks for the largest buffers this adapter offers; "default" stays at WebGPU's default limits. */
  limits?: "adapter" | "default";
  /** Ask for `shader-f16`, and subgroup matrices, when the adapter has them. */
  f16?: boolean;
}

const WANTED_LIMITS = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

/** One WebGPU device and all that lives on it: memory, pipelines, the profile that record functions are told. */
export class Gpu {
  readonly arena: Arena;
  readonly pipelines: Pipelines;
  /** Set once the device is gone; `checkLost` turns it into a DeviceLostError. */
  lost: GPUDeviceLostInfo | undefined;
  profile: DeviceProfile;
  /** Operations per submit: about 100 ms of work, set by the trial (kernels/trial.ts). */
  submitFlops = 5e8;

  private constructor(
    readonly device: GPUDevice,
    readonly info: GPUAdapterInfo,
  ) {
    const { limits } = device;
    const matrix = matrixShape(info, device.features);
    this.profile = {
      ...DEFAULT_PROFILE,
      f16: device.features.has("shader-f16"),
      matrix,
      limits: {
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxBufferSize: limits.maxBufferSize,
        maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      },
    };
    this.arena = new Arena(device, () => this.checkLost());
    this.pipelines = new Pipelines(device, matrix);
    void device.lost.then((info) => (this.lost = info));
  }

  static async request(options: GpuOptions = {}): Promise<Gpu> {
    const gpu = options.gpu ?? globalThis.navigator?.gpu;
    if (!gpu) {
      throw new ScanvasError(
        "WebGPUUnavailableError",
        globalThis.isSecureContext === false
          ? "scanvas: WebGPU needs a secure context, and this page is not one; serve it over https or from localhost"
          : "scanvas: this browser has no WebGPU; use a current Chrome, Edge, Safari or Firefox, and turn on hardware acceleration",
      );
    }
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) {
      throw new ScanvasError(
        "WebGPUUnavailableError",
        "scanvas: WebGPU is there but offers no adapter; update the graphics driver, or start Chrome with --enable-unsafe-webgpu",
      );
    }
    const requiredLimits: Record<string, number> = {};
    if (options.limits !== "default") for (const name of WANTED_LIMITS) requiredLimits[name] = adapter.limits[name];
    const wanted: string[] = ["timestamp-query", ...(options.f16 ? ["shader-f16", ...MATRIX_FEATURES] : [])];
    const device = await adapter
      .requestDevice({
        requiredLimits,
        requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[],
      })
      .catch((cause: unknown) => {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new ScanvasError(
          "WebGPUUnavailableError",
          `scanvas: the adapter gave no device (${reason}); close other tabs that use the GPU and load again`,
          { cause },
        );
      });
    return new Gpu(device, adapter.info);
  }

  /** What a device of this browser could be asked for; undefined where there is no WebGPU. */
  static async limits(): Promise<Pick<GPUSupportedLimits, (typeof WANTED_LIMITS)[number]> | undefined> {
    const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return undefined;
    const { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize } = adapter.limits;
    return { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize };
  }

  /** True for CPU implementations such as SwiftShader: right, and slow. */
  get isSoftware(): boolean {
    return /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${this.info.architecture} ${this.info.description}`);
  }

  /** A key for what is remembered per adapter. */
  get adapterKey(): string {
    const { vendor, architecture, device, description } = this.info;
    return [vendor, architecture, device, description].join("|");
  }

  checkLost(): void {
    if (!this.lost) return;
    throw new ScanvasError(
      "DeviceLostError",
      `scanvas: the GPU device was lost (${this.lost.reason}: ${this.lost.message}); load the model again`,
    );
  }

  /** Waits for a GPU promise; a device lost meanwhile becomes a DeviceLostError instead of a wait for ever. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    const gone = this.device.lost.then((info): never => {
      this.lost = info;
      this.checkLost();
      throw new Error("unreachable");
    });
    gone.catch(() => undefined);
    try {
      return await Promise.race([promise, gone]);
    } catch (error) {
      await Promise.resolve();
      this.checkLost();
      throw error;
    }
  }

  /** Writes `data` to the start of `tensor`. Packed types (f16, q8, q4) take their bytes as they are stored. */
  write(tensor: Tensor, data: ArrayBufferView<ArrayBuffer>, byteOffset = 0): void {
    this.device.queue.writeBuffer(
      tensor.buffer!,
      tensor.offset + byteOffset,
      data.buffer,
      data.byteOffset,
      data.byteLength,
    );
  }

  /** Reads tensors back in one go; each as its raw bytes, without the padding to 16. */
  async read(tensors: readonly Tensor[]): Promise<ArrayBuffer[]> {
    const encoder = this.device.createCommandEncoder({ label: "read" });
    const staging = tensors.map((tensor) => {
      const buffer = this.device.createBuffer({ label: `read ${tensor.label}`, size: tensor.bytes, usage: 0x1 | 0x8 });
      encoder.copyBufferToBuffer(tensor.buffer!, tensor.offset, buffer, 0, tensor.bytes);
      return buffer;
    });
    this.device.queue.submit([encoder.finish()]);
    try {
      await this.wait(Promise.all(staging.map((buffer) => buffer.mapAsync(1))));
      return staging.map((buffer, i) => {
        const { shape, type } = tensors[i]!;
        return buffer.getMappedRange().slice(0, dataBytes(shape, type));
      });
    } finally {
      staging.forEach((buffer) => buffer.destroy());
    }
  }

  /** The values of an f32 or f16 tensor. */
  async readF32(tensor: Tensor): Promise<Float32Array<ArrayBuffer>> {
    const [bytes] = await this.read([tensor]);
    return tensor.type === "f16" ? Float32Array.from(new Uint16Array(bytes!), fromF16) : new Float32Array(bytes!);
  }

  dispose(): void {
    this.arena.dispose();
    this.pipelines.dispose();
    this.device.destroy();
  }
}
