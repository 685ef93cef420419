import type { SamplerName } from "../sampler/step.ts";

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
  stage: "download" | "compile" | "encode" | "denoise" | "decode";
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
}

/** What the page can know of a loaded model. */
export interface ModelInfo {
  className: string;
  licence: string;
  /** The size it was trained at, pixels. */
  height: number;
  width: number;
  textTokens: number;
  adapter: { vendor: string; architecture: string; description: string; isSoftware: boolean };
  weightBytes: number;
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

/** One forward pass of the denoiser on given inputs, for parity work; see `scanvas trace`. */
export interface TraceRequest {
  latent: NamedTensor; // [B, C, h, w]
  embeds: NamedTensor; // [B, L, caption]
  mask: NamedTensor; // [B, L]
  t: number[]; // [B]
}

export interface TraceResult {
  eps: NamedTensor; // [B, C, h, w]
  hidden: NamedTensor; // [blocks, B, T, D]
}
