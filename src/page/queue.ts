/** Jobs, one after the other. A failed or stopped one does not hold up the next. */
import { ScanvasError, type Progress } from "../index.ts";
import type { Engine, Run } from "./engine.ts";
import type { Gallery } from "./gallery.ts";
import type { Models } from "./models.ts";
import { Pace } from "./pace.ts";
import { cardOf, type AppStore, type Job, type JobProgress } from "./state.ts";
import { randomSeed, type Settings } from "./settings.ts";

export class Queue {
  #nextId = 1;
  #controller: AbortController | undefined;

  constructor(
    private readonly store: AppStore,
    private readonly engine: Engine,
    private readonly models: Models,
    private readonly gallery: Gallery,
  ) {}

  /** A job with these settings as they are now; a random seed is drawn here, so that it is known from the start. */
  add(kind: Job["kind"], settings: Settings): void {
    const seed = settings.seed ?? randomSeed();
    const job: Job = {
      id: this.#nextId++,
      kind,
      settings: { ...settings, seed },
      done: 0,
      progress: undefined,
      preview: undefined,
    };
    const { waiting } = this.store.state;
    this.store.set({
      waiting: [...waiting, job],
      ...(kind === "pictures" && { lastSeed: seed, selected: undefined, compared: undefined }),
    });
    void this.#next();
  }

  /** Ends what runs; what waits goes on. */
  stop(): void {
    this.#controller?.abort();
  }

  /** Takes a job that waits out of the queue. */
  remove(id: number): void {
    this.store.set({ waiting: this.store.state.waiting.filter((job) => job.id !== id) });
  }

  clear(): void {
    this.store.set({ waiting: [] });
  }

  async #next(): Promise<void> {
    const [job, ...waiting] = this.store.state.waiting;
    if (!job || this.store.state.running) return;
    this.store.set({ running: job, waiting, outcome: undefined });
    this.#controller = new AbortController();
    try {
      await this.#run(job, this.#controller.signal);
    } catch (error) {
      const ended = this.store.state.running ?? job;
      this.store.set({ outcome: { kind: "ended", job: ended, error: toScanvasError(error) } });
    }
    this.store.set({ running: undefined });
    void this.#next();
  }

  async #run(job: Job, signal: AbortSignal): Promise<void> {
    const { settings, kind } = job;
    const card = cardOf(this.store.state, settings.model);
    const run: Run = { signal, onProgress: this.#reporter(this.models.isComplete(card.id)) };
    try {
      await this.engine.prepare(card, settings.precision, run);
    } finally {
      await this.models.refresh(); // also half a download is something that is kept
    }
    for (let n = 0; kind === "pictures" && n < settings.count; n++) {
      const seed = settings.seed! + n;
      const { images, timings } = await this.engine.generate(card, settings, seed, run);
      const id = await this.gallery.add(images[0]!, { ...settings, seed, count: 1 }, timings.total);
      this.#update({ done: n + 1, preview: undefined });
      this.store.set({ outcome: { kind: "picture", id } });
    }
  }

  #reporter(isLocal: boolean): (progress: Progress) => void {
    let pace = new Pace();
    let stage: Progress["stage"] | undefined;
    return ({ stage: now, step, total, preview }) => {
      if (now !== stage) pace = new Pace();
      stage = now;
      pace.note(step);
      const progress: JobProgress = {
        stage: now,
        step,
        total,
        isLocal,
        rate: pace.rate,
        remaining: pace.remaining(total),
      };
      this.#update({ progress, ...(preview && { preview }) });
    };
  }

  #update(patch: Partial<Job>): void {
    const { running } = this.store.state;
    if (running) this.store.set({ running: { ...running, ...patch } });
  }
}

/** Undefined for a job that was stopped. */
function toScanvasError(error: unknown): ScanvasError | undefined {
  if (!(error instanceof ScanvasError)) {
    return new ScanvasError("WorkerCrashedError", error instanceof Error ? error.message : String(error));
  }
  return error.name === "AbortError" ? undefined : error;
}
