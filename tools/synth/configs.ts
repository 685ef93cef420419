/** Full-size models as `scanvas synth` knows them: what their libraries write into config.json. */
import { ScanvasError } from "../../src/errors.ts";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";

const MIXERS = ["attention", "mamba_h", "mamba_w", "mamba_h", "mamba_w", "mamba_h", "mamba_w"];

const transformer: JsonObject = {
  activation_fn: "gelu-approximate",
  attention_bias: true,
  attention_head_dim: 72,
  attention_type: "default",
  caption_channels: 4096,
  cross_attention_dim: 1152,
  dropout: 0,
  in_channels: 4,
  interpolation_scale: null,
  norm_elementwise_affine: false,
  norm_eps: 1e-6,
  norm_type: "ada_norm_single",
  num_attention_heads: 16,
  num_embeds_ada_norm: 1000,
  num_layers: 28,
  out_channels: 8,
  patch_size: 2,
  sample_size: 64,
  use_additional_conditions: null,
};

const t2md: JsonObject = {
  ...transformer,
  _class_name: "T2MDTransformer2DModel",
  token_mixers: Array.from({ length: 28 }, (_, i) => MIXERS[i % MIXERS.length]),
  mamba_d_state: 256,
  mamba_expand: 2,
  mamba_head_dim: 64,
  mamba_n_groups: 1,
  mamba_d_conv: 4,
  mamba_bidirectional: true,
  mamba_fusion: "concat",
  pos_embed_type: "centered_sincos",
  pos_embed_base_size: 32,
};

const t5xxl: JsonObject = {
  architectures: ["T5EncoderModel"],
  d_ff: 10240,
  d_kv: 64,
  d_model: 4096,
  dense_act_fn: "gelu_new",
  eos_token_id: 1,
  feed_forward_proj: "gated-gelu",
  is_encoder_decoder: false,
  is_gated_act: true,
  layer_norm_epsilon: 1e-6,
  model_type: "t5",
  num_heads: 64,
  num_layers: 24,
  pad_token_id: 0,
  relative_attention_max_distance: 128,
  relative_attention_num_buckets: 32,
  tie_word_embeddings: false,
  vocab_size: 32128,
};

const sdxlVae: JsonObject = {
  _class_name: "AutoencoderKL",
  act_fn: "silu",
  block_out_channels: [128, 256, 512, 512],
  down_block_types: Array<string>(4).fill("DownEncoderBlock2D"),
  force_upcast: true,
  in_channels: 3,
  latent_channels: 4,
  layers_per_block: 2,
  norm_num_groups: 32,
  out_channels: 3,
  sample_size: 1024,
  scaling_factor: 0.13025,
  up_block_types: Array<string>(4).fill("UpDecoderBlock2D"),
};

export const scheduler: JsonObject = {
  _class_name: "DPMSolverMultistepScheduler",
  algorithm_type: "dpmsolver++",
  beta_end: 0.02,
  beta_schedule: "scaled_linear",
  beta_start: 0.00085,
  num_train_timesteps: 1000,
  prediction_type: "epsilon",
  solver_order: 2,
  solver_type: "midpoint",
  steps_offset: 0,
  thresholding: false,
  timestep_spacing: "linspace",
};

export type Components = Partial<Record<ComponentName, JsonObject>>;

const pixart: JsonObject = { ...transformer, _class_name: "PixArtTransformer2DModel" };

/** Components by the name that --config takes; several names make one model of their components. */
export const CONFIGS = {
  t2md: { transformer: t2md },
  pixart: { transformer: pixart },
  "t5-xxl": { text_encoder: t5xxl },
  "sdxl-vae": { vae: sdxlVae },
  full: { transformer: t2md, text_encoder: t5xxl, vae: sdxlVae },
  "full-pixart": { transformer: pixart, text_encoder: t5xxl, vae: sdxlVae },
} satisfies Record<string, Components>;

/** The first `layers` blocks of transformer and text encoder; the VAE stays whole. @throws InvalidArgumentError for too many */
export function withLayers(components: Components, layers: number): Components {
  const cut = (config: JsonObject): JsonObject => {
    if (layers > (config.num_layers as number)) {
      const most = `the config has ${String(config.num_layers)}`;
      throw new ScanvasError("InvalidArgumentError", `synth: --layers ${layers}, ${most}; ask for as many or fewer`);
    }
    const mixers = config.token_mixers as string[] | undefined;
    return { ...config, num_layers: layers, ...(mixers && { token_mixers: mixers.slice(0, layers) }) };
  };
  return Object.fromEntries(
    Object.entries(components).map(([name, config]) => [name, name === "vae" ? config : cut(config)]),
  );
}
