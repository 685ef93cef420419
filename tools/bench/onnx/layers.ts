/** What our models are exported with: a graph, the source's tensors, and the layers that more than one of them has. */
import { OnnxGraph } from "./graph.ts";

/** The source's tensors, PyTorch's names and layouts, f32. */
export type ReadTensor = (name: string) => { shape: readonly number[]; data: Float32Array };

export class Layers {
  readonly graph = new OnnxGraph();

  constructor(readonly read: ReadTensor) {}

  weight(name: string): string {
    const { shape, data } = this.read(name);
    return this.graph.tensor(shape, data);
  }

  /** [out, in] -> [in, out], as MatMul wants it. */
  matrix(...names: string[]): string {
    const parts = names.map((name) => this.read(name));
    const depth = parts[0]!.shape[1]!;
    const columns = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const out = new Float32Array(depth * columns);
    let column = 0;
    for (const { shape, data } of parts) {
      for (let r = 0; r < shape[0]!; r++, column++)
        for (let k = 0; k < depth; k++) out[k * columns + column] = data[r * depth + k]!;
    }
    return this.graph.tensor([depth, columns], out);
  }

  vector(...names: string[]): string {
    const all = names.flatMap((name) => Array.from(this.read(name).data));
    return this.graph.tensor([all.length], Float32Array.from(all));
  }

  /** x w^T, without a bias. */
  product(x: string, ...names: string[]): string {
    return this.graph.node("MatMul", [x, this.matrix(...names.map((name) => `${name}.weight`))]);
  }

  linear(x: string, ...names: string[]): string {
    return this.graph.node("Add", [this.product(x, ...names), this.vector(...names.map((name) => `${name}.bias`))]);
  }

  silu(x: string): string {
    return this.graph.node("com.microsoft.QuickGelu", [x], { alpha: { float: 1 } });
  }

  linearGelu(x: string, name: string): string {
    return this.graph.node("com.microsoft.FastGelu", [this.product(x, name), this.vector(`${name}.bias`)]);
  }

  /** q [B, T, heads P], k and v [B, L, heads P] -> [B, T, heads P]. */
  attention(q: string, k: string, v: string, heads: number): string {
    return this.graph.node("com.microsoft.MultiHeadAttention", [q, k, v], { num_heads: heads });
  }

  split(x: string, sizes: readonly number[], axis = -1): string[] {
    return this.graph.nodes("Split", [x, this.graph.ints(sizes)], sizes.length, { axis });
  }

  reshape(x: string, shape: readonly number[]): string {
    return this.graph.node("Reshape", [x, this.graph.ints(shape)]);
  }
}
