/**
 * THE MAIN PATH: prompt -> picture. Read this first; every step below is one file away.
 */
import { Allowance } from "./allowance.ts";
import type { EncodedPrompt } from "./encode/prompts.ts";
import { ScanvasError, show, throwIfAborted, type ErrorName } from "./errors.ts";
import { elementCount } from "./gpu/tensor.ts";
import { loadModel, type LoadOptions, type Model } from "./load.ts";
import { projectLatents } from "./model/preview.ts";
import { imageSeed, randomSeed, torchRandn } from "./sampler/noise.ts";
import { planSampler } from "./sampler/plan.ts";
import { readSchedulerConfig } from "./sampler/scheduler_config.ts";
import { Session, VAE_FACTOR, type SessionShape } from "./session.ts";
import type { SamplerPlan } from "./sampler/step.ts";
import type {
  GenerateRequest,
  GenerateResult,
  LoadRequest,
  NamedTensor,
  Progress,
  RawImage,
  Timings,
} from "./worker/api.ts";

export interface GenerateOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
}

export interface PipelineOptions extends LoadOptions, Pick<LoadRequest, "tier" | "recoveries"> {}

/** Losses of the device within a minute that are made good. */
const RECOVERIES = 2;
/** Half seconds that a browser has to offer an adapter again after its GPU process died. */
const ADAPTER_WAITS = 10;

/**
 * What is given up, one after the other, when the GPU has no room: the memory of the resident text encoder, guidance in one batch, large
 * parts of activations. The picture stays the same, but for the last digits where sums are made in another order.
 */
const LADDER = ["streamed text", "guidance in passes", "small parts"] as const;
const SMALL_PARTS = { activationBytes: 16 << 20, decoderBytes: 384 << 20 };

/** What is done of a request; it outlives a lost device. */
interface Job {
  readonly request: GenerateRequest;
  readonly settings: Settings;
  readonly sampler: SamplerPlan;
  readonly guided: boolean;
  texts: EncodedPrompt[] | undefined;
  readonly images: RawImage[];
  /** Of the picture at work. */
  saved: { steps: number; latents: Float32Array<ArrayBuffer>; prediction: Float32Array<ArrayBuffer> } | undefined;
  trace: Record<string, NamedTensor>;
  readonly latents: Float32Array[];
  readonly timings: Timings;
  peakBytes: number;
  readonly began: number;
}

/** A request with its defaults filled in. */
type Settings = Required<
  Pick<GenerateRequest, "prompt" | "negativePrompt" | "height" | "width" | "guidanceScale" | "numImages" | "seed">
>;

const isNamed = (error: unknown, name: ErrorName): boolean => error instanceof ScanvasError && error.name === name;
const isLoss = (error: unknown): boolean => isNamed(error, "DeviceLostError");
const isLack = (error: unknown): boolean => isNamed(error, "OutOfMemoryError");

/**
 * Loads again when the device is lost meanwhile, as often as that is made good. Where one was lost, a browser that offers no adapter is given
 * time: its GPU process is starting again.
 */
async function persistently(
  load: () => Promise<Model>,
  losses: Allowance,
  { signal, lost = false }: { signal: AbortSignal | undefined; lost?: boolean },
): Promise<Model> {
  for (let waits = 0; ;) {
    try {
      return await load();
    } catch (error) {
      throwIfAborted(signal);
      if (isLoss(error) && losses.take()) [lost, waits] = [true, 0];
      else if (lost && isNamed(error, "WebGPUUnavailableError") && ++waits <= ADAPTER_WAITS)
        await new Promise((resolve) => setTimeout(resolve, 500));
      else throw error;
    }
  }
}

/** A loaded model, ready to make pictures one after the other. A lost device, or one without room, is its own matter as long as there is a way. */
export class LocalPipeline {
  #session: { readonly key: string; readonly session: Session } | undefined;
  #disposed = false;
  /** Its device was given back. */
  #parked = false;
  /** The rung of the ladder that the session of today stands on, and the one below which there is no going back. */
  #rung: number;

  private constructor(
    private loaded: Model,
    private readonly floor: number,
    private readonly losses: Allowance,
    /** Loads the same model onto a new device; from storage, where there is one. */
    private readonly reload: ((run: GenerateOptions) => Promise<Model>) | undefined,
  ) {
    this.#rung = floor;
  }

  static async load(url: string, options: PipelineOptions = {}): Promise<LocalPipeline> {
    const { tier, recoveries = RECOVERIES, ...rest } = options;
    const low = tier === "low";
    const own: LoadOptions = low && rest.textEncoder === undefined ? { ...rest, textEncoder: "streamed" } : rest;
    const losses = new Allowance(recoveries);
    const model = await persistently(() => loadModel(url, own), losses, { signal: own.signal });
    const { manifest } = model;
    const reload = ({ signal, onProgress }: GenerateOptions): Promise<Model> =>
      loadModel(url, { ...own, manifest, signal, onProgress });
    return new LocalPipeline(model, low ? LADDER.length : 0, losses, reload);
  }

  /** Around a model that is loaded already; `dispose` frees it too. It is not loaded again when its device is lost. */
  static of(model: Model): LocalPipeline {
    return new LocalPipeline(model, 0, new Allowance(0), undefined);
  }

  /** Another one after its device was lost. */
  get model(): Model {
    return this.loaded;
  }

  /**
   * One call, one seed, one or more pictures. Errors are ScanvasErrors and leave the pipeline usable. A device that is lost meanwhile is
   * replaced, and the picture goes on after its last step, to the same bits; where memory lacks, the ladder is taken.
   */
  async generate(request: GenerateRequest, run: GenerateOptions = {}): Promise<GenerateResult> {
    const job = this.#begin(request);
    this.#rung = this.floor;
    for (;;) {
      await this.revive(run);
      try {
        return await this.#work(job, run);
      } catch (error) {
        if (isLoss(error) && !this.#disposed) await this.revive(run, error);
        else if (!isLack(error) || !this.#stepDown()) throw this.#explained(error, job);
      }
    }
  }

  /** Loads the model anew when its device is gone. @throws DeviceLostError when that happened too often, or cannot be done */
  async revive(run: GenerateOptions = {}, cause?: unknown): Promise<void> {
    const { gpu } = this.loaded;
    if (!gpu.lost && !this.#parked && cause === undefined) return;
    const why = cause instanceof Error ? cause.message : `scanvas: the GPU device was lost (${gpu.lost?.message})`;
    const { limit } = this.losses;
    const advice =
      limit > 0
        ? `, ${limit + 1} times within a minute; load the model with tier "low" or try again later`
        : "; load the model again";
    if (!this.reload || !(this.#parked || this.losses.take()))
      throw new ScanvasError("DeviceLostError", why + advice, { cause });
    this.#release();
    await this.loaded.prompts?.dispose();
    gpu.dispose();
    const { reload } = this;
    try {
      this.loaded = await persistently(() => reload(run), this.losses, { signal: run.signal, lost: true });
      this.#parked = false;
    } catch (error) {
      throwIfAborted(run.signal);
      const reason = error instanceof Error ? error.message : String(error);
      const end = isLoss(error) ? advice : `, and could not be had again: ${reason}`;
      throw new ScanvasError("DeviceLostError", why + end, { cause: error });
    }
  }

  /** Checks and plans a request, before anything is computed. */
  #begin(request: GenerateRequest): Job {
    this.#parts();
    const settings = this.#resolve(request);
    const { manifest } = this.loaded;
    return {
      request,
      settings,
      sampler: planSampler(
        request.sampler,
        readSchedulerConfig(manifest.scheduler ?? {}),
        request.numInferenceSteps ?? manifest.defaults?.numInferenceSteps ?? 20,
      ),
      guided: settings.guidanceScale > 1,
      texts: undefined,
      images: [],
      saved: undefined,
      trace: {},
      latents: [],
      timings: { encode: 0, prepare: 0, denoise: 0, decode: 0, total: 0 },
      peakBytes: 0,
      began: performance.now(),
    };
  }

  /** Does what is left of `job`. */
  async #work(job: Job, { signal, onProgress }: GenerateOptions): Promise<GenerateResult> {
    const { request, sampler, guided, images, timings } = job;
    const { prompt, negativePrompt, height, width, guidanceScale, numImages, seed } = job.settings;
    const { gpu } = this.loaded;
    const { denoiser, prompts } = this.#parts();
    const timed = async <T>(stage: Exclude<keyof Timings, "total">, work: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      try {
        return await gpu.withinMemory(stage === "prepare" ? "prepare the picture" : stage, work);
      } catch (error) {
        if (error instanceof ScanvasError) error.stage ??= stage;
        throw error;
      } finally {
        timings[stage] += performance.now() - start;
        job.peakBytes = Math.max(job.peakBytes, gpu.arena.peak);
      }
    };
    const report = (stage: Progress["stage"], step: number, total: number, preview?: RawImage): void => {
      throwIfAborted(signal);
      onProgress?.({ stage, step, total, bytes: gpu.arena.bytes, ...(preview && { preview }) });
    };

    // Text -> embeddings, unconditional half first.
    const wanted = guided ? [negativePrompt, prompt] : [prompt];
    if (!job.texts) report("encode", 0, wanted.length);
    const texts = (job.texts ??= await timed("encode", async () => {
      const encoded: EncodedPrompt[] = [];
      for (const text of wanted) {
        // A streamed encoder is there to save memory: it gets that of the last picture.
        if (prompts.kind === "streamed" && !prompts.knows(text)) this.#release();
        encoded.push(await prompts.encode(text, signal));
        report("encode", encoded.length, wanted.length);
      }
      await prompts.release();
      return encoded;
    }));

    // Everything this size needs, once.
    report("compile", 0, 1);
    const longest = Math.max(...texts.map(({ ids }) => ids.length));
    const session = await timed("prepare", () =>
      this.#sessionFor(
        {
          height,
          width,
          halves: guided ? 2 : 1,
          guidanceMode: request.guidanceMode ?? "auto",
          textTokens: Math.ceil(longest / 16) * 16,
        },
        signal,
      ),
    );
    report("compile", 1, 1);
    await timed("prepare", () =>
      session.setText(
        texts.map(({ embeds }) => embeds),
        signal,
      ),
    );

    const latentShape = [1, denoiser.config.inChannels, height / VAE_FACTOR, width / VAE_FACTOR];
    const steps = sampler.steps.length;
    const timesteps = session.embedTimesteps(sampler);
    while (images.length < numImages) {
      const n = images.length;
      const noise = torchRandn(imageSeed(seed, n), elementCount(latentShape));
      if (job.saved) session.start(job.saved.latents, job.saved.prediction);
      else session.start(Float32Array.from(noise, (value) => value * sampler.initNoiseSigma));
      const done = job.saved?.steps ?? 0;
      report("denoise", done, steps);
      await timed("denoise", async () => {
        for (let i = done; i < steps; i++) {
          await session.step(sampler.steps[i]!, timesteps[i]!, guidanceScale, signal);
          const { latents, prediction } = session;
          job.saved = { steps: i + 1, latents, prediction };
          if (request.trace && n === 0) job.latents.push(latents.slice());
          report("denoise", i + 1, steps, request.preview ? this.#preview(session) : undefined);
        }
      });
      report("decode", n, numImages);
      const rgb = await timed("decode", () => session.decode(signal));
      images.push(toImage(rgb, width, height));
      job.saved = undefined;
      report("decode", n + 1, numImages);
      if (request.trace && n === 0)
        job.trace = traceOf(job, texts, latentShape, denoiser.config.captionChannels, noise, rgb);
    }
    timings.total = performance.now() - job.began;
    return {
      images,
      seed,
      truncated: { prompt: texts.at(-1)!.truncated, negativePrompt: guided && texts[0]!.truncated },
      timings,
      peakBytes: job.peakBytes,
      ...(request.trace ? { trace: job.trace } : {}),
    };
  }

  /** The embeddings of `prompts` as a file for `load(url, { promptPack })`. */
  async embed(
    prompts: readonly string[],
    { signal, onProgress }: GenerateOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (!Array.isArray(prompts) || !prompts.length || prompts.some((prompt) => typeof prompt !== "string"))
      throw new ScanvasError("InvalidArgumentError", "embed: prompts is not a list of at least one string");
    await this.revive({ signal, onProgress });
    const { gpu, prompts: encoder } = this.model;
    if (!encoder) throw new ScanvasError("ModelConfigError", "embed: this model has no text encoder");
    const total = prompts.length;
    return encoder.pack(prompts, signal, (step) => {
      throwIfAborted(signal);
      onProgress?.({ stage: "encode", step, total, bytes: gpu.arena.bytes });
    });
  }

  /** The size the model was trained at, pixels; 0 without a transformer. */
  get nativeSize(): number {
    return (this.model.denoiser?.config.sampleSize ?? 0) * VAE_FACTOR;
  }

  /** Gives all GPU memory back; the next job loads the model again, from storage. */
  async park(): Promise<void> {
    this.#release();
    await this.loaded.prompts?.dispose();
    this.loaded.gpu.dispose();
    this.#parked = true;
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    this.#release();
    await this.model.prompts?.dispose();
    this.model.gpu.dispose();
  }

  /** Gives back the memory of the last picture's size. */
  #release(): void {
    this.#session?.session.dispose();
    this.#session = undefined;
  }

  /** Takes the next rung that makes a difference; false at the end of the ladder. */
  #stepDown(): boolean {
    this.#release();
    if (this.#rung >= LADDER.length) return false;
    const rung = LADDER[this.#rung++];
    return rung !== "streamed text" || this.loaded.streamText() || this.#stepDown();
  }

  /** An OutOfMemoryError that tells what the picture needs. */
  #explained(error: unknown, { settings }: Job): unknown {
    if (!(error instanceof ScanvasError) || !isLack(error)) return error;
    const { height, width } = settings;
    const { gpu } = this.loaded;
    const text = `${error.message}; ${width} x ${height} does not fit even with all that can be given up (${LADDER.join(", ")}): choose a smaller size`;
    const message = `${text}. The model holds ${gpu.arena.bytes} bytes`;
    return Object.assign(new ScanvasError("OutOfMemoryError", message, { cause: error }), { stage: error.stage });
  }

  /** What a picture needs. ModelConfigError names what this model lacks. */
  #parts() {
    const { denoiser, image, prompts } = this.model;
    if (!denoiser) throw new ScanvasError("ModelConfigError", "generate: this model was loaded without a transformer");
    if (!prompts) {
      throw new ScanvasError(
        "ModelConfigError",
        "generate: this model has no text encoder; give load() a promptPack, or use a model that has one",
      );
    }
    return { denoiser, image, prompts };
  }

  /** Fills in the defaults and refuses what cannot work, before anything is computed. */
  #resolve(request: GenerateRequest) {
    if (typeof request !== "object" || request === null) {
      throw new ScanvasError(
        "InvalidArgumentError",
        `generate: the request is ${show(request)}, expected an object with a prompt`,
      );
    }
    const resolved = {
      prompt: request.prompt,
      negativePrompt: request.negativePrompt ?? "",
      height: request.height ?? this.nativeSize,
      width: request.width ?? this.nativeSize,
      guidanceScale: request.guidanceScale ?? this.model.manifest.defaults?.guidanceScale ?? 4.5,
      numImages: request.numImages ?? 1,
      seed: request.seed ?? randomSeed(),
    };
    const refuse = (name: keyof typeof resolved, expected: string): never => {
      const got = show(resolved[name]);
      throw new ScanvasError("InvalidArgumentError", `generate: ${name} is ${got}, expected ${expected}`);
    };
    for (const name of ["prompt", "negativePrompt"] as const) {
      if (typeof resolved[name] !== "string") refuse(name, "a string");
    }
    const multiple = VAE_FACTOR * this.#parts().denoiser.config.patchSize;
    for (const name of ["height", "width"] as const) {
      const pixels = resolved[name];
      if (!Number.isInteger(pixels) || pixels < multiple || pixels > 16384 || pixels % multiple !== 0) {
        refuse(name, `a multiple of ${multiple} from ${multiple} to 16384 pixels`);
      }
    }
    const { guidanceScale } = resolved;
    if (typeof guidanceScale !== "number" || !(guidanceScale >= 0 && guidanceScale <= 100))
      refuse("guidanceScale", "a number from 0 to 100");
    if (!Number.isInteger(resolved.numImages) || resolved.numImages < 1 || resolved.numImages > 64)
      refuse("numImages", "1 to 64");
    if (!Number.isSafeInteger(resolved.seed) || resolved.seed < 0) refuse("seed", "an integer from 0 to 2^53 - 1");
    if (!["auto", "batch", "passes", undefined].includes(request.guidanceMode)) {
      throw new ScanvasError(
        "InvalidArgumentError",
        `generate: guidanceMode is ${show(request.guidanceMode)}, expected "auto", "batch" or "passes"`,
      );
    }
    return resolved;
  }

  #preview({ shape, prediction }: Session): RawImage {
    const width = shape.width / VAE_FACTOR;
    const height = shape.height / VAE_FACTOR;
    return { width, height, data: projectLatents(prediction, width * height, this.loaded.manifest.preview) };
  }

  async #sessionFor(asked: SessionShape, signal: AbortSignal | undefined): Promise<Session> {
    const { gpu } = this.loaded;
    const key = JSON.stringify(asked);
    if (this.#session?.key === key) {
      gpu.checkLost();
      return this.#session.session;
    }
    const gave = (what: (typeof LADDER)[number]): boolean => LADDER.indexOf(what) < this.#rung;
    const profile = gave("small parts") ? { ...gpu.profile, ...SMALL_PARTS } : gpu.profile;
    const passes = gave("guidance in passes") && asked.guidanceMode === "auto";
    const shape: SessionShape = passes ? { ...asked, guidanceMode: "passes" } : asked;
    const session = new Session(this.#parts(), profile, shape); // refuses impossible sizes before the old session is given up
    this.#release();
    await session.prepare(gpu, signal);
    this.#session = { key, session };
    return session;
  }
}

/** Every tensor between a prompt and its picture. */
function traceOf(
  { sampler, guided, latents }: Job,
  texts: readonly EncodedPrompt[],
  latentShape: number[],
  caption: number,
  noise: Float32Array,
  rgb: Float32Array,
): Record<string, NamedTensor> {
  const f32 = (shape: number[], data: Float32Array): NamedTensor => ({
    dtype: "F32",
    shape,
    data: Float32Array.from(data),
  });
  const positive = texts.at(-1)!;
  const [, , height, width] = latentShape as [number, number, number, number];
  return {
    ids: { dtype: "I64", shape: [positive.ids.length], data: BigInt64Array.from(positive.ids, BigInt) },
    noise: f32(latentShape, noise),
    prompt_embeds: f32([1, positive.ids.length, caption], positive.embeds),
    ...(guided && { negative_embeds: f32([1, texts[0]!.ids.length, caption], texts[0]!.embeds) }),
    timesteps: sampler.timesteps.every(Number.isInteger)
      ? { dtype: "I64", shape: [sampler.steps.length], data: BigInt64Array.from(sampler.timesteps, BigInt) }
      : f32([sampler.steps.length], Float32Array.from(sampler.timesteps)), // Euler's may lie between two
    latents: f32([latents.length, ...latentShape], Float32Array.from(latents.flatMap((one) => [...one]))),
    image: f32([1, 3, VAE_FACTOR * height, VAE_FACTOR * width], rgb),
  };
}

/** RGB planes in 0..1 -> RGBA bytes, rounded as diffusers rounds. */
function toImage(rgb: Float32Array, width: number, height: number): RawImage {
  const pixels = width * height;
  const data = new Uint8ClampedArray(pixels * 4);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = rgb[c * pixels + i]! * 255;
    data[4 * i + 3] = 255;
  }
  return { width, height, data };
}
