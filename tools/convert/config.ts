/**
 * The parts of each component's config.json that decide which tensors exist and what shape they have, with diffusers' and
 * transformers' defaults for keys an older file lacks. Anything the engine has no code for is refused here by name.
 */
import { ScanvasError } from "../../src/errors.ts";
import type { JsonObject } from "../../src/weights/manifest.ts";

export type TokenMixer = "attention" | "mamba_h" | "mamba_w";

/** Letters as in the model contract: d model width D, inner E, heads M, state N, taps K. */
export interface DenoiserConfig {
  d: number;
  inner: number;
  mixers: TokenMixer[];
  patch: number;
  inChannels: number;
  outChannels: number;
  caption: number | null;
  cross: number;
  bias: boolean;
  additional: boolean;
  mamba: { inner: number; state: number; heads: number; taps: number; directions: 1 | 2; concat: boolean };
}

export interface TextConfig {
  d: number;
  ff: number;
  inner: number;
  heads: number;
  layers: number;
  vocab: number;
  buckets: number;
  gated: boolean;
}

export interface ImageConfig {
  latent: number;
  out: number;
  channels: number[];
  resnets: number;
  attention: boolean;
  postQuant: boolean;
}

/** @throws ModelConfigError for a class, mixer or option the engine has no code for */
export function denoiserConfig(config: JsonObject): DenoiserConfig {
  const name = "transformer config";
  const kind = config._class_name;
  expect(name, config, "_class_name", ["PixArtTransformer2DModel", "T2MDTransformer2DModel", "Transformer2DModel"]);
  expect(name, config, "norm_type", ["ada_norm_single"], "ada_norm_single");
  expect(name, config, "activation_fn", ["gelu-approximate"], "gelu-approximate");
  expect(name, config, "attention_type", ["default"], "default");
  expect(name, config, "norm_elementwise_affine", [false], false);
  const layers = size(name, config, "num_layers", 28);
  const d = size(name, config, "num_attention_heads", 16) * size(name, config, "attention_head_dim", 72);
  const t2md = kind === "T2MDTransformer2DModel";
  const mixers = t2md ? tokenMixers(config, layers) : Array<TokenMixer>(layers).fill("attention");
  const mambaInner = d * size(name, config, "mamba_expand", 2);
  const headDim = size(name, config, "mamba_head_dim", 64);
  if (mixers.some((mixer) => mixer !== "attention")) {
    expect(name, config, "mamba_n_groups", [1], 1);
    expect(name, config, "mamba_fusion", ["concat", "sum"], "concat");
    if (mambaInner % headDim) refuse(name, "mamba_head_dim", headDim, `a divisor of ${mambaInner}`);
  }
  const inChannels = size(name, config, "in_channels", 4);
  return {
    d,
    inner: d,
    mixers,
    patch: size(name, config, "patch_size", 2),
    inChannels,
    outChannels: config.out_channels === null ? inChannels : size(name, config, "out_channels", 8),
    caption:
      config.caption_channels === null || config.caption_channels === undefined
        ? null
        : size(name, config, "caption_channels", 4096),
    cross: size(name, config, "cross_attention_dim", 1152),
    bias: config.attention_bias !== false,
    additional: (config.use_additional_conditions ?? size(name, config, "sample_size", 128) === 128) === true,
    mamba: {
      inner: mambaInner,
      state: size(name, config, "mamba_d_state", 256),
      heads: mambaInner / headDim,
      taps: size(name, config, "mamba_d_conv", 4),
      directions: config.mamba_bidirectional === false ? 1 : 2,
      concat: (config.mamba_fusion ?? "concat") === "concat",
    },
  };
}

function tokenMixers(config: JsonObject, layers: number): TokenMixer[] {
  const mixers = config.token_mixers;
  if (!Array.isArray(mixers) || mixers.length !== layers) {
    refuse("transformer config", "token_mixers", mixers, `a list of ${layers} names`);
  }
  for (const mixer of mixers) {
    if (mixer !== "attention" && mixer !== "mamba_h" && mixer !== "mamba_w") {
      refuse("transformer config", "token_mixers", mixer, "attention, mamba_h or mamba_w");
    }
  }
  return mixers as TokenMixer[];
}

/** T5 v1.0 (ReLU) and v1.1 (gated GELU) encoders. @throws ModelConfigError for other activations or model types */
export function textConfig(config: JsonObject): TextConfig {
  const name = "text_encoder config";
  expect(name, config, "model_type", ["t5"], "t5");
  expect(name, config, "feed_forward_proj", ["gated-gelu", "relu"], "relu");
  const heads = size(name, config, "num_heads", 8);
  return {
    d: size(name, config, "d_model", 512),
    ff: size(name, config, "d_ff", 2048),
    inner: heads * size(name, config, "d_kv", 64),
    heads,
    layers: size(name, config, "num_layers", 6),
    vocab: size(name, config, "vocab_size", 32128),
    buckets: size(name, config, "relative_attention_num_buckets", 32),
    gated: config.feed_forward_proj === "gated-gelu",
  };
}

/** AutoencoderKL's decoder. @throws ModelConfigError for other classes, activations or kinds of block */
export function imageConfig(config: JsonObject): ImageConfig {
  const name = "vae config";
  expect(name, config, "_class_name", ["AutoencoderKL"]);
  expect(name, config, "act_fn", ["silu"], "silu");
  const channels = config.block_out_channels ?? [64];
  if (!Array.isArray(channels) || !channels.length || channels.length > 8 || !channels.every(isSize)) {
    refuse(name, "block_out_channels", channels, "a list of sizes");
  }
  const blocks = config.up_block_types ?? ["UpDecoderBlock2D"];
  if (!Array.isArray(blocks) || blocks.length !== channels.length || blocks.some((b) => b !== "UpDecoderBlock2D")) {
    refuse(name, "up_block_types", blocks, "UpDecoderBlock2D for each of block_out_channels");
  }
  return {
    latent: size(name, config, "latent_channels", 4),
    out: size(name, config, "out_channels", 3),
    channels: channels as number[],
    resnets: size(name, config, "layers_per_block", 1) + 1,
    attention: config.mid_block_add_attention !== false,
    postQuant: config.use_post_quant_conv !== false,
  };
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= 2 ** 20;
}

function size(name: string, config: JsonObject, key: string, missing: number): number {
  const value = config[key] === undefined ? missing : config[key];
  if (!isSize(value)) refuse(name, key, value, "a positive integer");
  return value;
}

function expect(name: string, config: JsonObject, key: string, allowed: unknown[], missing?: unknown): void {
  const value = config[key] === undefined || (config[key] === null && missing !== undefined) ? missing : config[key];
  if (!allowed.includes(value)) refuse(name, key, value, allowed.map((entry) => JSON.stringify(entry)).join(" or "));
}

function refuse(name: string, key: string, got: unknown, expected: string): never {
  const text = JSON.stringify(got) ?? "nothing";
  throw new ScanvasError("ModelConfigError", `${name}: ${key} is ${text}, expected ${expected}`);
}
