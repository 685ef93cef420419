/**
 * Our text encoder for other runtimes, as the best export that onnxruntime-web can run: fused attention with the bias of its positions as a
 * constant, the norms as SimplifiedLayerNormalization (T5's norm is an RMS norm), each but the first with the sum before it.
 */
import { relativeBuckets } from "../../../src/model/embeddings.ts";
import type { TextConfig } from "../../../src/model/text_config.ts";
import { Layers, type ReadTensor } from "./layers.ts";

/** ids i32 [1, n] of real tokens -> embeds [1, n, width]. */
export function textEncoderModel(config: TextConfig, tokens: number, read: ReadTensor): Uint8Array {
  const layers = new Layers(read);
  const { graph } = layers;
  const { width, blocks, eps } = config;
  const epsilon = { float: eps };
  const ids = graph.input("ids", [1, tokens], "i32");
  const bias = positionBias(layers, config, tokens);

  let x = graph.node("Gather", [layers.weight("shared.weight"), ids]);
  const first = layers.vector("encoder.block.0.layer.0.layer_norm.weight");
  let normed = graph.node("SimplifiedLayerNormalization", [x, first], { axis: -1, epsilon });
  /** x + y becomes x, and its norm what the next layer reads. */
  const add = (y: string, norm: string): void => {
    const fused = "com.microsoft.SkipSimplifiedLayerNormalization";
    const outputs = graph.nodes(fused, [x, y, layers.vector(`${norm}.weight`)], 4, { epsilon });
    [normed, , , x] = outputs as [string, string, string, string];
  };
  for (let i = 0; i < blocks; i++) {
    const block = `encoder.block.${i}`;
    add(selfAttention(layers, config, `${block}.layer.0.SelfAttention`, normed, bias), `${block}.layer.1.layer_norm`);
    const next = i + 1 < blocks ? `encoder.block.${i + 1}.layer.0.layer_norm` : "encoder.final_layer_norm";
    add(feedForward(layers, config, `${block}.layer.1.DenseReluDense`, normed), next);
  }
  graph.output(normed, "embeds", [1, tokens, width]);
  return graph.model();
}

/** [1, heads, n, n]: what a query adds to its score with a key. It depends on their distance alone, so a graph of fixed length has it as a constant. */
function positionBias({ graph, read }: Layers, config: TextConfig, tokens: number): string {
  const { heads } = config;
  const { data: table } = read("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"); // [buckets, heads]
  const buckets = relativeBuckets(tokens, config);
  const bias = Float32Array.from({ length: heads * tokens * tokens }, (_, i) => {
    const [head, query, key] = [Math.floor(i / tokens ** 2), Math.floor(i / tokens) % tokens, i % tokens];
    return table[buckets[key - query + tokens - 1]! * heads + head]!;
  });
  return graph.tensor([1, heads, tokens, tokens], bias);
}

function selfAttention(
  layers: Layers,
  { heads, headDim }: TextConfig,
  name: string,
  normed: string,
  bias: string,
): string {
  const inner = heads * headDim;
  const qkv = layers.split(layers.product(normed, `${name}.q`, `${name}.k`, `${name}.v`), [inner, inner, inner]);
  // T5 does not scale its scores.
  const mixed = layers.graph.node("com.microsoft.MultiHeadAttention", [...qkv, "", "", bias], {
    num_heads: heads,
    scale: { float: 1 },
  });
  return layers.product(mixed, `${name}.o`);
}

function feedForward(layers: Layers, config: TextConfig, name: string, normed: string): string {
  const { graph } = layers;
  if (config.feedForward === "relu") {
    return layers.product(graph.node("Relu", [layers.product(normed, `${name}.wi`)]), `${name}.wo`);
  }
  const gate = graph.node("com.microsoft.FastGelu", [layers.product(normed, `${name}.wi_0`)]);
  return layers.product(graph.node("Mul", [gate, layers.product(normed, `${name}.wi_1`)]), `${name}.wo`);
}
