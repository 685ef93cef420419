import type { Recording } from "../gpu/recording.ts";
import { BINDING_ALIGNMENT, elementCount, viewTensor, type Tensor } from "../gpu/tensor.ts";
import { attention } from "../kernels/attention.ts";
import { embedTokens } from "../kernels/embed_tokens.ts";
import { gatedActivation } from "../kernels/gated_activation.ts";
import { gemm } from "../kernels/gemm.ts";
import { relativeBias } from "../kernels/relative_bias.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import type { TextConfig } from "./text_config.ts";
import type { Weights } from "./weights.ts";

/**
 * The T5 encoder (Raffel et al. 2020; v1.1 when gated): token ids to embeddings [n, width]. ids u32 [n] are the real tokens only:
 * padding is masked in every layer, so leaving it out gives the same rows. buckets u32 [2n - 1] come from `relativeBuckets`.
 * The residual stream is f32 whatever the weights are: in large T5s it exceeds the range of f16.
 */
export function recordTextEncoder(
  rec: Recording,
  config: TextConfig,
  weights: Weights,
  ids: Tensor,
  buckets: Tensor,
  embeds: Tensor,
): void {
  const { width, heads, blocks, vocabulary, eps } = config;
  const tokens = elementCount(ids.shape);

  let x = rec.temp("embedded", [tokens, width]);
  embedTokens(rec, ids, weights.get("shared.weight", [vocabulary, width]), x);
  const bias = rec.temp("bias", [heads, 2 * tokens - 1]);
  recordTextBias(rec, config, weights, buckets, bias);
  for (let i = 0; i < blocks; i++) {
    const y = rec.temp("y", [tokens, width]);
    rec.scope(`block${i}`, () => recordTextBlock(rec, config, weights.under(`encoder.block.${i}`), x, bias, y));
    x = y;
  }
  rmsNorm(rec, x, weights.get("encoder.final_layer_norm.weight", [width]), embeds, eps);
}

/** bias [heads, 2n - 1] of a key at each distance: one for all blocks, since it depends on the distance alone and only block 0 has a table. */
export function recordTextBias(
  rec: Recording,
  config: TextConfig,
  weights: Weights,
  buckets: Tensor,
  bias: Tensor,
): void {
  const table = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
  relativeBias(rec, buckets, weights.get(table, [config.buckets, config.heads]), bias);
}

/** One block, x -> y [n, width]; the names of `weights` are those behind `encoder.block.{i}.`. */
export function recordTextBlock(
  rec: Recording,
  config: TextConfig,
  weights: Weights,
  x: Tensor,
  bias: Tensor,
  y: Tensor,
): void {
  const { width, heads, headDim, eps } = config;
  const tokens = x.shape[0]!;
  const inner = heads * headDim;
  const normed = rec.temp("normed", [tokens, width]);
  rmsNorm(rec, x, weights.get("layer.0.layer_norm.weight", [width]), normed, eps);
  const q = rec.temp("q", [tokens, inner]);
  const k = rec.temp("k", [tokens, inner]);
  const v = rec.temp("v", [tokens, inner]);
  gemm(rec, normed, weights.get("layer.0.SelfAttention.qkv.weight", [3 * inner, width]), [q, k, v]);
  const mixed = rec.temp("mixed", [tokens, inner]);
  // T5 does not scale its scores; the factor is part of the trained q.
  attention(rec, { q, k, v, y: mixed }, { batch: 1, heads, headDim, queries: tokens, keys: tokens, scale: 1, bias });
  const attended = rec.temp("attended", [tokens, width]);
  gemm(rec, mixed, weights.get("layer.0.SelfAttention.o.weight", [width, inner]), attended, { residual: x });
  recordFeedForward(rec, config, weights.under("layer.1"), attended, y);
}

/** y = x + wo(act(wi x)), or x + wo(gelu(wi_0 x) * wi_1 x) when gated. x, y [tokens, width]. */
function recordFeedForward(rec: Recording, config: TextConfig, weights: Weights, x: Tensor, y: Tensor): void {
  const { width, hidden, feedForward, eps } = config;
  const tokens = x.shape[0]!;
  const normed = rec.temp("normed", [tokens, width]);
  rmsNorm(rec, x, weights.get("layer_norm.weight", [width]), normed, eps);

  const activated = rec.temp("activated", [tokens, hidden]);
  if (feedForward === "relu") {
    gemm(rec, normed, weights.get("DenseReluDense.wi.weight", [hidden, width]), activated, {
      activation: "relu",
    });
  } else {
    const wi = weights.get("DenseReluDense.wi.weight", [2 * hidden, width]);
    const linear = rec.temp("linear", [tokens, hidden]);
    const half = wi.offset + (hidden * width * wi.bytes) / elementCount(wi.shape);
    if (half % BINDING_ALIGNMENT === 0) {
      // Every real model: two products, the first one's result multiplied into the second. Each half is a binding of its own.
      gemm(rec, normed, viewTensor(wi, "wi_1", [hidden, width], hidden * width), linear);
      const options = { activation: "gelu_tanh", multiply: linear } as const;
      gemm(rec, normed, viewTensor(wi, "wi_0", [hidden, width]), activated, options);
    } else {
      const gate = rec.temp("gate", [tokens, hidden]);
      gemm(rec, normed, wi, [gate, linear]);
      gatedActivation(rec, gate, linear, activated, "gelu_tanh");
    }
  }
  gemm(rec, activated, weights.get("DenseReluDense.wo.weight", [width, hidden]), y, { residual: x });
}
