/** The same work by scanvas and by what a user would pick instead, run in turn in one page and compared. */
import type * as Ort from "onnxruntime-web";
import { importRuntime } from "../../../src/encode/onnx_runtime.ts";
import { residentText } from "../../../src/encode/resident.ts";
import type { Gpu } from "../../../src/gpu/device.ts";
import { planMemory } from "../../../src/gpu/plan.ts";
import { Program } from "../../../src/gpu/program.ts";
import { Recording } from "../../../src/gpu/recording.ts";
import { makeTensor, viewTensor, type Tensor } from "../../../src/gpu/tensor.ts";
import { attention } from "../../../src/kernels/attention.ts";
import { conv2d } from "../../../src/kernels/conv2d.ts";
import { gemm } from "../../../src/kernels/gemm.ts";
import { ssd, ssdProduct } from "../../../src/kernels/ssd.ts";
import { loadModel, type Model } from "../../../src/load.ts";
import { Session } from "../../../src/session.ts";
import { traceDenoiser } from "../../../src/trace.ts";
import type { ComponentName } from "../../../src/weights/manifest.ts";
import { device } from "./device.ts";
import {
  imageInputs,
  kernelInputs,
  STEP,
  stepInputs,
  textInputs,
  TIMESTEP,
  type Inputs,
  type KernelWork,
  type ModelWork,
  type Work,
} from "./inputs.ts";
import { jaxContender, type JaxModule } from "./jax.ts";
import { relativeError } from "./stats.ts";
import { tfjsContender } from "./tfjs.ts";

/** One side of a race. `run` resolves when the GPU is done; `read` gives the result of the last run. */
export interface Contender {
  run(): Promise<unknown>;
  read(): Promise<Float32Array>;
  dispose(): void | Promise<void>;
}

/** Where contenders come from. */
export interface Entry {
  name: string;
  runtime: "scanvas" | "onnxruntime-web" | "jax-js" | "tfjs";
  /** Address of an ONNX model, or of a runtime's module. */
  url?: string;
  /** Of a step: the graph that makes keys and values of the text. */
  conditions?: string;
  /** onnxruntime-web on a device without `subgroups`, which has it choose other kernels. */
  plainDevice?: boolean;
}

export interface Raced {
  name: string;
  /** Seconds by the wall clock, around a run that waits for its result. */
  warmup: number;
  samples: number[];
  /** CPU seconds of the GPU's process, where it is a CPU. */
  cpu: number[];
  /** The largest difference from scanvas' result over all samples, relative. */
  error: number;
  /** Why it could not take part. */
  failed?: string;
}

/** After so many seconds three rounds are enough. */
const PATIENCE = 60;

/** Runs the entries in turn, up to `rounds` times after a warm-up; the first is scanvas, the others are compared with it. */
export async function race(work: Work, entries: Entry[], rounds: number): Promise<Raced[]> {
  const data = await inputs(work);
  const results: (Raced & { contender?: Contender })[] = [];
  try {
    let reference: Float32Array | undefined;
    for (const entry of entries) {
      const result: (typeof results)[number] = { name: entry.name, warmup: 0, samples: [], cpu: [], error: 0 };
      results.push(result);
      try {
        const contender = await enter(work, entry, data);
        result.contender = contender;
        result.warmup = await timed(() => contender.run());
        reference ??= await contender.read();
        result.error = relativeError(await contender.read(), reference);
      } catch (error) {
        result.failed = error instanceof Error ? error.message : JSON.stringify(error);
        if (!reference) throw error;
      }
    }
    const began = performance.now();
    for (let i = 0; i < rounds && (i < 3 || performance.now() - began < PATIENCE * 1e3); i++) {
      for (const result of results) {
        const { contender } = result;
        if (!contender) continue;
        const before = await globalThis.cpuSeconds?.();
        result.samples.push(await timed(() => contender.run()));
        if (before !== undefined) result.cpu.push((await globalThis.cpuSeconds!()) - before);
        result.error = Math.max(result.error, relativeError(await contender.read(), reference!));
        if (result === results[0] && result.error > 0) throw new Error("scanvas: two runs on the same inputs differ");
      }
    }
    return results.map(({ contender: _, ...result }) => result);
  } finally {
    for (const { contender } of results) await contender?.dispose();
  }
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1e3;
}

function enter(work: Work, entry: Entry, data: Inputs): Promise<Contender> {
  if (entry.runtime === "scanvas") return ours(work, data);
  if (entry.runtime === "onnxruntime-web") return ortContender(work, entry, data);
  if (entry.runtime === "jax-js")
    return jaxContender(work, data, import(/* @vite-ignore */ entry.url!) as Promise<JaxModule>);
  return tfjsContender(work, data);
}

async function inputs(work: Work): Promise<Inputs> {
  switch (work.kind) {
    case "step":
      return stepInputs(work, (await ourModel(work)).denoiser!.config, await stepTexts(work));
    case "text":
      return textInputs(work, (await ourModel(work)).text!.config);
    case "image":
      return imageInputs(work, (await ourModel(work)).image!.config);
    default:
      return kernelInputs(work);
  }
}

/** Two texts of any words, embedded. */
async function stepTexts({
  model,
  textTokens: tokens,
}: Extract<Work, { kind: "step" }>): Promise<[Float32Array, Float32Array]> {
  const work = { kind: "text", model, tokens } as const;
  const { gpu, text } = await ourModel(work);
  const words = textInputs(work, text!.config).ids!.data;
  const encoder = residentText(gpu, text!.config, text!.weights);
  try {
    const embed = (ids: Float32Array): Promise<Float32Array> => encoder.encode(Int32Array.from(ids), undefined);
    const first = Float32Array.from(await embed(words));
    return [first, await embed(words.toReversed())];
  } finally {
    encoder.dispose();
  }
}

// --- ours

function ours(work: Work, data: Inputs): Promise<Contender> {
  switch (work.kind) {
    case "step":
      return ourStep(work, data);
    case "text":
      return ourText(work, data);
    case "image":
      return ourImage(work, data);
    default:
      return ourKernel(work, data);
  }
}

/** A program on tensors of its own; the result is the last tensor. */
async function ourProgram(
  gpu: Gpu,
  given: [Tensor, Float32Array<ArrayBuffer>][],
  y: Tensor,
  record: (rec: Recording) => void,
): Promise<Contender> {
  const own = [...given.map(([tensor]) => tensor), y];
  await gpu.arena.allocate(own);
  for (const [tensor, data] of given) gpu.write(tensor, data);
  const recording = new Recording("race", gpu.profile);
  record(recording);
  const free = await gpu.arena.workspace(planMemory([recording]));
  const program = await Program.build(gpu, recording);
  return {
    async run() {
      await program.run();
      await gpu.device.queue.onSubmittedWorkDone();
    },
    read: () => gpu.readF32(y),
    dispose() {
      program.dispose();
      free();
      gpu.arena.release(own);
    },
  };
}

async function ourKernel(work: KernelWork, data: Inputs): Promise<Contender> {
  const gpu = await device();
  const tensors: Record<string, Tensor> = {};
  for (const [name, { shape }] of Object.entries(data)) tensors[name] = makeTensor(name, shape);
  const given = Object.entries(data).map(([name, one]): [Tensor, Float32Array<ArrayBuffer>] => [
    tensors[name]!,
    one.data,
  ]);
  const { q, k, v, x, w, b, c, dt, dtBias, aLog, skip, bias } = tensors as Record<string, Tensor>;
  switch (work.kind) {
    case "gemm": {
      const y = makeTensor("y", [work.rows, work.columns]);
      return ourProgram(gpu, given, y, (rec) => gemm(rec, x!, w!, y));
    }
    case "attention": {
      const y = makeTensor("y", q!.shape);
      const { queries, keys, heads, headDim } = work;
      const options = { batch: 1, heads, headDim, queries, keys };
      return ourProgram(gpu, given, y, (rec) => attention(rec, { q: q!, k: k!, v: v!, y }, options));
    }
    case "scan": {
      const y = makeTensor("y", x!.shape);
      const { tokens, heads, headDim, state } = work;
      const grid = { batch: 1, height: 1, width: tokens, order: "mamba_w", directions: 1 } as const;
      return ourProgram(gpu, given, y, (rec) => {
        const product = ssdProduct(rec, { b: b!, c: c! });
        const scan = { x: x!, b: b!, c: c!, product, dt: dt!, dtBias: dtBias!, aLog: aLog!, skip: skip!, y };
        ssd(rec, scan, { grid, heads, headDim, state });
      });
    }
    case "conv2d": {
      const { size, channels, outputs } = work;
      const y = makeTensor("y", [size, size, outputs]);
      const image = viewTensor(x!, "x", [size, size, channels]);
      const options = { side: 3, height: size, from: 0, to: size, bias: bias! } as const;
      return ourProgram(gpu, given, y, (rec) =>
        conv2d(rec, { tensor: image, first: 0 }, w!, { tensor: y, first: 0 }, options),
      );
    }
  }
}

/** What each work needs of a model; a session, which decodes, is made of both. */
const COMPONENTS: Record<ModelWork["kind"], readonly ComponentName[]> = {
  step: ["transformer"],
  text: ["text_encoder"],
  image: ["transformer", "vae"],
};

const models = new Map<string, Promise<Model>>();

function ourModel({ kind, model: url }: ModelWork): Promise<Model> {
  const key = `${kind} ${url}`;
  let model = models.get(key);
  if (!model) {
    model = loadModel(url, { components: COMPONENTS[kind], textEncoder: "resident", store: false });
    models.set(key, model);
  }
  return model;
}

/** The whole of a sampler step, as a picture is made: the result that is compared is eps of the same forward pass. */
async function ourStep(work: Extract<Work, { kind: "step" }>, data: Inputs): Promise<Contender> {
  const model = await ourModel(work);
  const { gpu, denoiser } = model;
  const { pixels, textTokens } = work;
  const shape = { height: pixels, width: pixels, halves: 2, guidanceMode: "batch", textTokens } as const;
  const session = new Session({ denoiser: denoiser!, image: undefined }, gpu.profile, shape);
  await session.prepare(gpu);
  const half = data.embeds!.data.length / 2;
  await session.setText([data.embeds!.data.subarray(0, half), data.embeds!.data.subarray(half)], undefined);
  const named = ({ shape: dims, data: values }: Inputs[string]) => ({
    dtype: "F32" as const,
    shape: dims,
    data: values,
  });
  const ones = { shape: [2, textTokens], data: new Float32Array(2 * textTokens).fill(1) };
  const { eps } = await traceDenoiser(model, {
    latent: named(data.latent!),
    embeds: named(data.embeds!),
    mask: named(ones),
    t: [TIMESTEP, TIMESTEP],
  });
  let latents: Float32Array | undefined;
  return {
    async run() {
      session.start(data.latents!.data);
      await session.step(STEP, data.time!.data, 3);
    },
    async read() {
      latents ??= session.latents.slice();
      if (relativeError(session.latents, latents) > 0)
        throw new Error("scanvas: two steps from the same latents differ");
      return eps.data as Float32Array;
    },
    dispose: () => session.dispose(),
  };
}

/** As a prompt is encoded: recorded and bound anew for its length, and read back. */
async function ourText(work: Extract<Work, { kind: "text" }>, data: Inputs): Promise<Contender> {
  const { gpu, text } = await ourModel(work);
  const encoder = residentText(gpu, text!.config, text!.weights);
  const ids = Int32Array.from(data.ids!.data);
  let embeds: Float32Array;
  return {
    run: async () => void (embeds = await encoder.encode(ids, undefined)),
    read: () => Promise.resolve(embeds),
    dispose: () => encoder.dispose(),
  };
}

/** As a picture is made: checked for NaN stage by stage, and read back. */
async function ourImage(work: Extract<Work, { kind: "image" }>, data: Inputs): Promise<Contender> {
  const { gpu, denoiser, image } = await ourModel(work);
  const { pixels } = work;
  const shape = { height: pixels, width: pixels, halves: 1, guidanceMode: "batch", textTokens: 1 } as const;
  const session = new Session({ denoiser: denoiser!, image }, gpu.profile, shape);
  await session.prepare(gpu);
  session.start(data.latents!.data);
  let picture: Float32Array;
  return {
    run: async () => void (picture = await session.decode()),
    read: () => Promise.resolve(picture),
    dispose: () => session.dispose(),
  };
}

// --- onnxruntime-web

const ortDevices = new Map<boolean, Promise<GPUDevice>>();

/** With every feature and limit that its kernels could use, `subgroups` if asked for. */
async function makeOrtDevice(subgroups: boolean): Promise<GPUDevice> {
  const adapter = (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }))!;
  const wanted = ["shader-f16", ...(subgroups ? (["subgroups"] as const) : [])] as const;
  const limits: Record<string, number> = {};
  for (const name of [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxStorageBuffersPerShaderStage",
  ] as const)
    limits[name] = adapter.limits[name];
  return adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: limits,
  });
}

async function openOrt(
  url: string,
  subgroups: boolean,
): Promise<{ session: Ort.InferenceSession; ort: typeof Ort; gpu: GPUDevice }> {
  const ort = await importRuntime(undefined);
  if (!ortDevices.has(subgroups)) ortDevices.set(subgroups, makeOrtDevice(subgroups));
  const gpu = await ortDevices.get(subgroups)!;
  const model = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [{ name: "webgpu", device: gpu } as never],
    preferredOutputLocation: "gpu-buffer",
    graphOptimizationLevel: "all",
    logSeverityLevel: 3,
  });
  return { session, ort, gpu };
}

async function ortContender(
  work: Work,
  { url, conditions, plainDevice = false }: Entry,
  data: Inputs,
): Promise<Contender> {
  const { session, ort, gpu } = await openOrt(url!, !plainDevice);
  const buffers: GPUBuffer[] = [];
  const upload = (name: string): Ort.Tensor => {
    const { shape, data: values } = data[name]!;
    const integers = name === "ids";
    const buffer = gpu.createBuffer({ size: Math.max(16, values.byteLength), usage: 0x80 | 0x8 | 0x4 });
    gpu.queue.writeBuffer(buffer, 0, integers ? Int32Array.from(values) : values);
    buffers.push(buffer);
    return ort.Tensor.fromGpuBuffer(buffer, { dataType: integers ? "int32" : "float32", dims: shape });
  };
  const feeds: Record<string, Ort.Tensor> = {};
  let text: Ort.InferenceSession | undefined;
  if (work.kind === "step") {
    text = (await openOrt(conditions!, !plainDevice)).session;
    Object.assign(feeds, await text.run({ embeds: upload("embeds") }), {
      latent: upload("latent"),
      time: upload("time"),
    });
  } else for (const name of session.inputNames) feeds[name] = upload(name);
  let y: Ort.Tensor | undefined;
  return {
    async run() {
      y?.dispose();
      const outputs = await session.run(feeds);
      y = outputs[session.outputNames[0]!];
      await gpu.queue.onSubmittedWorkDone();
    },
    async read() {
      const values = (await y!.getData()) as Float32Array;
      if (work.kind !== "conv2d") return Float32Array.from(values);
      const { size, outputs: channels } = work; // its planes as our rows
      return Float32Array.from(
        { length: values.length },
        (_, i) => values[(i % channels) * size * size + Math.floor(i / channels)]!,
      );
    },
    async dispose() {
      y?.dispose();
      await session.release();
      await text?.release();
      buffers.forEach((buffer) => buffer.destroy());
    },
  };
}

export const peers = { race };
