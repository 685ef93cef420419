import { random, type KernelCase, type KernelCases } from "./case.ts";
import { gatedActivation } from "./gated_activation.ts";
import type { Activation } from "./gemm.ts";

const formulas: Record<Activation, (x: number) => number> = {
  none: (x) => x,
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => Math.max(x, 0),
};

function gatedCase(shape: number[], activation: Activation, spread = 1): KernelCase {
  return {
    name: `${shape.join("x")} ${activation}${spread === 1 ? "" : ` spread ${spread}`}`,
    inputs: () => ({ a: random(shape, 1, spread), b: random(shape, 2) }),
    outputs: { y: shape },
    record: (rec, t) => gatedActivation(rec, t.a!, t.b!, t.y!, activation),
    reference: ({ a, b }) => ({ y: a!.map((value, i) => formulas[activation](value) * b![i]!) }),
    tolerance: 2e-6, // tanh and exp of the driver
  };
}

export default {
  kernel: "gated_activation",
  cases: [
    gatedCase([7, 10240], "gelu_tanh"), // T5-XXL
    gatedCase([3, 5], "silu"),
    gatedCase([1, 1], "relu"),
    gatedCase([9, 33], "gelu_tanh", 100), // beyond the range of tanh
  ],
} satisfies KernelCases;
