import { ScanvasError } from "../errors.ts";
import type { MemoryPlan } from "./plan.ts";
import type { Tensor } from "./tensor.ts";

const USAGE = 0x80 | 0x4 | 0x8; // GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST, spelled out because planning runs without a GPU

/** Owns every buffer of the engine and counts it. `bytes` is what is alive now, `peak` the most there ever was. */
export class Arena {
  bytes = 0;
  peak = 0;
  readonly #live = new Set<GPUBuffer>();

  constructor(
    private readonly device: GPUDevice,
    private readonly checkLost: () => void,
  ) {}

  /** Gives each tensor a buffer of its own (weights, latents, whatever outlives a recording). OutOfMemoryError frees them all. */
  async allocate(tensors: readonly Tensor[]): Promise<void> {
    await this.#guarded(
      () => tensors.forEach((tensor) => (tensor.buffer = this.#create(tensor.label, tensor.bytes))),
      () => this.release(tensors),
      tensors.reduce((sum, t) => sum + t.bytes, 0),
    );
  }

  /** Creates the shared buffers of a plan and binds its tensors to them. Returns the function that frees them. */
  async workspace(plan: MemoryPlan): Promise<() => void> {
    let buffers: GPUBuffer[] = [];
    const free = (): void => {
      buffers.forEach((buffer) => this.#destroy(buffer));
      buffers = [];
      for (const tensor of plan.slotOf.keys()) tensor.buffer = undefined;
    };
    await this.#guarded(
      () => {
        buffers = plan.slots.map((bytes, i) => this.#create(`workspace ${i}`, bytes));
        for (const [tensor, slot] of plan.slotOf) tensor.buffer = buffers[slot];
      },
      free,
      plan.bytes,
    );
    return free;
  }

  release(tensors: readonly Tensor[]): void {
    for (const tensor of tensors) {
      if (!tensor.buffer) continue;
      this.#destroy(tensor.buffer);
      tensor.buffer = undefined;
    }
  }

  /** Frees everything that is left. */
  dispose(): void {
    for (const buffer of [...this.#live]) this.#destroy(buffer);
  }

  #create(label: string, bytes: number): GPUBuffer {
    const buffer = this.device.createBuffer({ label, size: bytes, usage: USAGE });
    this.#live.add(buffer);
    this.bytes += bytes;
    this.peak = Math.max(this.peak, this.bytes);
    return buffer;
  }

  #destroy(buffer: GPUBuffer): void {
    if (!this.#live.delete(buffer)) return;
    this.bytes -= buffer.size;
    buffer.destroy();
  }

  async #guarded(create: () => void, undo: () => void, wanted: number): Promise<void> {
    this.device.pushErrorScope("out-of-memory");
    create();
    const error = await this.device.popErrorScope().catch(() => null); // rejects only when the device is gone
    this.checkLost();
    if (!error) return;
    undo();
    throw new ScanvasError(
      "OutOfMemoryError",
      `scanvas: the GPU had no room for ${wanted} bytes beside the ${this.bytes} in use; choose a smaller size or close other tabs`,
      { cause: error },
    );
  }
}
