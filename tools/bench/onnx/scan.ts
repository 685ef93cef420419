/** Mamba-2's scan in ONNX operators. */
import type { OnnxGraph } from "./graph.ts";

/** `fused`: the runtime's own operators for scan and convolution. `plain`: what every runtime has, products over chunks and shifted sums. */
export type ScanOperators = "fused" | "plain";

export interface ScanShape {
  sequences: number;
  tokens: number;
  heads: number;
  headDim: number;
  state: number;
}

/** x: [S, T, M P], b, c: [S, T, N], dt: [S, T, M] before its bias and softplus -> y [S, T, M P], with D x added. */
export function selectiveScan(
  graph: OnnxGraph,
  operators: ScanOperators,
  shape: ScanShape,
  { x, b, c, dt }: Record<"x" | "b" | "c" | "dt", string>,
  { dtBias, aLog, skip }: Record<"dtBias" | "aLog" | "skip", Float32Array>,
): string {
  const { sequences, tokens, heads, headDim } = shape;
  const inner = heads * headDim;
  const reshape = (value: string, to: number[]): string => graph.node("Reshape", [value, graph.ints(to)]);
  const step = graph.node("Softplus", [graph.node("Add", [dt, graph.tensor([heads], dtBias)])]);
  const rate = graph.tensor(
    [heads],
    Float32Array.from(aLog, (value) => -Math.exp(value)),
  );
  const decay = graph.node("Mul", [step, rate]);
  const perHead = reshape(x, [sequences, tokens, heads, headDim]);
  const v = graph.node("Mul", [perHead, reshape(step, [sequences, tokens, heads, 1])]);
  const scanned =
    operators === "fused"
      ? graph.nodes("com.microsoft.LinearAttention", [c, b, reshape(v, [sequences, tokens, inner]), "", decay], 2, {
          q_num_heads: 1,
          kv_num_heads: heads,
          update_rule: "gated",
          scale: { float: 1 },
        })[0]!
      : overChunks(graph, shape, { b, c, v, decay });
  const factors = Float32Array.from({ length: inner }, (_, i) => skip[Math.floor(i / headDim)]!);
  return graph.node("Add", [scanned, graph.node("Mul", [x, graph.tensor([inner], factors)])]);
}

/** Inside a chunk by a masked matrix of decays, between chunks by a walk over their states. v: [S, T, M, P], decay: [S, T, M]. */
function overChunks(
  graph: OnnxGraph,
  { sequences, tokens, heads, headDim, state }: ScanShape,
  { b, c, v, decay }: Record<"b" | "c" | "v" | "decay", string>,
): string {
  const chunk = tokens % 64 === 0 ? 64 : tokens;
  const chunks = tokens / chunk;
  const reshape = (value: string, to: number[]): string => graph.node("Reshape", [value, graph.ints(to)]);
  const split = (value: string, sizes: number[], axis: number): string[] =>
    graph.nodes("Split", [value, graph.ints(sizes)], sizes.length, { axis });
  /** One after the other: a Split binds all of its outputs, and 10 storage buffers are what a device may have. */
  const byChunk = (value: string): string[] =>
    Array.from({ length: chunks }, (_, i) =>
      graph.node("Slice", [value, graph.ints([i]), graph.ints([i + 1]), graph.ints([1])]),
    );
  /** [S, T, M, ..] -> [S, chunks, M, Q, ..] */
  const byHead = (value: string, perm: number[], last: number[]): string =>
    graph.node("Transpose", [reshape(value, [sequences, chunks, chunk, heads, ...last])], { perm });
  const values = byHead(v, [0, 1, 3, 2, 4], [headDim]);
  const steps = byHead(decay, [0, 1, 3, 2], []);
  const square = (value: (row: number, column: number) => number): string =>
    graph.tensor(
      [chunk, chunk],
      Float32Array.from({ length: chunk * chunk }, (_, i) => value(Math.floor(i / chunk), i % chunk)),
    );
  // Inclusive sums as a product, which runs on GPUs better than CumSum.
  const summed = graph.node("MatMul", [steps, square((s, t) => (s <= t ? 1 : 0))]); // [S, chunks, M, Q]
  const last = split(summed, [chunk - 1, 1], -1)[1]!;
  const column = reshape(summed, [sequences, chunks, heads, chunk, 1]);
  const row = reshape(summed, [sequences, chunks, heads, 1, chunk]);
  const late = square((t, s) => (s <= t ? 0 : -1e4));
  const exponent = graph.node("Add", [graph.node("Sub", [column, row]), late]);
  const weights = graph.node("Exp", [graph.node("Min", [exponent, graph.scalar(0)])]);
  const keys = graph.node("Transpose", [reshape(b, [sequences, chunks, chunk, state])], { perm: [0, 1, 3, 2] });
  const queries = reshape(c, [sequences, chunks, chunk, state]);
  const product = reshape(graph.node("MatMul", [queries, keys]), [sequences, chunks, 1, chunk, chunk]);
  let y = graph.node("MatMul", [graph.node("Mul", [product, weights]), values]); // [S, chunks, M, Q, P]
  if (chunks > 1) {
    const toEnd = graph.node("Exp", [graph.node("Sub", [last, summed])]);
    const kept = graph.node("Mul", [values, reshape(toEnd, [sequences, chunks, heads, chunk, 1])]);
    const made = graph.node("MatMul", [reshape(keys, [sequences, chunks, 1, state, chunk]), kept]);
    const states = byChunk(made); // each [S, 1, M, N, P]
    const totals = byChunk(graph.node("Exp", [reshape(last, [sequences, chunks, heads, 1, 1])]));
    let carried = graph.node("Mul", [states[0]!, graph.scalar(0)]);
    const entering: string[] = [];
    for (let i = 0; i < chunks; i++) {
      entering.push(carried);
      if (i + 1 < chunks) carried = graph.node("Add", [graph.node("Mul", [carried, totals[i]!]), states[i]!]);
    }
    const before = graph.node("Concat", entering, { axis: 1 });
    const far = graph.node("MatMul", [reshape(queries, [sequences, chunks, 1, chunk, state]), before]);
    y = graph.node("Add", [y, graph.node("Mul", [far, graph.node("Exp", [column])])]);
  }
  const inTokens = graph.node("Transpose", [y], { perm: [0, 1, 3, 2, 4] });
  return reshape(inTokens, [sequences, tokens, heads * headDim]);
}
