import { downloadSize, load, type LoadOptions, type Pipeline, type Progress } from "../index.ts";
import { unlessAborted } from "./wait.ts";

/** What an element's attributes say about its model. */
export interface ModelSource {
  /** Absolute, where the attribute was an address at all. */
  url: string;
  promptPack?: string;
  integrity?: string;
}

/** What the page says about all of them: `ScanvasImage.loadOptions`. */
export type SharedLoadOptions = Omit<LoadOptions, "signal" | "onProgress" | "promptPack" | "integrity">;

interface Loading {
  readonly pipeline: Promise<Pipeline>;
  readonly controller: AbortController;
  done: boolean;
}

/** Milliseconds an engine outlives its last element: moving an element in the document, or a re-render, must not load anew. */
const GRACE = 3_000;

const engines = new Map<string, Engine>();

/**
 * One loaded model, for all elements of the page that name it. Elements acquire and release it; the last release frees the GPU, after
 * a while. Nothing is downloaded but the manifest until somebody calls `load`.
 */
export class Engine {
  #users = 0;
  #farewell: ReturnType<typeof setTimeout> | undefined;
  #loading: Loading | undefined;
  #progress: Progress | undefined;
  readonly #waiting = new Set<(progress: Progress) => void>();
  #isAllowed = false;
  #agree!: () => void;
  /** Settles when the visitor has agreed to the download, on whichever element. */
  readonly agreement = new Promise<void>((resolve) => (this.#agree = resolve));

  /** The engine of `source`, with one user more. */
  static acquire(source: ModelSource, options: SharedLoadOptions): Engine {
    const key = JSON.stringify(source);
    const engine = engines.get(key) ?? new Engine(key, source, options);
    engines.set(key, engine);
    engine.#users++;
    clearTimeout(engine.#farewell);
    return engine;
  }

  private constructor(
    private readonly key: string,
    private readonly source: ModelSource,
    private readonly options: SharedLoadOptions,
  ) {}

  get isAllowed(): boolean {
    return this.#isAllowed;
  }

  allow(): void {
    this.#isAllowed = true;
    this.#agree();
  }

  /** One user less. */
  release(): void {
    if (--this.#users > 0) return;
    this.#farewell = setTimeout(() => {
      engines.delete(this.key);
      this.#drop();
    }, GRACE);
  }

  /** Bytes that loading would download. @throws as `downloadSize` */
  async missingBytes(signal: AbortSignal): Promise<number> {
    const { url, ...rest } = this.source;
    return (await downloadSize(url, { ...rest, signal })).missing;
  }

  /** The loaded model. Aborting gives up waiting; the download itself ends when nobody waits any more. */
  async load(signal: AbortSignal, onProgress: (progress: Progress) => void): Promise<Pipeline> {
    const loading = (this.#loading ??= this.#begin());
    const hear = (progress: Progress): void => onProgress(progress);
    this.#waiting.add(hear);
    if (this.#progress && !loading.done) hear(this.#progress);
    try {
      return await unlessAborted(loading.pipeline, signal);
    } finally {
      this.#waiting.delete(hear);
      if (this.#waiting.size === 0 && !loading.done && this.#loading === loading) this.#drop();
    }
  }

  /** `pipeline` cannot go on (device lost, worker dead): the next `load` starts anew. */
  async forget(pipeline: Pipeline): Promise<void> {
    if (this.#loading && (await this.#loading.pipeline.catch(() => undefined)) === pipeline) this.#drop();
  }

  #begin(): Loading {
    const controller = new AbortController();
    const { url, ...rest } = this.source;
    const pipeline = load(url, {
      ...this.options,
      ...rest,
      signal: controller.signal,
      onProgress: (progress) => {
        this.#progress = progress;
        for (const hear of this.#waiting) hear(progress);
      },
    });
    const loading: Loading = { pipeline, controller, done: false };
    pipeline.then(
      () => (loading.done = true),
      () => this.#loading === loading && (this.#loading = undefined),
    );
    return loading;
  }

  #drop(): void {
    const loading = this.#loading;
    this.#loading = undefined;
    this.#progress = undefined;
    loading?.controller.abort();
    loading?.pipeline.then(
      (pipeline) => pipeline.dispose(),
      () => undefined,
    );
  }
}
