import { ScanvasError, throwIfAborted } from "../errors.ts";
import { fromF16 } from "../numbers/half.ts";
import { Arena } from "./arena.ts";
import { DEFAULT_PROFILE, type DeviceProfile } from "./recording.ts";
import { Pacer } from "./pacer.ts";
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

/** Milliseconds until a loss is told of, at the latest; on a busy machine the news takes a while. */
const LOSS_DELAY = 1000;

/** One WebGPU device and all that lives on it: memory, pipelines, the profile that record functions are told. */
export class Gpu {
  readonly arena: Arena;
  readonly pipelines: Pipelines;
  /** Set once the device is gone; `checkLost` turns it into a DeviceLostError. */
  lost: GPUDeviceLostInfo | undefined;
  profile: DeviceProfile;
  readonly pacer: Pacer;
  /** Ends a wait, of all that is waited for. */
  readonly #waiting = new Set<() => void>();

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
    this.pacer = new Pacer(device.queue);
    void device.lost.then((info) => {
      this.lost = info;
      for (const giveUp of this.#waiting) giveUp();
    });
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
      `scanvas: the GPU device was lost (${this.lost.reason}: ${this.lost.message})`,
    );
  }

  /**
   * To be called with what a GPU call threw: when the device is gone, that is the reason, whatever the call says. Browsers tell of the loss
   * a moment after calls begin to fail (a RangeError "too large", an AbortError, a lost instance), so a moment is waited.
   */
  async blame(error: unknown): Promise<never> {
    if (!(error instanceof ScanvasError)) {
      await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_DELAY))]);
    }
    this.checkLost();
    throw error;
  }

  /** Waits for a GPU promise; a device lost meanwhile becomes a DeviceLostError instead of a wait for ever. An aborted `signal` ends the wait. */
  async wait<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
    // Not a race against device.lost: that promise would keep the outcome of every race for as long as the device lives.
    let giveUp!: () => void;
    const lost = new Promise<never>((_, reject) => (giveUp = () => reject(new Error("lost"))));
    this.#waiting.add(giveUp);
    signal?.addEventListener("abort", giveUp);
    try {
      if (this.lost || signal?.aborted) giveUp();
      return await Promise.race([promise, lost]);
    } catch (error) {
      throwIfAborted(signal);
      return await this.blame(error);
    } finally {
      this.#waiting.delete(giveUp);
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /**
   * Runs `work`; when the device had no room for any buffer that was made meanwhile, the outcome is an OutOfMemoryError, whatever came of it.
   * `what` it was for.
   */
  async withinMemory<T>(what: string, work: () => Promise<T>): Promise<T> {
    this.checkLost();
    this.device.pushErrorScope("out-of-memory");
    const outcome = await work().then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    const lack = await this.device.popErrorScope().catch(() => null); // rejects only when the device is gone
    if (lack && !this.lost && !("error" in outcome && outcome.error instanceof ScanvasError)) {
      throw new ScanvasError(
        "OutOfMemoryError",
        `scanvas: the GPU had no room to ${what}, with ${this.arena.bytes} bytes in use`,
        {
          cause: lack,
        },
      );
    }
    if ("error" in outcome) return this.blame(outcome.error);
    this.checkLost();
    return outcome.value;
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
