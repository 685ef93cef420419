/** How fast the GPU does the work of one program. */
export interface Pace {
  /** Floating-point operations a millisecond. */
  rate: number;
}

/** Milliseconds that a submit may keep the GPU from drawing, and a cancel from settling: where the GPU is fast, and where it is not. */
export const TARGETS = { fast: 30, slow: 100 } as const;
/** Operations a millisecond from which a GPU is fast: what an integrated one does, and no CPU. */
const FAST = 1e8;
/** Submits that the GPU has at a time: one at work, and one so that it need not wait for us. */
export const IN_FLIGHT = 2;
/** Most that one measurement changes a pace: much down, since the next submit would be too long as well; little up, since kernels differ. */
const DOWN = 1 / 4;
const UP = 5 / 4;

/**
 * Bounds the GPU time of submits by what earlier ones took. One for a device, so that at most two submits are in flight whatever programs
 * they belong to; each program has a pace of its own, since a decoder's kernels are not a denoiser's. Nothing but where a list of
 * commands is cut depends on it, so results are the same to the bit.
 */
export class Pacer {
  /** What programs begin with: a CPU's, until the trial has measured the device (kernels/trial.ts). */
  #rate = 5e6;
  /** One promise a submit, oldest first; never rejected. */
  readonly #inFlight: Promise<void>[] = [];
  #lastDone = 0;

  constructor(
    private readonly queue: Pick<GPUQueue, "submit" | "onSubmittedWorkDone">,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Tells how many operations a second the best kernel does on this device. */
  expect(flopsPerSecond: number): void {
    this.#rate = flopsPerSecond / 1000;
  }

  /** Where a program begins. */
  pace(): Pace {
    return { rate: this.#rate };
  }

  /** Milliseconds that a submit should take at most. */
  get target(): number {
    return this.#rate < FAST ? TARGETS.slow : TARGETS.fast;
  }

  /** Operations that a submit may hold at a pace. */
  budget({ rate }: Pace): number {
    return rate * this.target;
  }

  /** Whether another submit has to wait for `turn`. */
  get busy(): boolean {
    return this.#inFlight.length >= IN_FLIGHT;
  }

  /** Resolves when the oldest submit is done. */
  async turn(): Promise<void> {
    await this.#inFlight[0];
  }

  /** Submits commands of so many operations, and corrects the pace by how long they take. */
  submit(commands: GPUCommandBuffer, flops: number, pace: Pace): void {
    const submitted = this.now();
    this.queue.submit([commands]);
    const done = (): void => {
      void this.#inFlight.shift(); // they are done in order
      const began = Math.max(submitted, this.#lastDone);
      this.#lastDone = this.now();
      this.#learn(pace, flops, this.#lastDone - began);
    };
    // Where the device is lost it does not matter what becomes of it.
    this.#inFlight.push(this.queue.onSubmittedWorkDone().then(done, done));
  }

  /** A short submit tells nothing when it was slow: launching it may have taken longer than its work. */
  #learn(pace: Pace, flops: number, milliseconds: number): void {
    const rate = flops / milliseconds; // Infinity where the clock is too coarse
    if (rate < pace.rate && milliseconds <= this.target) return;
    pace.rate = Math.min(Math.max(rate, pace.rate * DOWN), pace.rate * UP);
  }
}
