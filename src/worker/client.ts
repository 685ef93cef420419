import * as comlink from "comlink";
import { ScanvasError, throwIfAborted, type PlainError } from "../errors.ts";
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
import { beCautious, mark, reasonForCaution } from "./marker.ts";
import { Turn, type TurnOptions } from "./turn.ts";
import type { WorkerApi } from "./worker.ts";

export interface LoadOptions extends Omit<LoadRequest, "url"> {
  /** Aborting settles the promise with an AbortError; what was verified so far stays in the store. */
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** Where another tab has the GPU: end its work instead of waiting for it. */
  takeOver?: boolean;
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
  /** Where another tab has the GPU: end its work instead of waiting for it. */
  takeOver?: boolean;
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
const PULSE = 2_000; // milliseconds between two signs of life that are asked of a worker at work
const MISSED_PULSES = 15; // not answered in a row: the worker hangs. Counted, not timed, since a laptop may sleep in between
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

/** All pipelines of this page take turns with other tabs as one. */
const turn = new Turn();

/** Makes a callback one that the worker can call. */
type Hear = <A extends unknown[]>(callback: ((...args: A) => void) | undefined) => (...args: A) => void;

/** A model loaded into a worker of its own. Every promise settles; errors are ScanvasErrors, told apart by `name`. */
export class Pipeline {
  #url = "";
  #pulse: ReturnType<typeof setInterval> | undefined;
  #nextId = 1;
  #dead: ScanvasError | undefined;
  /** Rejects a call, of all that are open. Not a race against one promise: that would keep every result for as long as the pipeline lives. */
  readonly #open = new Set<(error: ScanvasError) => void>();
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
    const crashed = (event: Event): void => {
      const detail =
        event instanceof ErrorEvent && event.message ? `: ${event.message}` : "; check that its script can be fetched";
      this.#kill(new ScanvasError("WorkerCrashedError", `scanvas: the worker failed${detail}. Load the model again`));
    };
    worker.addEventListener("error", crashed);
    worker.addEventListener("messageerror", crashed);
  }

  static async load(url: string, options: LoadOptions = {}): Promise<Pipeline> {
    const { signal, onProgress, takeOver, createWorker, ...request } = options;
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
    const caution = request.tier === undefined ? await reasonForCaution(absolute) : undefined;
    if (caution !== undefined) request.tier = "low";
    const pipeline = await Pipeline.start(createWorker);
    pipeline.#url = absolute;
    try {
      const info = await pipeline.#turn({ signal, onProgress, takeOver }, (id, hear) =>
        pipeline.remote.load(id, { url: absolute, ...request }, hear(onProgress)),
      );
      pipeline.#info = caution === undefined ? info : { ...info, tierReason: caution };
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
      return await pipeline.#job(signal, (id, hear) => pipeline.remote.selfCheck(id, hear(onProgress)));
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

  async generate(request: GenerateRequest, options: GenerateOptions = {}): Promise<GenerateResult> {
    const result = await this.#turn(options, (id, hear) =>
      this.remote.generate(id, { ...request }, hear(options.onProgress)),
    );
    return { ...result, images: result.images.map((image) => new GeneratedImage(image)) };
  }

  /** Embeddings of `prompts` as a file for `load(url, { promptPack })`; what `scanvas embed` writes. */
  embed(prompts: readonly string[], options: GenerateOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    return this.#turn(options, (id, hear) => this.remote.embed(id, [...prompts], hear(options.onProgress)));
  }

  /** One forward pass of the denoiser on given tensors: for parity work. */
  trace(request: TraceRequest): Promise<TraceResult> {
    return this.#turn({}, (id) => this.remote.trace(id, request));
  }

  /** GPU bytes in use now, and the most that ever were, by the engine's own count. */
  gpuMemory(): Promise<{ bytes: number; peak: number }> {
    return this.#settled(this.remote.memory());
  }

  /** Frees the GPU and ends the worker. Jobs that still run or wait settle with a DisposedError. */
  async dispose(): Promise<void> {
    if (this.#dead) return;
    this.#end(new ScanvasError("DisposedError", "scanvas: the pipeline was disposed; load the model again"));
    const patience = new Promise((resolve) => setTimeout(resolve, DISPOSE_TIMEOUT));
    await Promise.race([this.remote.dispose(this.#nextId++), patience]).catch(() => undefined);
    this.worker.terminate();
  }

  /** Gives all GPU memory back until the next job, which loads the model again, from storage. Happens by itself when another tab asks. */
  park(): Promise<void> {
    return this.#job(undefined, (id) => this.remote.park(id));
  }

  /** @internal Another tab has the GPU now. */
  evict(error: ScanvasError): void {
    for (const fail of this.#open) fail(error);
    void this.remote.cancelAll();
  }

  /** A job that needs the GPU: in turn with other tabs, and marked while it runs. */
  #turn<T>(options: GenerateOptions, start: (id: number, hear: Hear) => Promise<T>): Promise<T> {
    const { signal, takeOver, onProgress } = options;
    const onWait = (): void => onProgress?.({ stage: "wait", step: 0, total: 1, bytes: 0 });
    const turnOptions: TurnOptions = { signal, takeOver, onWait };
    const work = async (): Promise<T> => {
      const unmark = mark(this.#url);
      try {
        return await this.#job(signal, start);
      } catch (error) {
        if (error instanceof ScanvasError && error.name === "DeviceLostError") beCautious(this.#url);
        throw error;
      } finally {
        unmark();
      }
    };
    return turn.run(this, work, turnOptions);
  }

  async #job<T>(signal: AbortSignal | undefined, start: (id: number, hear: Hear) => Promise<T>): Promise<T> {
    throwIfAborted(signal);
    const id = this.#nextId++;
    const cancel = (): void => void this.remote.cancel(id);
    let failed = false;
    const hear: Hear = (callback) =>
      comlink.proxy((...args) => {
        if (failed) return; // too late: the caller knows how it ended
        try {
          callback?.(...args);
        } catch (error) {
          reportError(error); // the page's own, and no matter of the job
        }
      });
    signal?.addEventListener("abort", cancel);
    try {
      const result = await this.#settled(start(id, hear));
      throwIfAborted(signal); // while the answer was on its way
      return result;
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** The remote's answer, or the reason why there will never be one. Errors get their class back. */
  async #settled<T>(promise: Promise<T>): Promise<T> {
    let fail!: (error: ScanvasError) => void;
    const failed = new Promise<never>((_, reject) => (fail = reject));
    this.#open.add(fail);
    this.#watch();
    try {
      if (this.#dead) fail(this.#dead);
      return await Promise.race([promise, failed]);
    } catch (error) {
      if (error instanceof ScanvasError) throw error;
      if (!(error instanceof Error)) throw ScanvasError.fromPlain(error as PlainError);
      // Not from a job: the call itself could not be sent.
      const text = `scanvas: the request cannot be sent to the worker: ${error.message}`;
      throw new ScanvasError("InvalidArgumentError", text, { cause: error });
    } finally {
      this.#open.delete(fail);
    }
  }

  /** Asks for signs of life while a call is open. */
  #watch(): void {
    if (this.#pulse !== undefined) return;
    let missed = 0;
    this.#pulse = setInterval(() => {
      if (this.#open.size === 0) {
        clearInterval(this.#pulse);
        this.#pulse = undefined;
      } else if (++missed > MISSED_PULSES) {
        const text = `scanvas: the worker gave no sign of life for ${(MISSED_PULSES * PULSE) / 1000} s; load the model again`;
        this.#kill(new ScanvasError("WorkerCrashedError", text));
      } else if (missed === 1) void this.remote.ready().then(() => (missed = 0));
    }, PULSE);
  }

  #end(error: ScanvasError): void {
    this.#dead ??= error;
    for (const fail of this.#open) fail(this.#dead);
    clearInterval(this.#pulse);
    turn.leave(this);
  }

  #kill(error: ScanvasError): void {
    this.#end(error);
    this.worker.terminate();
  }
}
