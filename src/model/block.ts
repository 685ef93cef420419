import type { Recording } from "../gpu/recording.ts";
import { viewTensor, type Tensor } from "../gpu/tensor.ts";
import { attention } from "../kernels/attention.ts";
import { gemm } from "../kernels/gemm.ts";
import { rowsOf, type DenoiserPlan, type TokenGrid } from "./bands.ts";
import { modulatedBranch, type Branch } from "./branch.ts";
import type { DenoiserConfig, TokenMixer } from "./config.ts";
import { recordMambaMixer } from "./mamba_block.ts";
import type { Weights } from "./weights.ts";

/** What a block reads besides the residual stream. */
export interface BlockInputs {
  readonly mixer: TokenMixer;
  readonly weights: Weights; // under the block's name
  /** [.., B, 6 D] with the block's first vector at `offset`: shift1, scale1, gate1, shift2, scale2, gate2. */
  readonly modulations: Tensor;
  readonly offset: number;
  /** Keys and values of the text [B, L, D], and its mask [B, L]. */
  readonly text: { readonly keys: Tensor; readonly values: Tensor; readonly mask: Tensor };
}

/** contract.md 2.1: token mixer, cross-attention, feed-forward. x: [B, T, D]; returns the same. */
export function recordBlock(
  rec: Recording,
  config: DenoiserConfig,
  inputs: BlockInputs,
  grid: TokenGrid,
  plan: DenoiserPlan,
  x: Tensor,
): Tensor {
  const { width, normEps: eps } = config;
  const { mixer, weights, modulations, offset, text } = inputs;
  const branch = (from: Tensor, y: Tensor, first: number): Branch =>
    modulatedBranch(rec, {
      x: from,
      y,
      eps,
      modulation: { tensor: modulations, offset: offset + first * width, stride: 6 * width },
    });

  const mixed = rec.temp("x_mixed", x.shape);
  rec.scope(mixer, () => {
    if (mixer === "attention") recordSelfAttention(rec, config, weights, branch(x, mixed, 0), grid, plan);
    else recordMambaMixer(rec, config.mamba, weights, mixer, branch(x, mixed, 0), grid, plan);
  });
  const crossed = rec.scope("cross", () => recordCrossAttention(rec, config, weights, mixed, text, plan));
  return rec.scope("ff", () => {
    const y = rec.temp("x", x.shape);
    recordFeedForward(rec, width, weights, branch(crossed, y, 3), plan);
    return y;
  });
}

function recordSelfAttention(
  rec: Recording,
  { width, headDim }: DenoiserConfig,
  weights: Weights,
  branch: Branch,
  grid: TokenGrid,
  plan: DenoiserPlan,
): void {
  const { batch } = grid;
  const tokens = grid.height * grid.width;
  const { groups, bands } = plan.attention;
  const parts = groups.map(({ first, count }) => {
    const make = (name: string): Tensor => rec.activation(name, [batch, tokens, count * headDim]);
    return { q: make("q"), k: make("k"), v: make("v"), heads: count, column: first * headDim };
  });
  const qkv = weights.get("attn1.to_qkv.weight", [3 * width, width]);
  const bias = weights.optional("attn1.to_qkv.bias");
  // One product of all, or one for each of q, k and v of a group: their rows of the weight lie apart.
  const products =
    groups.length === 1
      ? parts.map(({ q, k, v }) => ({ row: 0, rows: 3 * width, into: [q, k, v] }))
      : parts.flatMap(({ q, k, v, heads, column }) =>
          [q, k, v].map((tensor, i) => ({ row: i * width + column, rows: heads * headDim, into: [tensor] })),
        );
  for (const band of plan.projections) {
    const normed = branch.input(band);
    for (const { row, rows, into } of products) {
      gemm(
        rec,
        normed,
        viewTensor(qkv, qkv.label, [rows, width], row * width),
        into.map((tensor) => rowsOf(tensor, band)),
        { bias: bias && viewTensor(bias, bias.label, [rows], row) },
      );
    }
  }
  const y = rec.activation("y", [batch, tokens, width]);
  for (const band of bands) {
    for (const { q, k, v, heads, column } of parts) {
      attention(
        rec,
        { q: rowsOf(q, band), k, v, y: rowsOf(y, band) },
        { batch, heads, headDim, queries: band.rows / batch, keys: tokens, column },
      );
    }
  }
  const weight = weights.get("attn1.to_out.0.weight", [width, width]);
  for (const band of plan.projections) {
    branch.output(band, rowsOf(y, band), weight, weights.get("attn1.to_out.0.bias"));
  }
}

/** x + attn2(x, text): no norm before, no gate (PixArt-alpha). */
function recordCrossAttention(
  rec: Recording,
  { width, heads, headDim }: DenoiserConfig,
  weights: Weights,
  x: Tensor,
  { keys, values, mask }: BlockInputs["text"],
  plan: DenoiserPlan,
): Tensor {
  const batch = x.shape[0]!;
  const q = rec.activation("q", x.shape);
  const y = rec.activation("y", x.shape);
  const out = rec.temp("x_crossed", x.shape);
  for (const band of plan.projections) {
    gemm(rec, rowsOf(x, band), weights.get("attn2.to_q.weight", [width, width]), rowsOf(q, band), {
      bias: weights.optional("attn2.to_q.bias"),
    });
  }
  for (const band of plan.attention.bands) {
    attention(
      rec,
      { q: rowsOf(q, band), k: keys, v: values, y: rowsOf(y, band) },
      { batch, heads, headDim, queries: band.rows / batch, keys: keys.shape[1]!, mask },
    );
  }
  for (const band of plan.projections) {
    gemm(rec, rowsOf(y, band), weights.get("attn2.to_out.0.weight", [width, width]), rowsOf(out, band), {
      bias: weights.get("attn2.to_out.0.bias"),
      residual: rowsOf(x, band),
    });
  }
  return out;
}

function recordFeedForward(rec: Recording, width: number, weights: Weights, branch: Branch, plan: DenoiserPlan): void {
  for (const band of plan.feedForward) {
    const hidden = rec.activation("hidden", [band.rows, 4 * width]);
    gemm(rec, branch.input(band), weights.get("ff.net.0.proj.weight", [4 * width, width]), hidden, {
      bias: weights.get("ff.net.0.proj.bias"),
      activation: "gelu_tanh",
    });
    branch.output(band, hidden, weights.get("ff.net.2.weight", [width, 4 * width]), weights.get("ff.net.2.bias"));
  }
}
