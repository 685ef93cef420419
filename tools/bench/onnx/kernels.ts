/** Single operators as ONNX models, with the weights of the races as constants, as a model would have them. */
import type { Inputs, KernelWork } from "../page/inputs.ts";
import { OnnxGraph } from "./graph.ts";
import { selectiveScan, type ScanOperators } from "./scan.ts";

export function kernelModel(work: KernelWork, data: Inputs, operators: ScanOperators): Uint8Array {
  const graph = new OnnxGraph();
  const input = (name: string): string => graph.input(name, data[name]!.shape);
  switch (work.kind) {
    case "gemm": {
      const { rows, columns, depth } = work;
      const w = Float32Array.from({ length: depth * columns }, (_, i) => {
        const [k, column] = [Math.floor(i / columns), i % columns];
        return data.w!.data[column * depth + k]!;
      });
      const y = graph.node("MatMul", [input("x"), graph.tensor([depth, columns], w)]);
      graph.output(y, "y", [rows, columns]);
      break;
    }
    case "attention": {
      const inputs = [input("q"), input("k"), input("v")];
      const y = graph.node("com.microsoft.MultiHeadAttention", inputs, { num_heads: work.heads });
      graph.output(y, "y", [1, work.queries, work.heads * work.headDim]);
      break;
    }
    case "scan": {
      const { tokens, heads, headDim } = work;
      const operands = { x: input("x"), b: input("b"), c: input("c"), dt: input("dt") };
      const constants = { dtBias: data.dtBias!.data, aLog: data.aLog!.data, skip: data.skip!.data };
      const y = selectiveScan(graph, operators, { sequences: 1, ...work }, operands, constants);
      graph.output(y, "y", [1, tokens, heads * headDim]);
      break;
    }
    case "conv2d": {
      const { size, channels, outputs } = work;
      // Channels first, as ONNX has it.
      const w = Float32Array.from({ length: outputs * channels * 9 }, (_, i) => {
        const [output, rest] = [Math.floor(i / (channels * 9)), i % (channels * 9)];
        const [channel, tap] = [Math.floor(rest / 9), rest % 9];
        return data.w!.data[output * 9 * channels + tap * channels + channel]!;
      });
      const x = graph.input("planes", [1, channels, size, size]);
      const weights = [graph.tensor([outputs, channels, 3, 3], w), graph.tensor([outputs], data.bias!.data)];
      const y = graph.node("Conv", [x, ...weights], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
      graph.output(y, "y", [1, outputs, size, size]);
    }
  }
  return graph.model();
}
