/** What the trial runs, put together from the kernels' own test cases. Loaded only when there is something to try. */
import type { KernelVariant, KernelVariants } from "../gpu/recording.ts";
import { attentionCase } from "./attention.ref.ts";
import { conv2dCase } from "./conv2d.ref.ts";
import { gemmCase } from "./gemm.ref.ts";
import { ssdCase } from "./ssd.ref.ts";
import type { TrialCases } from "./trial.ts";

/** The real model's shapes cut in tokens, which every device finishes in a moment; one small case has odd sizes and checks. */
export function trialCases(family: keyof KernelVariants, variant: KernelVariant): TrialCases {
  switch (family) {
    case "gemm":
      return {
        check: gemmCase({ variant, rows: 37, columns: 69, depth: 72, bias: true, activation: "gelu_tanh" }),
        time: gemmCase({ variant, rows: 256, columns: 512, depth: 256 }),
      };
    case "attention":
      return {
        check: attentionCase({ variant, heads: 2, headDim: 72, queries: 67, keys: 70 }),
        time: attentionCase({ variant, heads: 4, headDim: 72, queries: 256, keys: 256 }),
      };
    case "scan": {
      const grid = (height: number, width: number) =>
        ({ batch: 1, height, width, order: "mamba_h", directions: 2 }) as const;
      return {
        check: ssdCase({ variant, grid: grid(3, 31), heads: 2, headDim: 16, state: 24, chunk: 28, decay: "slow" }),
        time: ssdCase({ variant, grid: grid(16, 16), heads: 4, headDim: 64, state: 256, decay: "typical" }),
      };
    }
    case "convFew":
    case "conv": {
      if (variant === "matrix") throw new Error("conv2d has no matrix variant");
      return {
        check: conv2dCase({ variant, height: 9, width: 11, channels: 16, outputs: family === "conv" ? 20 : 3 }),
        time: conv2dCase({ variant, height: 32, width: 32, channels: 64, outputs: 64 }),
      };
    }
  }
}
