/** The denoiser of the paper at its real size, as a config and as tensors without memory: enough to record and plan, and to fill with anything. */
import { makeTensor, type Tensor, type TensorType } from "../../../src/gpu/tensor.ts";
import { parseDenoiserConfig, type DenoiserConfig, type TokenMixer } from "../../../src/model/config.ts";
import { Weights } from "../../../src/model/weights.ts";
import type { SessionModel } from "../../../src/session.ts";

const SEVEN: TokenMixer[] = ["attention", "mamba_h", "mamba_w", "mamba_h", "mamba_w", "mamba_h", "mamba_w"];

/** 28 blocks: 4 of attention, 12 and 12 of the two scan orders. */
export const FULL_MIXERS: readonly TokenMixer[] = [...SEVEN, ...SEVEN, ...SEVEN, ...SEVEN];

const configOf = (mixers: readonly TokenMixer[]): DenoiserConfig =>
  parseDenoiserConfig({
    _class_name: "T2MDTransformer2DModel",
    token_mixers: [...mixers],
    num_layers: mixers.length,
    out_channels: 4,
    sample_size: 64,
    caption_channels: 4096,
    cross_attention_dim: 1152,
    pos_embed_type: "centered_sincos",
  });

function shapes(config: DenoiserConfig): Record<string, number[]> {
  const { width: D, blocks, captionChannels, inChannels, outChannels, patchSize, tokenMixers, mamba } = config;
  const { inner: E, state: N, heads: M, taps: K } = mamba;
  const linear = (name: string, rows: number, depth: number): Record<string, number[]> => ({
    [`${name}.weight`]: [rows, depth],
    [`${name}.bias`]: [rows],
  });
  const all = {
    ...linear("pos_embed.proj", D, inChannels * patchSize ** 2),
    ...linear("caption_projection.linear_1", D, captionChannels),
    ...linear("caption_projection.linear_2", D, D),
    ...linear("adaln_single.emb.timestep_embedder.linear_1", D, 256),
    ...linear("adaln_single.emb.timestep_embedder.linear_2", D, D),
    ...linear("adaln_single.linear", 6 * D, D),
    scale_shift_tables: [blocks, 6, D],
    scale_shift_table: [2, D],
    ...linear("proj_out", outChannels * patchSize ** 2, D),
  };
  tokenMixers.forEach((mixer, i) => {
    const block = `transformer_blocks.${i}`;
    Object.assign(
      all,
      mixer === "attention"
        ? { ...linear(`${block}.attn1.to_qkv`, 3 * D, D), ...linear(`${block}.attn1.to_out.0`, D, D) }
        : {
            [`${block}.mamba.in_proj.weight`]: [2 * E + 2 * N + M, D],
            ...linear(`${block}.mamba.conv1d`, E + 2 * N, K),
            [`${block}.mamba.dt_bias`]: [M],
            [`${block}.mamba.A_log`]: [M],
            [`${block}.mamba.D`]: [M],
            [`${block}.mamba.norm.weight`]: [E],
            ...linear(`${block}.mamba_fuse_out`, D, 2 * E),
          },
      linear(`${block}.attn2.to_q`, D, D),
      linear(`${block}.attn2.to_kv`, 2 * D, D),
      linear(`${block}.attn2.to_out.0`, D, D),
      linear(`${block}.ff.net.0.proj`, 4 * D, D),
      linear(`${block}.ff.net.2`, D, 4 * D),
    );
  });
  return all;
}

/** Matrices are f16, as converted models have them; everything else is f32. */
const typeOf = (name: string, shape: readonly number[]): TensorType =>
  name.endsWith(".weight") && shape.length === 2 && !name.includes("conv1d") ? "f16" : "f32";

/** Every tensor of the model with these blocks, without memory. */
export function fullDenoiser(mixers: readonly TokenMixer[] = FULL_MIXERS): {
  config: DenoiserConfig;
  tensors: Map<string, Tensor>;
  model: SessionModel;
} {
  const config = configOf(mixers);
  const tensors = new Map(
    Object.entries(shapes(config)).map(([name, shape]) => [name, makeTensor(name, shape, typeOf(name, shape))]),
  );
  return {
    config,
    tensors,
    model: { denoiser: { config, weights: new Weights("transformer", tensors) }, image: undefined },
  };
}
