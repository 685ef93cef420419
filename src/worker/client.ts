import * as comlink from "comlink";
import { ScanvasError, throwIfAborted, type ErrorName } from "../errors.ts";
import type {
  CheckResult,
  GenerateRequest,
  LoadRequest,
  ModelInfo,
  OnnxTextEncoder,
  Plan,
  PlanRequest,
  Progress,
  RawImage,
  Timings,
  TraceRequest,
  TraceResult,
} from "./api.ts";
import type { NamedTensor } from "./api.ts";
import type { WorkerApi } from "./worker.ts";

export interface LoadOptions extends Omit<LoadRequest, "url"> {
  /** Aborting settles the promise with an AbortError; what was verified so far stays in the store. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** For sites that cannot start a module worker from this package's own URL. */
  createWorker?: () => Worker;
}

export interface PlanOptions extends PlanRequest {
  signal?: AbortSignal;
  createWorker?: () => Worker;
}

export interface GenerateOptions {
  /** Aborting takes effect within a step; the pipeline stays usable. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface SelfCheckOptions {
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
  createWorker?: () => Worker;
}

/** A generated picture. */
export class GeneratedImage {
  readonly width: number;
  readonly height: number;
  /** RGBA, 8 bits each, row by row. */
  readonly data: Uint8ClampedArray<ArrayBuffer>;

  constructor({ width, height, data }: RawImage) {
    this.width = width;
    this.height = height;
    this.data = data;
  }

  toImageData(): ImageData {
    return new ImageData(this.data, this.width, this.height);
  }

  /** An encoded file, PNG unless another type is named. */
  async toBlob(type = "image/png"): Promise<Blob> {
    const canvas = new OffscreenCanvas(this.width, this.height);
    canvas.getContext("2d")!.putImageData(this.toImageData(), 0, 0);
    return canvas.convertToBlob({ type });
  }
}

export interface GenerateResult {
  images: GeneratedImage[];
  /** Seed of the first picture; picture i has seed + i. */
  seed: number;
  /** The text was longer than the model reads and was cut. */
  truncated: { prompt: boolean; negativePrompt: boolean };
  /** Milliseconds by stage. */
  timings: Timings;
  /** Most GPU bytes allocated at once so far. */
  peakBytes: number;
  trace?: Record<string, NamedTensor>;
}

const START_TIMEOUT = 30_000; // milliseconds until a worker that says nothing counts as dead
const DISPOSE_TIMEOUT = 2_000; // milliseconds for a worker to free its GPU before it is ended anyway

/** `url` made absolute, since the worker's own address is another. */
function absoluteUrl(who: string, url: string): string {
  const base = globalThis.location?.href;
  if (typeof url === "string" && url !== "" && URL.canParse(url, base)) return new URL(url, base).href;
  throw new ScanvasError(
    "InvalidArgumentError",
    `${who}: url is ${JSON.stringify(url)}, expected the address of a converted model's folder or a prompt pack`,
  );
}

/** A model loaded into a worker of its own. Every promise settles; errors are ScanvasErrors, told apart by `name`. */
export class Pipeline {
  #nextId = 1;
  #dead: ScanvasError | undefined;
  readonly #fail: Promise<never>;
  #reject!: (error: ScanvasError) => void;
  #info!: ModelInfo;

  /** Around a worker that has started. */
  private static async start(createWorker: LoadOptions["createWorker"]): Promise<Pipeline> {
    const worker =
      createWorker?.() ?? new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "scanvas" });
    const pipeline = new Pipeline(worker, comlink.wrap<WorkerApi>(worker));
    const late = `scanvas: the worker did not start within ${START_TIMEOUT / 1000} s; load again`;
    const timer = setTimeout(() => pipeline.#kill(new ScanvasError("WorkerCrashedError", late)), START_TIMEOUT);
    try {
      await pipeline.#settled(pipeline.remote.ready());
      return pipeline;
    } catch (error) {
      worker.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(
    private readonly worker: Worker,
    private readonly remote: comlink.Remote<WorkerApi>,
  ) {
    this.#fail = new Promise((_, reject) => (this.#reject = reject));
    this.#fail.catch(() => undefined);
    const crashed = (event: Event): void => {
      const detail =
        event instanceof ErrorEvent && event.message ? `: ${event.message}` : "; check that its script can be fetched";
      this.#kill(new ScanvasError("WorkerCrashedError", `scanvas: the worker failed${detail}. Load the model again`));
    };
    worker.addEventListener("error", crashed);
    worker.addEventListener("messageerror", crashed);
  }

  static async load(url: string, options: LoadOptions = {}): Promise<Pipeline> {
    const { signal, onProgress, createWorker, ...request } = options;
    throwIfAborted(signal);
    const absolute = absoluteUrl("load", url);
    const { promptPack } = request;
    if (promptPack !== undefined) request.promptPack = absoluteUrl("load", promptPack);
    if (typeof request.textEncoder === "object") {
      const { textEncoder } = request;
      const absolutes = (["onnx", "externalData", "wasmPaths"] as const)
        .filter((key) => textEncoder[key] !== undefined)
        .map((key) => [key, absoluteUrl("load", textEncoder[key]!)]);
      request.textEncoder = { ...textEncoder, ...(Object.fromEntries(absolutes) as Partial<OnnxTextEncoder>) };
    }
    const pipeline = await Pipeline.start(createWorker);
    try {
      pipeline.#info = await pipeline.#job(signal, (id) =>
        pipeline.remote.load(id, { url: absolute, ...request }, comlink.proxy(onProgress ?? (() => undefined))),
      );
      return pipeline;
    } catch (error) {
      pipeline.#kill(new ScanvasError("DisposedError", "scanvas: loading failed"));
      throw error;
    }
  }

  /** See `selfCheck` in index.ts. */
  static async selfCheck({ signal, onProgress, createWorker }: SelfCheckOptions = {}): Promise<CheckResult[]> {
    throwIfAborted(signal);
    const pipeline = await Pipeline.start(createWorker);
    try {
      const report = comlink.proxy(onProgress ?? (() => undefined));
      return await pipeline.#job(signal, (id) => pipeline.remote.selfCheck(id, report));
    } finally {
      pipeline.#kill(new ScanvasError("DisposedError", "scanvas: the check is over"));
    }
  }

  /** See `plan` in index.ts. */
  static async plan(url: string, options: PlanOptions = {}): Promise<Plan> {
    const { signal, createWorker, ...request } = options;
    throwIfAborted(signal);
    const absolute = absoluteUrl("plan", url);
    const pipeline = await Pipeline.start(createWorker);
    try {
      return await pipeline.#job(signal, (id) => pipeline.remote.plan(id, absolute, request));
    } finally {
      pipeline.#kill(new ScanvasError("DisposedError", "scanvas: the plan is made"));
    }
  }

  /** What was loaded, and where it runs. */
  get info(): ModelInfo {
    return this.#info;
  }

  async generate(request: GenerateRequest, { signal, onProgress }: GenerateOptions = {}): Promise<GenerateResult> {
    const result = await this.#job(signal, (id) =>
      this.remote.generate(id, { ...request }, comlink.proxy(onProgress ?? (() => undefined))),
    );
    return { ...result, images: result.images.map((image) => new GeneratedImage(image)) };
  }

  /** Embeddings of `prompts` as a file for `load(url, { promptPack })`; what `scanvas embed` writes. */
  embed(prompts: readonly string[], { signal, onProgress }: GenerateOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return this.#job(signal, (id) =>
      this.remote.embed(id, [...prompts], comlink.proxy(onProgress ?? (() => undefined))),
    );
  }

  /** One forward pass of the denoiser on given tensors: for parity work. */
  trace(request: TraceRequest): Promise<TraceResult> {
    return this.#job(undefined, (id) => this.remote.trace(id, request));
  }

  /** GPU bytes in use now, and the most that ever were, by the engine's own count. */
  gpuMemory(): Promise<{ bytes: number; peak: number }> {
    return this.#settled(this.remote.memory());
  }

  /** Frees the GPU and ends the worker. Jobs that still run or wait settle with a DisposedError. */
  async dispose(): Promise<void> {
    if (this.#dead) return;
    this.#dead = new ScanvasError("DisposedError", "scanvas: the pipeline was disposed; load the model again");
    this.#reject(this.#dead);
    const patience = new Promise((resolve) => setTimeout(resolve, DISPOSE_TIMEOUT));
    await Promise.race([this.remote.dispose(this.#nextId++), patience]).catch(() => undefined);
    this.worker.terminate();
  }

  async #job<T>(signal: AbortSignal | undefined, start: (id: number) => Promise<T>): Promise<T> {
    throwIfAborted(signal);
    const id = this.#nextId++;
    const cancel = (): void => void this.remote.cancel(id);
    signal?.addEventListener("abort", cancel);
    try {
      return await this.#settled(start(id));
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** The remote's answer, or the reason why there will never be one. Errors get their class back; comlink carries name and message. */
  async #settled<T>(promise: Promise<T>): Promise<T> {
    if (this.#dead) throw this.#dead;
    try {
      return await Promise.race([promise, this.#fail]);
    } catch (error) {
      if (error instanceof ScanvasError || !(error instanceof Error)) throw error;
      if (error.name === "DataCloneError") {
        throw new ScanvasError(
          "InvalidArgumentError",
          `scanvas: the request cannot be sent to the worker: ${error.message}`,
          { cause: error },
        );
      }
      const restored = new ScanvasError(error.name as ErrorName, error.message);
      if (error.stack) restored.stack = error.stack;
      throw restored;
    }
  }

  #kill(error: ScanvasError): void {
    this.#dead ??= error;
    this.#reject(this.#dead);
    this.worker.terminate();
  }
}
