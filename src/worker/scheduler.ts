import { throwIfAborted } from "../errors.ts";

/** Jobs of one engine: one at a time, in order, each cancellable while it waits and while it runs. */
export class Scheduler {
  readonly #jobs = new Map<number, AbortController>();
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Queues a job under an id chosen by the caller. Cancelled while it waits, it settles at once and never starts; while it runs, the
   * job's signal tells it, and it settles by itself soon after.
   */
  async enqueue<T>(id: number, job: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const { signal } = controller;
    this.#jobs.set(id, controller);
    const before = this.#last;
    const cancelled = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    const run = async (): Promise<T> => {
      await Promise.race([before, cancelled]);
      throwIfAborted(signal);
      return job(signal);
    };
    const result = run();
    // A job cancelled early must not let the next one start early; nor may the queue hold on to results.
    this.#last = Promise.allSettled([before, result]).then(() => undefined);
    try {
      return await result;
    } finally {
      this.#jobs.delete(id);
    }
  }

  cancel(id: number): void {
    this.#jobs.get(id)?.abort();
  }

  cancelAll(): void {
    for (const controller of this.#jobs.values()) controller.abort();
  }
}
