import type { Recording } from "../gpu/recording.ts";
import { makeTensor, viewTensor, type Tensor } from "../gpu/tensor.ts";
import { addPosition, modulation, patchify, silu, unpatchify } from "../kernels/elementwise.ts";
import { gemm } from "../kernels/gemm.ts";
import { layerNorm } from "../kernels/layer_norm.ts";
import { planDenoiser, rowsOf } from "./bands.ts";
import { recordBlock } from "./block.ts";
import type { DenoiserConfig } from "./config.ts";
import { TIMESTEP_CHANNELS } from "./embeddings.ts";
import type { Weights } from "./weights.ts";

/** What the denoiser needs of the prompt and the size: made once a picture, read in every step. B: batch, L: text tokens. */
export interface Conditions {
  /** Keys and values of the cross-attention of each block, [B, L, D]. */
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];
  /** 1 for real tokens, 0 for padding, [B, L]. */
  readonly mask: Tensor;
  /** Embedding of size and aspect ratio, [B, D]; only with `use_additional_conditions` (PixArt-alpha at 1024). */
  readonly size: Tensor | undefined;
}

export function makeConditions(config: DenoiserConfig, batch: number, textTokens: number): Conditions {
  const perBlock = (name: string): Tensor[] =>
    config.tokenMixers.map((_, i) => makeTensor(`block${i}.text_${name}`, [batch, textTokens, config.width]));
  return {
    keys: perBlock("keys"),
    values: perBlock("values"),
    mask: makeTensor("text_mask", [batch, textTokens]),
    size: config.additionalConditions ? makeTensor("size_embedding", [batch, config.width]) : undefined,
  };
}

export const conditionTensors = (c: Conditions): Tensor[] => [
  ...c.keys,
  ...c.values,
  c.mask,
  ...(c.size ? [c.size] : []),
];

/**
 * Caption projection, then keys and values of every block. embeds: [B, L, caption]. sizes: [3, 256], the sinusoidal embeddings of height,
 * width and aspect ratio, when the model takes them (diffusers: PixArtAlphaCombinedTimestepSizeEmbeddings).
 */
export function recordConditions(
  rec: Recording,
  config: DenoiserConfig,
  weights: Weights,
  embeds: Tensor,
  sizes: Tensor | undefined,
  conditions: Conditions,
): void {
  const [batch, tokens] = embeds.shape as [number, number];
  const { width, captionChannels } = config;
  const hidden = rec.temp("caption_hidden", [batch, tokens, width]);
  const text = rec.temp("caption", [batch, tokens, width]);
  gemm(rec, embeds, weights.get("caption_projection.linear_1.weight", [width, captionChannels]), hidden, {
    bias: weights.get("caption_projection.linear_1.bias"),
    activation: "gelu_tanh",
  });
  gemm(rec, hidden, weights.get("caption_projection.linear_2.weight", [width, width]), text, {
    bias: weights.get("caption_projection.linear_2.bias"),
  });
  config.tokenMixers.forEach((_, i) => {
    const prefix = `transformer_blocks.${i}.attn2.to_kv`;
    gemm(rec, text, weights.get(`${prefix}.weight`, [2 * width, width]), [conditions.keys[i]!, conditions.values[i]!], {
      bias: weights.optional(`${prefix}.bias`),
    });
  });
  if (conditions.size && sizes) recordSize(rec, config, weights, sizes, conditions.size);
}

/** [height, width, aspect] embeddings -> [B, D]: two embedders of width D / 3, concatenated. */
function recordSize(rec: Recording, config: DenoiserConfig, weights: Weights, sizes: Tensor, size: Tensor): void {
  const third = config.width / 3;
  const embed = (name: string): Tensor => {
    const hidden = rec.temp(`${name}_hidden`, [3, third]);
    const out = rec.temp(name, [3, third]);
    const linear = (n: number): string => `adaln_single.emb.${name}.linear_${n}`;
    gemm(rec, sizes, weights.get(`${linear(1)}.weight`, [third, TIMESTEP_CHANNELS]), hidden, {
      bias: weights.get(`${linear(1)}.bias`),
      activation: "silu",
    });
    gemm(rec, hidden, weights.get(`${linear(2)}.weight`, [third, third]), out, {
      bias: weights.get(`${linear(2)}.bias`),
    });
    return out;
  };
  const resolution = embed("resolution_embedder");
  const aspect = embed("aspect_ratio_embedder");
  for (let b = 0; b < size.shape[0]!; b++) {
    rec.copy(resolution, size, { count: 2 * third, to: b * config.width });
    rec.copy(aspect, size, { count: third, from: 2 * third, to: b * config.width + 2 * third });
  }
}

export interface DenoiserInputs {
  readonly latents: Tensor; // [1 or B, C, h, w]
  readonly step: Tensor; // step[0]: the factor on the latents
  readonly timestep: Tensor; // [B, 256], embeddings/timestepEmbedding
  readonly columnTable: Tensor; // [w / patch, D / 2]
  readonly rowTable: Tensor; // [h / patch, D / 2]
  readonly conditions: Conditions;
}

/**
 * One forward pass: eps (or v) [B, C, h, w]. `onBlock` sees the residual stream [B, T, D] after each block (finite checks, traces). `only`: the blocks
 * that run, for measuring and parity work; default all.
 * The figure to have in mind is PixArt-alpha's (arXiv 2310.00426), with the self-attention of most blocks replaced by a scan.
 */
export function recordDenoiser(
  rec: Recording,
  config: DenoiserConfig,
  weights: Weights,
  inputs: DenoiserInputs,
  output: Tensor,
  onBlock?: (block: number, hidden: Tensor) => void,
  only?: readonly number[],
): void {
  const { width, patchSize } = config;
  const [batch, , latentHeight, latentWidth] = output.shape as [number, number, number, number];
  const grid = { batch, height: latentHeight / patchSize, width: latentWidth / patchSize };
  const tokens = grid.height * grid.width;
  const plan = planDenoiser(config, grid, rec.profile);

  const patchWeight = weights.get("pos_embed.proj.weight");
  const patches = rec.temp("patches", [batch, tokens, patchWeight.shape[1]!]);
  patchify(rec, inputs.latents, inputs.step, patches, patchSize);
  let x = rec.temp("x", [batch, tokens, width]);
  for (const band of plan.residual) {
    const rows = rowsOf(x, band);
    gemm(rec, rowsOf(patches, band), patchWeight, rows, { bias: weights.get("pos_embed.proj.bias", [width]) });
    addPosition(rec, rows, inputs.columnTable, inputs.rowTable, band.first);
  }

  const { modulations, finalModulation } = rec.scope("adaln", () =>
    recordModulation(rec, config, weights, inputs, batch),
  );

  config.tokenMixers.forEach((mixer, i) => {
    if (only && !only.includes(i)) return;
    const { keys, values, mask } = inputs.conditions;
    const block = {
      mixer,
      weights: weights.under(`transformer_blocks.${i}`),
      modulations,
      offset: i * grid.batch * 6 * width,
      text: { keys: keys[i]!, values: values[i]!, mask },
    };
    rec.scope(`block${i}`, () => {
      x = recordBlock(rec, config, block, grid, plan, x);
      onBlock?.(i, x);
    });
  });

  const outDepth = patchSize ** 2 * config.outChannels;
  const patchesOut = rec.temp("patches_out", [batch, tokens, outDepth]);
  for (const band of plan.residual) {
    const stride = 2 * width;
    const shiftOffset = band.element * stride;
    const normed = rec.activation("normed_final", [band.rows, width]);
    layerNorm(rec, rowsOf(x, band), normed, {
      eps: 1e-6, // diffusers' norm_out is 1e-6 whatever norm_eps says
      modulation: {
        tensor: finalModulation,
        shiftOffset,
        scaleOffset: shiftOffset + width,
        stride,
        rowsPerBatch: tokens,
      },
    });
    gemm(rec, normed, weights.get("proj_out.weight", [outDepth, width]), rowsOf(patchesOut, band), {
      bias: weights.get("proj_out.bias"),
    });
  }
  unpatchify(rec, patchesOut, output, patchSize);
}

/** Timestep (and size) -> the six vectors of every block [blocks, B, 6 D] and the two of the final layer [1, B, 2 D]. */
function recordModulation(
  rec: Recording,
  config: DenoiserConfig,
  weights: Weights,
  inputs: DenoiserInputs,
  batch: number,
): { modulations: Tensor; finalModulation: Tensor } {
  const { width, blocks } = config;
  const linear = (n: number): string => `adaln_single.emb.timestep_embedder.linear_${n}`;
  const hidden = rec.temp("timestep_hidden", [batch, width]);
  const embedded = rec.temp("timestep_embedded", [batch, width]);
  gemm(rec, inputs.timestep, weights.get(`${linear(1)}.weight`, [width, TIMESTEP_CHANNELS]), hidden, {
    bias: weights.get(`${linear(1)}.bias`),
    activation: "silu",
  });
  gemm(rec, hidden, weights.get(`${linear(2)}.weight`, [width, width]), embedded, {
    bias: weights.get(`${linear(2)}.bias`),
    residual: inputs.conditions.size,
  });
  const activated = rec.temp("timestep_activated", [batch, width]);
  silu(rec, embedded, activated);
  const t0 = rec.temp("t0", [batch, 6 * width]);
  gemm(rec, activated, weights.get("adaln_single.linear.weight", [6 * width, width]), t0, {
    bias: weights.get("adaln_single.linear.bias"),
  });
  const modulations = rec.temp("modulations", [blocks, batch, 6 * width]);
  modulation(rec, flat(weights.get("scale_shift_tables", [blocks, 6, width]), [blocks, 6 * width]), t0, modulations);
  const finalModulation = rec.temp("modulation_final", [1, batch, 2 * width]);
  modulation(rec, flat(weights.get("scale_shift_table", [2, width]), [1, 2 * width]), embedded, finalModulation);
  return { modulations, finalModulation };
}

const flat = (tensor: Tensor, shape: readonly number[]): Tensor => viewTensor(tensor, tensor.label, shape);
