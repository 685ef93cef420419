/**
 * THE MAIN PATH: prompt -> picture. Read this first; every step below is one file away.
 */
import { ScanvasError, throwIfAborted } from "./errors.ts";
import { loadModel, type LoadOptions, type Model } from "./load.ts";
import { projectLatents } from "./model/preview.ts";
import { imageSeed, randomSeed, torchRandn } from "./sampler/noise.ts";
import { planSampler } from "./sampler/plan.ts";
import { readSchedulerConfig } from "./sampler/scheduler_config.ts";
import { Session, VAE_FACTOR, type SessionShape } from "./session.ts";
import type { GenerateRequest, GenerateResult, NamedTensor, Progress, RawImage } from "./worker/api.ts";

export interface GenerateOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

/** A loaded model, ready to make pictures one after the other. */
export class LocalPipeline {
  #session: Session | undefined;

  private constructor(readonly model: Model) {}

  static async load(url: string, options: LoadOptions = {}): Promise<LocalPipeline> {
    return LocalPipeline.of(await loadModel(url, options));
  }

  /** Around a model that is loaded already; `dispose` frees it too. */
  static of(model: Model): LocalPipeline {
    return new LocalPipeline(model);
  }

  /** One call, one seed, one or more pictures. Errors are ScanvasErrors and leave the pipeline usable. */
  async generate(request: GenerateRequest, { signal, onProgress }: GenerateOptions = {}): Promise<GenerateResult> {
    const { gpu, manifest } = this.model;
    const timings = { encode: 0, prepare: 0, denoise: 0, decode: 0, total: 0 };
    const began = performance.now();
    const timed = async <T>(stage: keyof typeof timings, work: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      try {
        return await work();
      } finally {
        timings[stage] += performance.now() - start;
      }
    };
    const report = (stage: Progress["stage"], step: number, total: number, preview?: RawImage): void => {
      throwIfAborted(signal);
      onProgress?.({ stage, step, total, bytes: gpu.arena.bytes, ...(preview && { preview }) });
    };

    const { denoiser, prompts } = this.#parts();
    const { prompt, negativePrompt, height, width, guidanceScale, numImages, seed } = this.#resolve(request);
    const sampler = planSampler(
      request.sampler,
      readSchedulerConfig(manifest.scheduler ?? {}),
      request.numInferenceSteps ?? manifest.defaults?.numInferenceSteps ?? 20,
    );
    const guided = guidanceScale > 1;

    // Text -> embeddings, unconditional half first.
    const wanted = guided ? [negativePrompt, prompt] : [prompt];
    report("encode", 0, wanted.length);
    const texts = await timed("encode", async () => {
      const encoded = [];
      for (const text of wanted) {
        // A streamed encoder is there to save memory: it gets that of the last picture.
        if (prompts.kind === "streamed" && !prompts.knows(text)) this.#release();
        encoded.push(await prompts.encode(text, signal));
        report("encode", encoded.length, wanted.length);
      }
      await prompts.release();
      return encoded;
    });

    // Everything this size needs, once.
    report("compile", 0, 1);
    const longest = Math.max(...texts.map(({ ids }) => ids.length));
    const session = await timed("prepare", () =>
      this.#sessionFor({
        height,
        width,
        halves: guided ? 2 : 1,
        guidanceMode: request.guidanceMode ?? "auto",
        textTokens: Math.ceil(longest / 16) * 16,
      }),
    );
    report("compile", 1, 1);
    await timed("prepare", () =>
      session.setText(
        texts.map(({ embeds }) => embeds),
        signal,
      ),
    );

    const images: RawImage[] = [];
    const trace: Record<string, NamedTensor> = {};
    for (let n = 0; n < numImages; n++) {
      const latentShape = [1, denoiser.config.inChannels, height / VAE_FACTOR, width / VAE_FACTOR];
      const noise = torchRandn(
        imageSeed(seed, n),
        latentShape.reduce((a, b) => a * b, 1),
      );
      session.start(Float32Array.from(noise, (value) => value * sampler.initNoiseSigma));
      const timesteps = session.embedTimesteps(sampler);
      const latents: Float32Array[] = [];
      report("denoise", 0, sampler.steps.length);
      await timed("denoise", async () => {
        for (let i = 0; i < sampler.steps.length; i++) {
          await session.step(sampler.steps[i]!, timesteps[i]!, guidanceScale, signal);
          if (request.trace) latents.push(await session.readLatents());
          const preview = request.preview ? await this.#preview(session) : undefined;
          report("denoise", i + 1, sampler.steps.length, preview);
        }
      });
      report("decode", n, numImages);
      const rgb = await timed("decode", () => session.decode(signal));
      images.push(toImage(rgb, width, height));
      report("decode", n + 1, numImages);

      if (request.trace && n === 0) {
        const positive = texts.at(-1)!;
        const caption = denoiser.config.captionChannels;
        const f32 = (shape: number[], data: Float32Array): NamedTensor => ({
          dtype: "F32",
          shape,
          data: Float32Array.from(data),
        });
        trace.ids = {
          dtype: "I64",
          shape: [positive.ids.length],
          data: BigInt64Array.from(positive.ids, BigInt),
        };
        trace.noise = f32(latentShape, noise);
        trace.prompt_embeds = f32([1, positive.ids.length, caption], positive.embeds);
        if (guided) trace.negative_embeds = f32([1, texts[0]!.ids.length, caption], texts[0]!.embeds);
        trace.timesteps = sampler.timesteps.every(Number.isInteger)
          ? { dtype: "I64", shape: [sampler.steps.length], data: BigInt64Array.from(sampler.timesteps, BigInt) }
          : f32([sampler.steps.length], Float32Array.from(sampler.timesteps)); // Euler's may lie between two
        trace.latents = f32([latents.length, ...latentShape], Float32Array.from(latents.flatMap((l) => [...l])));
        trace.image = f32([1, 3, height, width], rgb);
      }
    }
    timings.total = performance.now() - began;
    return {
      images,
      seed,
      truncated: { prompt: texts.at(-1)!.truncated, negativePrompt: guided && texts[0]!.truncated },
      timings,
      peakBytes: gpu.arena.peak,
      ...(request.trace ? { trace } : {}),
    };
  }

  /** The embeddings of `prompts` as a file for `load(url, { promptPack })`. */
  async embed(
    prompts: readonly string[],
    { signal, onProgress }: GenerateOptions = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (!Array.isArray(prompts) || !prompts.length || prompts.some((prompt) => typeof prompt !== "string"))
      throw new ScanvasError("InvalidArgumentError", "embed: prompts is not a list of at least one string");
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

  async dispose(): Promise<void> {
    this.#release();
    await this.model.prompts?.dispose();
    this.model.gpu.dispose();
  }

  /** Gives back the memory of the last picture's size. */
  #release(): void {
    this.#session?.dispose();
    this.#session = undefined;
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
        `generate: the request is ${String(request)}, expected an object with a prompt`,
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
      const value: unknown = resolved[name];
      const got = typeof value === "object" || typeof value === "string" ? JSON.stringify(value) : String(value); // NaN, 1n
      throw new ScanvasError("InvalidArgumentError", `generate: ${name} is ${got.slice(0, 80)}, expected ${expected}`);
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
    if (!(resolved.guidanceScale >= 0 && resolved.guidanceScale <= 100))
      refuse("guidanceScale", "a number from 0 to 100");
    if (!Number.isInteger(resolved.numImages) || resolved.numImages < 1 || resolved.numImages > 64)
      refuse("numImages", "1 to 64");
    if (!Number.isSafeInteger(resolved.seed) || resolved.seed < 0) refuse("seed", "an integer from 0 to 2^53 - 1");
    if (!["auto", "batch", "passes", undefined].includes(request.guidanceMode)) {
      throw new ScanvasError(
        "InvalidArgumentError",
        `generate: guidanceMode is ${request.guidanceMode}, expected "auto", "batch" or "passes"`,
      );
    }
    return resolved;
  }

  async #preview(session: Session): Promise<RawImage> {
    const width = session.shape.width / VAE_FACTOR;
    const height = session.shape.height / VAE_FACTOR;
    const latents = await session.readPrediction();
    return { width, height, data: projectLatents(latents, width * height, this.model.manifest.preview) };
  }

  async #sessionFor(shape: SessionShape): Promise<Session> {
    const { gpu } = this.model;
    if (this.#session && JSON.stringify(this.#session.shape) === JSON.stringify(shape)) {
      gpu.checkLost();
      return this.#session;
    }
    const session = new Session(this.#parts(), gpu.profile, shape); // refuses impossible sizes before the old session is given up
    this.#release();
    await session.prepare(gpu);
    return (this.#session = session);
  }
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
