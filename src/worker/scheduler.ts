/** Jobs of one engine: one at a time, in order, each cancellable while it waits and while it runs. */
export class Scheduler {
  readonly #jobs = new Map<number, AbortController>();
  #last: Promise<unknown> = Promise.resolve();

  /** Queues a job under an id chosen by the caller. The job gets a signal and settles by itself soon after it is aborted. */
  enqueue<T>(id: number, job: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#jobs.set(id, controller);
    const result = this.#last.then(() => job(controller.signal)).finally(() => this.#jobs.delete(id));
    this.#last = result.catch(() => undefined);
    return result;
  }

  cancel(id: number): void {
    this.#jobs.get(id)?.abort();
  }
}
