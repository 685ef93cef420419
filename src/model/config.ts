import { ScanvasError } from "../errors.ts";

export const TOKEN_MIXERS = ["attention", "mamba_h", "mamba_w"] as const;
export type TokenMixer = (typeof TOKEN_MIXERS)[number];

/** `transformer/config.json` of PixArtTransformer2DModel or T2MDTransformer2DModel, checked and with its defaults filled in. */
export interface DenoiserConfig {
  readonly width: number; // D
  readonly heads: number; // H
  readonly headDim: number;
  readonly blocks: number;
  readonly tokenMixers: readonly TokenMixer[];
  readonly inChannels: number;
  readonly outChannels: number; // twice inChannels with learned sigma
  readonly patchSize: number;
  readonly captionChannels: number;
  readonly normEps: number;
  readonly attentionBias: boolean;
  readonly additionalConditions: boolean;
  readonly sampleSize: number;
  readonly position:
    | { readonly type: "sincos"; readonly baseSize: number; readonly interpolationScale: number }
    | { readonly type: "centered_sincos"; readonly baseSize: number };
  readonly mamba: MambaConfig;
}

/** Sizes of a Mamba mixer, letters as in contract.md. */
export interface MambaConfig {
  readonly width: number; // D
  readonly inner: number; // E
  readonly heads: number; // M
  readonly headDim: number; // P
  readonly state: number; // N
  readonly taps: number; // K
  readonly bidirectional: boolean;
  readonly fusion: "concat" | "sum";
}

type Json = Readonly<Record<string, unknown>>;

const refuse = (message: string): never => {
  throw new ScanvasError("ModelConfigError", `transformer/config.json: ${message}`);
};

function count(config: Json, key: string, fallback?: number): number {
  const value = config[key] ?? fallback;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1 || value > 1 << 24) {
    return refuse(`${key} is ${JSON.stringify(value)}, expected a positive integer`);
  }
  return value;
}

function oneOf<T>(config: Json, key: string, allowed: readonly T[], fallback: T): T {
  const value = (config[key] ?? fallback) as T;
  return allowed.includes(value)
    ? value
    : refuse(`${key} is ${JSON.stringify(value)}; supported: ${allowed.map((v) => JSON.stringify(v)).join(", ")}`);
}

/** ModelConfigError for anything this engine cannot compute; nothing is guessed. */
export function parseDenoiserConfig(config: Json): DenoiserConfig {
  const className = oneOf(config, "_class_name", ["PixArtTransformer2DModel", "T2MDTransformer2DModel"], "");
  const heads = count(config, "num_attention_heads", 16);
  const headDim = count(config, "attention_head_dim", 72);
  const width = heads * headDim;
  const blocks = count(config, "num_layers", 28);
  const sampleSize = count(config, "sample_size", 128);
  const patchSize = count(config, "patch_size", 2);
  if (headDim > 128) refuse(`attention_head_dim is ${headDim}; at most 128 is supported`);
  if (width % 4 !== 0) refuse(`the width ${heads} x ${headDim} is not a multiple of 4`);
  if (count(config, "cross_attention_dim", width) !== width)
    refuse(`cross_attention_dim must equal the width ${width}`);
  oneOf(config, "activation_fn", ["gelu-approximate"], "gelu-approximate");
  oneOf(config, "norm_type", ["ada_norm_single"], "ada_norm_single");
  oneOf(config, "norm_elementwise_affine", [false], false);
  oneOf(config, "attention_type", ["default"], "default");

  const isT2MD = className === "T2MDTransformer2DModel";
  const mixers = isT2MD ? config.token_mixers : Array<TokenMixer>(blocks).fill("attention");
  if (!Array.isArray(mixers) || mixers.length !== blocks) {
    return refuse(`token_mixers must list one mixer for each of the ${blocks} blocks`);
  }
  for (const mixer of mixers as unknown[]) {
    if (!TOKEN_MIXERS.includes(mixer as TokenMixer)) {
      refuse(`token_mixers holds ${JSON.stringify(mixer)}; supported: ${TOKEN_MIXERS.join(", ")}`);
    }
  }
  const hasMamba = mixers.some((mixer) => mixer !== "attention");
  const inner = width * count(config, "mamba_expand", 2);
  const mambaHeadDim = count(config, "mamba_head_dim", 64);
  if (hasMamba) {
    if (inner % mambaHeadDim !== 0) refuse(`mamba_head_dim ${mambaHeadDim} does not divide the inner width ${inner}`);
    oneOf(config, "mamba_n_groups", [1], 1);
  }
  const positionType = isT2MD ? oneOf(config, "pos_embed_type", ["sincos", "centered_sincos"], "sincos") : "sincos";
  const scale = config.interpolation_scale ?? Math.max(Math.floor(sampleSize / 64), 1);
  if (typeof scale !== "number" || !(scale > 0)) refuse(`interpolation_scale is ${JSON.stringify(scale)}`);
  return {
    width,
    heads,
    headDim,
    blocks,
    tokenMixers: mixers as TokenMixer[],
    inChannels: count(config, "in_channels", 4),
    outChannels: count(config, "out_channels", 8),
    patchSize,
    captionChannels: count(config, "caption_channels"),
    normEps: typeof config.norm_eps === "number" ? config.norm_eps : 1e-6,
    attentionBias: oneOf(config, "attention_bias", [true, false], true),
    additionalConditions: (config.use_additional_conditions as boolean | null | undefined) ?? sampleSize === 128,
    sampleSize,
    position:
      positionType === "sincos"
        ? { type: "sincos", baseSize: Math.floor(sampleSize / patchSize), interpolationScale: scale as number }
        : { type: "centered_sincos", baseSize: count(config, "pos_embed_base_size", 32) },
    mamba: {
      width,
      inner,
      heads: hasMamba ? inner / mambaHeadDim : 1,
      headDim: mambaHeadDim,
      state: count(config, "mamba_d_state", 256),
      taps: count(config, "mamba_d_conv", 4),
      bidirectional: oneOf(config, "mamba_bidirectional", [true, false], true),
      fusion: oneOf(config, "mamba_fusion", ["concat", "sum"] as const, "concat"),
    },
  };
}
