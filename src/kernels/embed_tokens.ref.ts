import type { WeightType } from "../gpu/tensor.ts";
import { random, type KernelCase, type KernelCases } from "./case.ts";
import { embedTokens } from "./embed_tokens.ts";

function embedCase(
  tokens: number,
  vocabulary: number,
  dim: number,
  type: WeightType,
  rowsPerDispatch?: number,
): KernelCase {
  return {
    name: `${tokens} of ${vocabulary}x${dim} ${type}${rowsPerDispatch ? " in parts" : ""}`,
    inputs: () => ({
      ids: {
        shape: [tokens],
        type: "u32",
        data: Uint32Array.from({ length: tokens }, (_, i) => (i * 7919 + vocabulary - 1) % vocabulary),
      },
      table: random([vocabulary, dim], 1, 1, type),
    }),
    outputs: { y: [tokens, dim] },
    record: (rec, t) => embedTokens(rec, t.ids!, t.table!, t.y!, rowsPerDispatch),
    reference: ({ ids, table }) => {
      const y = new Float32Array(tokens * dim);
      for (let i = 0; i < tokens; i++) for (let c = 0; c < dim; c++) y[i * dim + c] = table![ids![i]! * dim + c]!;
      return { y };
    },
    tolerance: 0, // values are copied; f16 to f32 and scale times quant are exact
  };
}

export default {
  kernel: "embed_tokens",
  cases: [
    embedCase(9, 50, 4096, "f16"), // T5-XXL's rows
    embedCase(33, 39, 48, "f32"),
    embedCase(1, 1, 4, "f32"),
    embedCase(40, 1000, 12, "f16", 300), // parts of 256 rows
    ...(["q8", "q4"] as const).flatMap((type) => [
      embedCase(9, 50, 4096, type),
      embedCase(33, 39, 96, type), // an odd number of blocks
      embedCase(1, 1, 32, type),
      embedCase(40, 1000, 160, type, 300),
    ]),
    embedCase(40, 700, 20, "f32", 1), // never fewer rows than a binding boundary needs
  ],
} satisfies KernelCases;
