import type { SamplerName } from "../sampler/step.ts";
import type { ComponentDtype, ComponentName } from "../weights/manifest.ts";

/** The boundary between page and worker: types only, all of them plain data that structured clone carries. */

/** Names and meanings are those of diffusers' pipelines, in camelCase. */
export interface GenerateRequest {
  /** Any text; cut to the model's text length as diffusers does (the result says so). */
  prompt: string;
  /** Used when guidanceScale > 1. Default "". */
  negativePrompt?: string;
  /** Pixels, a multiple of 16. Default: the size the model was trained at. */
  height?: number;
  width?: number;
  /** Default: the model's own, else 20. */
  numInferenceSteps?: number;
  /** Guidance is used above 1. Default: the model's own, else 4.5. */
  guidanceScale?: number;
  /** 0 .. 2^53 - 1; the noise is torch.randn's on the CPU generator with this seed. Default: random, and reported. */
  seed?: number;
  /** Default: the one of the model's scheduler config. */
  sampler?: SamplerName;
  /** Picture i uses seed + i. Default 1. */
  numImages?: number;
  /**
   * Both halves of guidance in one batch (faster), or one after the other (half the memory). Default "auto": in one batch where the device
   * can bind tensors of that size, else in passes.
   */
  guidanceMode?: "auto" | "batch" | "passes";
  /** After each step, report what the picture will roughly look like: `Progress.preview`. */
  preview?: boolean;
  /** Keep every intermediate tensor in `result.trace`. */
  trace?: boolean;
}

export interface Progress {
  /** "wait": another tab has the GPU. */
  stage: "wait" | "download" | "compile" | "encode" | "denoise" | "decode";
  /** `step` of `total`: bytes while downloading, pipelines, prompts, sampler steps or pictures else. */
  step: number;
  total: number;
  /** Bytes downloaded so far; GPU bytes in use in the other stages. */
  bytes: number;
  /** At the end of a denoising step when it was asked for: 1 pixel for 8 x 8 of the picture. */
  preview?: RawImage;
}

/** One picture. `data` is RGBA, 8 bits each, row by row; the client turns it into a Blob, an ImageData or a canvas. */
export interface RawImage {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** Milliseconds of wall time by stage, summed over the pictures. */
export interface Timings {
  encode: number;
  prepare: number;
  denoise: number;
  decode: number;
  total: number;
}

export interface NamedTensor {
  dtype: "F32" | "I64";
  shape: number[];
  data: Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>;
}

export interface GenerateResult {
  images: RawImage[];
  /** Seed of the first picture. */
  seed: number;
  /** The prompt, or the negative one, was longer than the model reads and was cut. */
  truncated: { prompt: boolean; negativePrompt: boolean };
  timings: Timings;
  /** Most GPU bytes that were allocated at once, weights included. */
  peakBytes: number;
  trace?: Record<string, NamedTensor>;
}

export interface LoadRequest {
  /** Folder of a converted model: it holds manifest.json. */
  url: string;
  /** f16 arithmetic where the device has `shader-f16`. Default "f32". */
  arithmetic?: "f32" | "f16";
  limits?: "adapter" | "default";
  /** SHA-256 of the model's manifest.json, `sha256-<base64>` or hex: any other model is refused. */
  integrity?: string;
  /**
   * How the text encoder's weights are held: all of them on the GPU, or two blocks at a time, read from storage for every new prompt. Default
   * "auto": resident where the plan says that everything fits `memoryBytes`. Or an ONNX export of the encoder, for onnxruntime-web to run.
   */
  textEncoder?: "auto" | "resident" | "streamed" | OnnxTextEncoder;
  /** GPU memory to stay within, bytes. Default 4 GiB, since WebGPU does not tell. */
  memoryBytes?: number;
  /** "low": with as little GPU memory as can be, at the cost of some time; after a crash, or where the device is lost again and again. */
  tier?: "normal" | "low";
  /** Losses of the GPU device within a minute that are made good by loading the model again. Default 2. */
  recoveries?: number;
  /** A file of `scanvas embed`: the text encoder is then not downloaded, and only the prompts in it can be used. */
  promptPack?: string;
  /** Parts of the model to load. Default: all that it has. */
  components?: readonly ComponentName[];
}

/** A text encoder as ONNX: input_ids [1, n] -> last_hidden_state [1, n, caption]. The package onnxruntime-web has to be installed. */
export interface OnnxTextEncoder {
  /** Address of the model file. */
  onnx: string;
  /** In hex: the file is then verified, and its download resumed. */
  sha256?: string;
  /** File of the weights, for a model that keeps them apart. */
  externalData?: string;
  externalDataSha256?: string;
  /** Folder with onnxruntime-web's wasm files, ending in a slash. Default: where the bundler put them. */
  wasmPaths?: string;
  /** Default: WebGPU where there is a GPU. */
  provider?: "webgpu" | "wasm";
}

/** What the page can know of a loaded model. */
export interface ModelInfo {
  className: string;
  licence: string;
  /** The size it was trained at, pixels; 0 without a transformer. */
  height: number;
  width: number;
  textTokens: number;
  /** How prompts are encoded; undefined when the model cannot. */
  textEncoder: "resident" | "streamed" | "onnx" | "pack" | undefined;
  adapter: { vendor: string; architecture: string; description: string; isSoftware: boolean };
  weightBytes: number;
  /** As it was loaded; "low" after a crash, unless the caller said otherwise. */
  tier: "normal" | "low";
  /** Why it is low, when nobody asked for it. */
  tierReason?: string;
}

/** One kernel case of `selfCheck`. */
export interface CheckResult {
  kernel: string;
  name: string;
  /** Relative to the size of the right answer, as `tolerance`. */
  error: number;
  tolerance: number;
  passed: boolean;
  /** Where it went wrong. */
  reason?: string;
}

/** What `plan` is asked. Everything has the default that `load` and `generate` would use. */
export interface PlanRequest {
  /** Pixels. */
  height?: number;
  width?: number;
  /** Pictures are made one after the other: any number needs the memory of one. */
  numImages?: number;
  guidanceScale?: number;
  guidanceMode?: "auto" | "batch" | "passes";
  /** As if the model had been converted to this. */
  dtype?: ComponentDtype;
  /** "f16" where the device has `shader-f16`: activations then take half the memory. Default "f32". */
  arithmetic?: "f32" | "f16";
  /** WebGPU limits of the device; the specification's defaults for those not given. */
  limits?: { maxStorageBufferBindingSize?: number; maxBufferSize?: number };
  memoryBytes?: number;
  /** "none": prompts come from a pack. */
  textEncoder?: "auto" | "resident" | "streamed" | "none";
  /** Tokens of the longest prompt. Default: the most the model reads. */
  textTokens?: number;
}

/** Bytes throughout. */
export interface Plan {
  /** To download, when nothing is there yet. */
  download: number;
  /** By component, as the GPU would hold them whole. */
  weights: Partial<Record<ComponentName, number>>;
  textEncoder: "resident" | "streamed" | "none";
  /** GPU memory while a prompt is encoded, and while a picture is made. */
  stages: { encode: number; generate: number };
  peak: number;
  /** What the peak was held against. */
  memory: number;
  verdict: "fits" | "fits streamed" | "does not fit";
  /** Why it does not fit, and what would. */
  advice?: string;
}

/** One forward pass of the denoiser on given inputs, for parity work; see `scanvas trace`. */
export interface TraceRequest {
  latent: NamedTensor; // [B, C, h, w]
  embeds: NamedTensor; // [B, L, caption]
  mask: NamedTensor; // [B, L]
  t: number[]; // [B]
  /** Blocks that run, in increasing order; the others are left out. Default: all. */
  blocks?: number[];
}

export interface TraceResult {
  eps: NamedTensor; // [B, C, h, w]
  hidden: NamedTensor; // [blocks that ran, B, T, D]
}
