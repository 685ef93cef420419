/**
 * Our denoiser for other runtimes, as the best export that onnxruntime-web can run: fused attention (MultiHeadAttention), fused GELU with bias,
 * the scan as LinearAttention (update_rule "gated" is Mamba-2's recurrence), the causal convolution as CausalConvWithState, out_proj
 * and fuse folded as our converter folds them, and keys and values of the text made once a prompt by a graph of their own.
 */
import type { TokenMixer } from "../../../src/model/config.ts";
import { Layers, type ReadTensor } from "./layers.ts";
import { selectiveScan, type ScanOperators } from "./scan.ts";

export interface DenoiserShape {
  width: number;
  heads: number;
  mixers: readonly TokenMixer[];
  inChannels: number;
  outChannels: number;
  patch: number;
  caption: number;
  eps: number;
  mamba: { inner: number; heads: number; headDim: number; state: number; taps: number };
  /** Of the export: every axis is fixed, as fast exports have it. */
  batch: number;
  rows: number;
  columns: number;
  textTokens: number;
}

const TIMESTEP_CHANNELS = 256;

class DenoiserLayers extends Layers {
  constructor(
    readonly shape: DenoiserShape,
    read: ReadTensor,
  ) {
    super(read);
  }

  modulated(x: string, shift: string, scale: string): string {
    const { width, eps } = this.shape;
    const ones = this.graph.tensor([width], new Float32Array(width).fill(1));
    const zeros = this.graph.tensor([width], new Float32Array(width));
    const normed = this.graph.node("LayerNormalization", [x, ones, zeros], { axis: -1, epsilon: { float: eps } });
    const factor = this.graph.node("Add", [scale, this.graph.scalar(1)]);
    return this.graph.node("Add", [this.graph.node("Mul", [normed, factor]), shift]);
  }
}

/** embeds [B, L, caption] -> keys0, values0, keys1, ... [B, L, D] */
export function conditionsModel(shape: DenoiserShape, read: ReadTensor): Uint8Array {
  const layers = new DenoiserLayers(shape, read);
  const { graph } = layers;
  const { batch, textTokens, caption, width } = shape;
  const embeds = graph.input("embeds", [batch, textTokens, caption]);
  const hidden = layers.linearGelu(embeds, "caption_projection.linear_1");
  const text = layers.linear(hidden, "caption_projection.linear_2");
  shape.mixers.forEach((_, i) => {
    for (const [part, name] of [
      ["to_k", "keys"],
      ["to_v", "values"],
    ]) {
      const y = layers.linear(text, `transformer_blocks.${i}.attn2.${part}`);
      graph.output(y, `${name}${i}`, [batch, textTokens, width]);
    }
  });
  return graph.model();
}

/**
 * latent [B, C, h, w], time [B, 256] (the sinusoidal embedding), keys and values of every block -> eps [B, C, h, w]. `positions`: [T, D].
 */
export function denoiserModel(
  shape: DenoiserShape,
  read: ReadTensor,
  positions: Float32Array,
  operators: ScanOperators,
): Uint8Array {
  const layers = new DenoiserLayers(shape, read);
  const { graph } = layers;
  const { batch, rows, columns, width, patch, inChannels, outChannels, textTokens, mixers } = shape;
  const tokens = rows * columns;
  const latent = graph.input("latent", [batch, inChannels, rows * patch, columns * patch]);
  const time = graph.input("time", [batch, TIMESTEP_CHANNELS]);
  const text = mixers.map((_, i) => ({
    keys: graph.input(`keys${i}`, [batch, textTokens, width]),
    values: graph.input(`values${i}`, [batch, textTokens, width]),
  }));

  const patches = graph.node(
    "Conv",
    [latent, layers.weight("pos_embed.proj.weight"), layers.vector("pos_embed.proj.bias")],
    { kernel_shape: [patch, patch], strides: [patch, patch] },
  );
  const flat = graph.node("Transpose", [layers.reshape(patches, [batch, width, tokens])], { perm: [0, 2, 1] });
  let x = graph.node("Add", [flat, graph.tensor([tokens, width], positions)]);

  const embedder = "adaln_single.emb.timestep_embedder";
  const hidden = layers.silu(layers.linear(time, `${embedder}.linear_1`));
  const embedded = layers.linear(hidden, `${embedder}.linear_2`);
  const t0 = layers.linear(layers.silu(embedded), "adaln_single.linear");
  const vectors = (table: string, value: string, count: number): string[] => {
    const { data } = read(table);
    const sum = graph.node("Add", [value, graph.tensor([count * width], data)]);
    return layers.split(layers.reshape(sum, [batch, 1, count * width]), Array<number>(count).fill(width));
  };
  const gated = (onto: string, gate: string, y: string): string =>
    graph.node("Add", [onto, graph.node("Mul", [gate, y])]);

  mixers.forEach((mixer, i) => {
    const block = `transformer_blocks.${i}`;
    const [shift1, scale1, gate1, shift2, scale2, gate2] = vectors(`${block}.scale_shift_table`, t0, 6) as string[];
    const u = layers.modulated(x, shift1!, scale1!);
    const mixed =
      mixer === "attention" ? selfAttention(layers, block, u) : mambaMixer(layers, block, u, mixer, operators);
    x = gated(x, gate1!, mixed);
    const q = layers.linear(x, `${block}.attn2.to_q`);
    const crossed = layers.attention(q, text[i]!.keys, text[i]!.values, shape.heads);
    x = graph.node("Add", [x, layers.linear(crossed, `${block}.attn2.to_out.0`)]);
    const inner = layers.linearGelu(layers.modulated(x, shift2!, scale2!), `${block}.ff.net.0.proj`);
    x = gated(x, gate2!, layers.linear(inner, `${block}.ff.net.2`));
  });

  // The final table is added to the embedded timestep itself, twice.
  const twice = graph.node("Concat", [embedded, embedded], { axis: -1 });
  const [shift, scale] = vectors("scale_shift_table", twice, 2) as [string, string];
  const out = layers.linear(layers.modulated(x, shift, scale), "proj_out");
  const cells = layers.reshape(out, [batch, rows, columns, patch, patch, outChannels]);
  const planes = graph.node("Transpose", [cells], { perm: [0, 5, 1, 3, 2, 4] });
  const size = [batch, outChannels, rows * patch, columns * patch];
  graph.output(layers.reshape(planes, size), "eps", size);
  return graph.model();
}

function selfAttention(layers: DenoiserLayers, block: string, u: string): string {
  const { width, heads } = layers.shape;
  const qkv = layers.linear(u, `${block}.attn1.to_q`, `${block}.attn1.to_k`, `${block}.attn1.to_v`);
  const [q, k, v] = layers.split(qkv, [width, width, width]) as [string, string, string];
  return layers.linear(layers.attention(q, k, v, heads), `${block}.attn1.to_out.0`);
}

/** u: [B, T, D]. Both directions lie one after the other along the batch. */
function mambaMixer(
  layers: DenoiserLayers,
  block: string,
  u: string,
  mixer: Exclude<TokenMixer, "attention">,
  operators: ScanOperators,
): string {
  const { graph, read, shape } = layers;
  const { batch, rows, columns, width, mamba } = shape;
  const { inner, heads, headDim, state, taps } = mamba;
  const tokens = rows * columns;
  const name = `${block}.mamba`;
  const channels = inner + 2 * state;

  const projected = graph.node("MatMul", [u, layers.matrix(`${name}.in_proj.weight`)]);
  const [z, xbc, dtRaw] = layers.split(projected, [inner, channels, heads]) as [string, string, string];
  const order = Array.from({ length: tokens }, (_, i) =>
    mixer === "mamba_w" ? i : (i % rows) * columns + Math.floor(i / rows),
  );
  const back = order.map((_, token) => order.indexOf(token));
  const take = (value: string, indices: readonly number[]): string =>
    indices.every((index, i) => index === i) ? value : graph.node("Gather", [value, graph.ints(indices)], { axis: 1 });
  const both = (value: string): string =>
    graph.node("Concat", [take(value, order), take(value, order.toReversed())], { axis: 0 });

  const conv = read(`${name}.conv1d.weight`).data; // [channels, 1, taps]
  const bias = layers.vector(`${name}.conv1d.bias`);
  const mixed =
    operators === "fused"
      ? graph.nodes(
          "com.microsoft.CausalConvWithState",
          [both(xbc), graph.tensor([channels, 1, taps], conv), bias],
          2,
          { activation: "silu", ndim: 1, channels_last: 1 },
        )[0]!
      : layers.silu(shiftedSums(layers, both(xbc), conv, bias, channels));
  const [x, b, c] = layers.split(mixed, [inner, state, state]) as [string, string, string];
  const y = selectiveScan(
    graph,
    operators,
    { sequences: 2 * batch, tokens, heads, headDim, state },
    { x, b, c, dt: both(dtRaw) },
    { dtBias: read(`${name}.dt_bias`).data, aLog: read(`${name}.A_log`).data, skip: read(`${name}.D`).data },
  );
  const [forward, backward] = layers.split(y, [batch, batch], 0) as [string, string];
  const gate = layers.silu(z);
  const normed = [
    take(forward, back),
    take(
      backward,
      back.map((at) => tokens - 1 - at),
    ),
  ].map((direction) =>
    graph.node(
      "SimplifiedLayerNormalization",
      [graph.node("Mul", [direction, gate]), layers.vector(`${name}.norm.weight`)],
      { axis: -1, epsilon: { float: 1e-5 } },
    ),
  );

  // fuse . out_proj in one matrix, [2 E, D].
  const fuse = read(`${block}.mamba_fuse.weight`).data; // [D, 2 D]
  const out = read(`${name}.out_proj.weight`).data; // [D, E]
  const folded = new Float32Array(2 * inner * width);
  for (let direction = 0; direction < 2; direction++)
    for (let d = 0; d < width; d++)
      for (let k = 0; k < width; k++) {
        const factor = fuse[d * 2 * width + direction * width + k]!;
        for (let e = 0; e < inner; e++) folded[(direction * inner + e) * width + d]! += factor * out[k * inner + e]!;
      }
  const joined = graph.node("Concat", normed, { axis: -1 });
  const product = graph.node("MatMul", [joined, graph.tensor([2 * inner, width], folded)]);
  return graph.node("Add", [product, layers.vector(`${block}.mamba_fuse.bias`)]);
}

/** A causal depthwise convolution as a sum of shifted products. */
function shiftedSums(layers: DenoiserLayers, x: string, weight: Float32Array, bias: string, channels: number): string {
  const { graph, shape } = layers;
  const { taps } = shape.mamba;
  const tokens = shape.rows * shape.columns;
  const padded = graph.node("Pad", [x, graph.ints([0, taps - 1, 0, 0, 0, 0])]);
  let sum = bias;
  for (let k = 0; k < taps; k++) {
    const shifted = graph.node("Slice", [padded, graph.ints([k]), graph.ints([k + tokens]), graph.ints([1])]);
    const column = Float32Array.from({ length: channels }, (_, c) => weight[c * taps + k]!);
    sum = graph.node("Add", [sum, graph.node("Mul", [shifted, graph.tensor([channels], column)])]);
  }
  return sum;
}
