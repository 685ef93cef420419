import { ScanvasError, throwIfAborted } from "./errors.ts";
import { planMemory, type MemoryPlan } from "./gpu/plan.ts";
import { Program, type TimeOptions, type Timing } from "./gpu/program.ts";
import type { Gpu } from "./gpu/device.ts";
import { Recording, type DeviceProfile } from "./gpu/recording.ts";
import { elementCount, makeTensor, type Tensor } from "./gpu/tensor.ts";
import { checkFinite, guideAndStep } from "./kernels/elementwise.ts";
import type { DenoiserConfig } from "./model/config.ts";
import { conditionTensors, makeConditions, recordConditions, recordDenoiser } from "./model/denoiser.ts";
import { positionTable, timestepEmbedding, TIMESTEP_CHANNELS } from "./model/embeddings.ts";
import type { ImageConfig } from "./model/image_config.ts";
import { recordImageDecoder } from "./model/image_decoder.ts";
import type { Weights } from "./model/weights.ts";
import type { SamplerPlan, Step } from "./sampler/step.ts";

/** What a session runs. Without `image` it cannot decode. */
export interface SessionModel {
  readonly denoiser: { readonly config: DenoiserConfig; readonly weights: Weights };
  readonly image: { readonly config: ImageConfig; readonly weights: Weights } | undefined;
}

/** What decides the shape of every tensor of a picture. */
export interface SessionShape {
  readonly height: number; // pixels
  readonly width: number;
  /** 1 without guidance, else 2. */
  readonly halves: 1 | 2;
  /** Both halves of guidance in one batch or one after the other; "auto": in one batch when this device can bind all its tensors. */
  readonly guidanceMode: "auto" | "batch" | "passes";
  /** Text tokens, padded: L. */
  readonly textTokens: number;
}

/** Latents are 8 times smaller than the picture, as in every AutoencoderKL with four levels. */
export const VAE_FACTOR = 8;

/**
 * Everything that one size of picture needs on the GPU: recorded and planned first (so its bytes are known), then allocated, compiled and
 * bound once, then run for any number of pictures without allocating.
 */
export class Session {
  readonly #stages: string[] = [];
  readonly #persistent: Tensor[] = [];
  readonly #latents: Tensor;
  readonly #previousX0: Tensor;
  readonly #step: Tensor;
  readonly #timestep: Tensor;
  readonly #flag: Tensor;
  readonly #passes: { embeds: Tensor; mask: Tensor; half: number }[] = [];
  readonly #columnTable: Tensor;
  readonly #rowTable: Tensor;
  readonly #sizes: Tensor | undefined;
  readonly #image: Tensor | undefined;
  readonly #recordings: { conditions: Recording; step: Recording; decode: Recording | undefined };
  readonly #plan: MemoryPlan;
  #gpu: Gpu | undefined;
  #programs: { conditions: Program; step: Program; decode: Program | undefined } | undefined;
  #freeWorkspace: (() => void) | undefined;
  #staging: GPUBuffer | undefined;
  /** Latents [C, h, w] after the last step that was finished, on the CPU: from here a picture goes on when the GPU goes away. */
  readonly latents: Float32Array<ArrayBuffer>;
  /** What that step took the finished latents to be, [C, h, w]; the second-order samplers read it. */
  readonly prediction: Float32Array<ArrayBuffer>;
  readonly #stepData = new Float32Array(9);
  readonly #noFlag = Uint32Array.of(0xffffffff);

  /** Records and plans; touches no device. LimitError when some tensor cannot be bound on this device. */
  constructor(
    private readonly model: SessionModel,
    profile: DeviceProfile,
    readonly shape: SessionShape,
  ) {
    const { config, weights } = model.denoiser;
    const latentHeight = shape.height / VAE_FACTOR;
    const latentWidth = shape.width / VAE_FACTOR;
    const keep = (label: string, dims: readonly number[], type: "f32" | "u32" = "f32"): Tensor => {
      const tensor = makeTensor(label, dims, type);
      this.#persistent.push(tensor);
      return tensor;
    };
    const latentShape = [1, config.inChannels, latentHeight, latentWidth];
    const rows = latentHeight / config.patchSize;
    const columns = latentWidth / config.patchSize;
    const { halves, guidanceMode } = shape;
    const together =
      halves === 1 || (guidanceMode === "auto" ? fitsOneBatch(model, profile, shape) : guidanceMode === "batch");
    const batch = together ? halves : 1;
    this.#latents = keep("latents", latentShape);
    this.#previousX0 = keep("previous_x0", latentShape);
    this.latents = new Float32Array(elementCount(latentShape));
    this.prediction = new Float32Array(this.latents.length);
    this.#step = keep("step", [9]);
    this.#timestep = keep("timestep", [batch, TIMESTEP_CHANNELS]);
    this.#flag = keep("flag", [1], "u32");
    this.#columnTable = keep("column_table", [columns, config.width / 2]);
    this.#rowTable = keep("row_table", [rows, config.width / 2]);
    this.#sizes = config.additionalConditions ? keep("sizes", [3, TIMESTEP_CHANNELS]) : undefined;
    this.#image = model.image && keep("image", [3, shape.height, shape.width]);

    const conditionsRec = new Recording("conditions", profile);
    const stepRec = new Recording("step", profile);
    const outputs: Tensor[] = [];
    for (let half = 0; half < shape.halves; half += batch) {
      const embeds = keep("embeds", [batch, shape.textTokens, config.captionChannels]);
      const conditions = makeConditions(config, batch, shape.textTokens);
      this.#persistent.push(...conditionTensors(conditions));
      this.#passes.push({ embeds, mask: conditions.mask, half });
      recordConditions(conditionsRec, config, weights, embeds, this.#sizes, conditions);
      const output = stepRec.temp("output", [batch, ...latentShape.slice(1)]);
      recordDenoiser(
        stepRec,
        config,
        weights,
        {
          latents: this.#latents,
          step: this.#step,
          timestep: this.#timestep,
          columnTable: this.#columnTable,
          rowTable: this.#rowTable,
          conditions,
        },
        output,
        (block, hidden) => this.#check(stepRec, hidden, `transformer block ${block} (${config.tokenMixers[block]})`),
      );
      this.#check(stepRec, output, "the denoiser's output");
      outputs.push(output);
    }
    guideAndStep(
      stepRec,
      {
        step: this.#step,
        unconditional: outputs[0]!,
        conditional: outputs.at(-1)!,
        latents: this.#latents,
        previousX0: this.#previousX0,
      },
      outputs.length === 1 && shape.halves === 2 ? this.latents.length : 0,
    );
    this.#check(stepRec, this.#latents, "the sampler's update");

    let decodeRec: Recording | undefined;
    if (model.image && this.#image) {
      decodeRec = new Recording("decode", profile);
      recordImageDecoder(decodeRec, model.image.config, model.image.weights, this.#latents, this.#image, {
        height: shape.height,
        width: shape.width,
        onStage: (tensor, name) => this.#check(decodeRec!, tensor, `image decoder ${name}`),
      });
    }
    this.#recordings = { conditions: conditionsRec, step: stepRec, decode: decodeRec };
    const owned = [...this.#persistent, ...weights.all(), ...(model.image?.weights.all() ?? [])];
    this.#plan = planMemory([conditionsRec, stepRec, ...(decodeRec ? [decodeRec] : [])], owned);
  }

  /** GPU bytes this session adds to the weights. */
  get bytes(): number {
    return this.#plan.bytes + this.#persistent.reduce((sum, tensor) => sum + tensor.bytes, 0);
  }

  /** Passes of the denoiser in a step: 2 where guidance takes its halves one after the other. */
  get passes(): number {
    return this.#passes.length;
  }

  /** Commands of one step whose label begins with `prefix`, such as "block3.": dispatches and copies. */
  commandsOf(prefix: string): number {
    return this.#recordings.step.commands.filter(({ label }) => label.startsWith(prefix)).length;
  }

  /** Submits of one step at the pace of now; known once prepared. */
  get stepSubmits(): number {
    return this.#programs!.step.submits;
  }

  /** Allocates, compiles and binds on the device whose profile the session was recorded for. On failure everything is given back. */
  async prepare(gpu: Gpu, signal?: AbortSignal): Promise<void> {
    this.#gpu = gpu;
    try {
      await gpu.arena.allocate(this.#persistent);
      this.#freeWorkspace = await gpu.arena.workspace(this.#plan);
      const { conditions, step, decode } = this.#recordings;
      const built = await Promise.allSettled(
        [conditions, step, decode].map((recording) => recording && Program.build(gpu, recording, signal)),
      );
      const [a, b, c] = built.map((one) => (one.status === "fulfilled" ? one.value : undefined));
      const failed = built.find((one) => one.status === "rejected");
      if (failed) {
        [a, b, c].forEach((program) => program?.dispose());
        throw failed.reason;
      }
      this.#programs = { conditions: a!, step: b!, decode: c };
      const size = [this.#flag, this.#latents, this.#previousX0].reduce((sum, { bytes }) => sum + bytes, 0);
      this.#staging = gpu.device.createBuffer({ label: "step staging", size, usage: 0x1 | 0x8 });
      const [columns, rows] = [this.#columnTable.shape[0]!, this.#rowTable.shape[0]!];
      gpu.write(this.#columnTable, positionTable(this.model.denoiser.config, columns, rows));
      gpu.write(this.#rowTable, positionTable(this.model.denoiser.config, rows, columns));
      if (this.#sizes) {
        const { height, width } = this.shape;
        gpu.write(this.#sizes, timestepEmbedding([height, width, height / width]));
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Sets the text: one [tokens, caption] array a half (unconditional first), padded and masked here; then keys and values. */
  async setText(halves: readonly Float32Array[], signal: AbortSignal | undefined): Promise<void> {
    const gpu = this.#gpu!;
    const channels = this.model.denoiser.config.captionChannels;
    const rows = this.shape.textTokens;
    for (const { embeds, mask, half } of this.#passes) {
      const batch = embeds.shape[0]!;
      const padded = new Float32Array(batch * rows * channels);
      const real = new Float32Array(batch * rows);
      for (let b = 0; b < batch; b++) {
        const text = halves[half + b]!;
        padded.set(text, b * rows * channels);
        real.fill(1, b * rows, b * rows + text.length / channels);
      }
      gpu.write(embeds, padded);
      gpu.write(mask, real);
    }
    await this.#programs!.conditions.run(signal);
  }

  /** Starts a picture from noise [C, h, w], or goes on from the `latents` and `prediction` of a session that was lost. */
  start(latents: Float32Array<ArrayBuffer>, prediction = new Float32Array(latents.length)): void {
    this.#gpu!.write(this.#latents, latents);
    this.#gpu!.write(this.#previousX0, prediction);
  }

  /** The numbers of all steps, made before the loop so that the loop makes nothing. */
  embedTimesteps(plan: SamplerPlan): Float32Array<ArrayBuffer>[] {
    const batch = this.#timestep.shape[0]!;
    return plan.steps.map(({ timestep }) => timestepEmbedding(Array<number>(batch).fill(timestep)));
  }

  /** One sampler step; resolves when the GPU has finished it. NumericalError names the first stage that made a NaN or an infinity. */
  async step(
    step: Step,
    timestep: Float32Array<ArrayBuffer>,
    guidanceScale: number,
    signal?: AbortSignal,
  ): Promise<void> {
    this.#writeStep(step, timestep, guidanceScale);
    await this.#programs!.step.run(signal, this.#copyBack);
    await this.#readBack();
    throwIfAborted(signal);
  }

  /** Latents -> RGB in 0..1, [3, H, W]. */
  async decode(signal?: AbortSignal): Promise<Float32Array<ArrayBuffer>> {
    const gpu = this.#gpu!;
    if (!this.#programs!.decode || !this.#image)
      throw new ScanvasError("ModelConfigError", "scanvas: this model has no vae");
    gpu.write(this.#flag, this.#noFlag);
    await this.#programs!.decode.run(signal, this.#copyBack);
    await this.#readBack();
    return gpu.readF32(this.#image);
  }

  /** `step`, with a pass for every dispatch: the GPU time of each (needs `timestamp-query`). */
  async timeStep(
    step: Step,
    timestep: Float32Array<ArrayBuffer>,
    guidanceScale: number,
    between?: TimeOptions["between"],
  ): Promise<Timing[]> {
    this.#writeStep(step, timestep, guidanceScale);
    const timings = await this.#programs!.step.time({ finish: this.#copyBack, ...(between && { between }) });
    await this.#readBack();
    return timings;
  }

  dispose(): void {
    for (const program of Object.values(this.#programs ?? {})) program?.dispose();
    this.#programs = undefined;
    this.#freeWorkspace?.();
    this.#freeWorkspace = undefined;
    this.#staging?.destroy();
    this.#staging = undefined;
    this.#gpu?.arena.release(this.#persistent);
  }

  #check(rec: Recording, tensor: Tensor, stage: string): void {
    checkFinite(rec, tensor, this.#flag, this.#stages.push(stage) - 1);
  }

  #writeStep(step: Step, timestep: Float32Array<ArrayBuffer>, guidanceScale: number): void {
    const gpu = this.#gpu!;
    gpu.write(this.#step, stepValues(step, guidanceScale, this.#stepData));
    gpu.write(this.#timestep, timestep);
    gpu.write(this.#flag, this.#noFlag);
  }

  /** Goes with the last submit: reading back needs no submit of its own. */
  readonly #copyBack = (encoder: GPUCommandEncoder): void => {
    let offset = 0;
    for (const { buffer, bytes } of [this.#flag, this.#latents, this.#previousX0]) {
      encoder.copyBufferToBuffer(buffer!, 0, this.#staging!, offset, bytes);
      offset += bytes;
    }
  };

  /** The fence: waits for all that was submitted, looks at the flag, and keeps the latents. */
  async #readBack(): Promise<void> {
    const gpu = this.#gpu!;
    const staging = this.#staging!;
    await gpu.wait(staging.mapAsync(1));
    const mapped = staging.getMappedRange();
    const stage = new Uint32Array(mapped, 0, 1)[0]!;
    if (stage === 0xffffffff) {
      this.latents.set(new Float32Array(mapped, this.#flag.bytes, this.latents.length));
      this.prediction.set(new Float32Array(mapped, this.#flag.bytes + this.#latents.bytes, this.prediction.length));
    }
    staging.unmap();
    if (stage === 0xffffffff) return;
    throw new ScanvasError(
      "NumericalError",
      `scanvas: ${this.#stages[stage]} produced NaN or Inf; the picture is lost. Load the model with f32 weights and arithmetic; ` +
        `if that fails too, the weights are damaged`,
    );
  }
}

function fitsOneBatch(model: SessionModel, profile: DeviceProfile, shape: SessionShape): boolean {
  try {
    new Session(model, profile, { ...shape, guidanceMode: "batch" });
    return true;
  } catch (error) {
    if (error instanceof ScanvasError && error.name === "LimitError") return false;
    throw error;
  }
}

/** The layout that patchify and guide_and_step read. */
function stepValues(step: Step, guidanceScale: number, into: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  into[0] = step.inputScale;
  into[1] = step.x0FromSample;
  into[2] = step.x0FromOutput;
  into[3] = step.x0Limit;
  into[4] = step.fromSample;
  into[5] = step.fromOutput;
  into[6] = step.fromX0;
  into[7] = step.fromPreviousX0;
  into[8] = guidanceScale;
  return into;
}
