/**
 * The staging memory of a load: four buffers of one chunk each, made when first needed and lent again and again, so that memory
 * does not grow with the model. One ring serves all components of a load, also two streams at once.
 */
import { throwIfAborted } from "../errors.ts";
import { CHUNK_BYTES } from "./manifest.ts";

/** Buffers of a ring, and with them requests in flight. */
export const RING_BUFFERS = 4;

export class Ring {
  private made = 0;
  private readonly free: Uint8Array<ArrayBuffer>[] = [];
  private readonly waiting: (() => void)[] = [];

  /** A free buffer of `CHUNK_BYTES`; undefined while all are lent. */
  tryTake(): Uint8Array<ArrayBuffer> | undefined {
    const buffer = this.free.pop();
    if (buffer || this.made === RING_BUFFERS) return buffer;
    this.made++;
    return new Uint8Array(CHUNK_BYTES);
  }

  /** The next buffer that is free. @throws AbortError */
  async take(signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    for (;;) {
      throwIfAborted(signal);
      const buffer = this.tryTake();
      if (buffer) return buffer;
      await new Promise<void>((wake) => {
        this.waiting.push(wake);
        signal?.addEventListener("abort", () => wake(), { once: true });
      });
    }
  }

  /** Takes a lent buffer back. */
  give(buffer: Uint8Array<ArrayBuffer>): void {
    this.free.push(buffer);
    for (const wake of this.waiting.splice(0)) wake();
  }
}
