/** What the races are about, and their inputs: made alike by the page and by the suite that exports models. */
import { randomArray } from "../../../src/kernels/case.ts";
import type { DenoiserConfig } from "../../../src/model/config.ts";
import { timestepEmbedding } from "../../../src/model/embeddings.ts";
import type { ImageConfig } from "../../../src/model/image_config.ts";
import type { TextConfig } from "../../../src/model/text_config.ts";

/** The work of a race; all f32. Sizes follow the kernels' names for them. */
export type Work =
  /** x [rows, depth] w^T, w [columns, depth]. */
  | { kind: "gemm"; rows: number; columns: number; depth: number }
  | { kind: "attention"; queries: number; keys: number; heads: number; headDim: number }
  /** One direction: x [T, M P], B and C [T, N], dt and A by head. */
  | { kind: "scan"; tokens: number; heads: number; headDim: number; state: number }
  | { kind: "conv2d"; size: number; channels: number; outputs: number }
  /** A sampler step of a model, both halves of guidance in one batch. `rows` and `columns` of tokens. */
  | { kind: "step"; model: string; pixels: number; textTokens: number }
  /** A prompt of so many tokens through the text encoder of a model. */
  | { kind: "text"; model: string; tokens: number }
  /** Latents to a picture through the decoder of a model. */
  | { kind: "image"; model: string; pixels: number };

/** Work of a whole network, whose weights come from `model`, the address of a converted directory. */
export type ModelWork = Extract<Work, { model: string }>;
export type KernelWork = Exclude<Work, ModelWork>;

/** Inputs by name, shaped as ours; each contender lays them out as its operators want them. */
export type Inputs = Record<string, { shape: number[]; data: Float32Array<ArrayBuffer> }>;

const random = (shape: number[], seed: number, scale = 1): Inputs[string] => ({
  shape,
  data: randomArray(
    shape.reduce((n, d) => n * d, 1),
    seed,
    scale,
  ),
});

export function kernelInputs(work: KernelWork): Inputs {
  switch (work.kind) {
    case "gemm": {
      const { rows, columns, depth } = work;
      return { x: random([rows, depth], 1), w: random([columns, depth], 2, 1 / Math.sqrt(depth)) };
    }
    case "attention": {
      const { queries, keys, heads, headDim } = work;
      const width = heads * headDim;
      return { q: random([1, queries, width], 1), k: random([1, keys, width], 2), v: random([1, keys, width], 3) };
    }
    case "scan": {
      const { tokens, heads, headDim, state } = work;
      return {
        x: random([1, tokens, heads * headDim], 1),
        b: random([1, tokens, state], 2, 1 / Math.sqrt(state)),
        c: random([1, tokens, state], 3),
        dt: random([1, tokens, heads], 4, 0.3),
        dtBias: { shape: [heads], data: randomArray(heads, 6, 1, -3) },
        aLog: { shape: [heads], data: Float32Array.from({ length: heads }, (_, i) => Math.log(1 + i)) },
        skip: random([heads], 7),
      };
    }
    case "conv2d": {
      const { size, channels, outputs } = work;
      const planes = random([1, channels, size, size], 1);
      const pixels = size * size;
      const rows = Float32Array.from(
        { length: pixels * channels },
        (_, i) => planes.data[(i % channels) * pixels + Math.floor(i / channels)]!,
      );
      return {
        x: { shape: [pixels, channels], data: rows },
        planes, // the same, channels first
        w: random([outputs, 9 * channels], 2, 1 / Math.sqrt(9 * channels)), // [output, row, column, channel]
        bias: random([outputs], 3),
      };
    }
  }
}

export const TIMESTEP = 500;

/** A DDIM-like step: what it mixes does not matter for time. */
export const STEP = {
  timestep: TIMESTEP,
  inputScale: 1,
  x0FromSample: 1,
  x0FromOutput: -0.5,
  x0Limit: 1e9,
  fromSample: 0.5,
  fromOutput: 0.1,
  fromX0: 0.4,
  fromPreviousX0: 0,
};

/** `texts`: an embedding for each half, of the text encoder: noise in its place is so far from text that the network
 * turns f32's rounding into errors of 1e-3. */
export function stepInputs(
  work: Extract<Work, { kind: "step" }>,
  config: DenoiserConfig,
  texts: readonly [Float32Array, Float32Array],
): Inputs {
  const size = work.pixels / 8;
  const latents = random([1, config.inChannels, size, size], 1);
  return {
    latents,
    latent: { shape: [2, config.inChannels, size, size], data: Float32Array.from([...latents.data, ...latents.data]) },
    embeds: {
      shape: [2, work.textTokens, config.captionChannels],
      data: Float32Array.from([...texts[0], ...texts[1]]),
    },
    time: { shape: [2, 256], data: timestepEmbedding([TIMESTEP, TIMESTEP]) },
  };
}

/** Ids of any words: as all inputs in f32, which holds them exactly. */
export function textInputs({ tokens }: Extract<Work, { kind: "text" }>, { vocabulary }: TextConfig): Inputs {
  return {
    ids: { shape: [1, tokens], data: Float32Array.from({ length: tokens }, (_, i) => (37 * i + 5) % vocabulary) },
  };
}

export function imageInputs({ pixels }: Extract<Work, { kind: "image" }>, { latentChannels }: ImageConfig): Inputs {
  return { latents: random([1, latentChannels, pixels / 8, pixels / 8], 1) };
}
