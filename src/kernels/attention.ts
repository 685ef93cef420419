import source from "../../shaders/attention.wgsl?raw";
import registerSource from "../../shaders/attention_register.wgsl?raw";
import oddSource from "../../shaders/attention_odd.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

const kernels = {
  tile: defineKernel("attention", source, { lib: ["attention_score", "flash_attention"] }),
  odd: defineKernel("attention_odd", oddSource, { lib: ["attention_score", "flash_attention"] }),
  register: defineKernel("attention_register", registerSource, { lib: ["attention_score"] }),
};

/**
 * "tile" stages keys in workgroup memory, "register" leaves that to the caches. On SwiftShader, 2 cores, 256 queries x 256 keys: 0.36
 * against 0.88 GFLOP/s for 4 heads of 72, 0.27 against 0.59 for one of 512 (gemm there: tile 0.63, register 1.51), and it compiles in
 * a quarter of the time. The device's choice for gemm decides.
 */
export type AttentionVariant = "tile" | "register";

/** A dispatch is cut by queries at this many operations, 10 ms on a 2 TFLOP/s GPU, but never below WORKGROUPS: those keep it busy. */
const DISPATCH_FLOPS = 2e10;
const WORKGROUPS = 32;

export interface AttentionOptions {
  batch: number;
  heads: number;
  /** Up to 512; multiples of 4 are fast. */
  headDim: number;
  queries: number;
  keys: number;
  /** Factor of q . k; 1 / sqrt(headDim) unless given. */
  scale?: number;
  /** [batch, keys] or [1, keys]: 0 for keys that take no part. A query without any key gives zeros. */
  mask?: Tensor;
  /** [heads, 2 * keys - 1], added to the score at key - query + keys - 1; queries equal keys then (T5). */
  bias?: Tensor;
  /** Overrides the choice of kernel (benchmarks, tests); heads that are not multiples of 4 have one only. */
  variant?: AttentionVariant;
  /** Queries in one dispatch; chosen by the amount of work unless given (tests). */
  queriesPerDispatch?: number;
}

/**
 * y = softmax(scale q k^T + bias) v per head, without a queries x keys matrix in memory. q, y [batch, queries, heads * headDim],
 * k, v [batch, keys, heads * headDim] or the same without batch, when every picture attends to the same keys.
 */
export function attention(
  rec: Recording,
  tensors: { q: Tensor; k: Tensor; v: Tensor; y: Tensor },
  options: AttentionOptions,
): void {
  const { batch, heads, headDim, queries, keys, mask, bias } = options;
  const { q, k, v, y } = tensors;
  const width = heads * headDim;
  const kvBatch = elementCount(k.shape) / (keys * width);
  const maskBatch = mask ? elementCount(mask.shape) / keys : batch;
  const fits =
    elementCount(q.shape) === batch * queries * width &&
    elementCount(y.shape) === batch * queries * width &&
    elementCount(v.shape) === elementCount(k.shape) &&
    [kvBatch, maskBatch].every((n) => n === batch || n === 1) &&
    (!bias || (queries === keys && elementCount(bias.shape) === heads * (2 * keys - 1)));
  if (!fits || headDim > 512) {
    const shapes = Object.entries({ ...tensors, mask, bias }).map(([name, t]) => (t ? `${name} [${t.shape}] ` : ""));
    throw new ScanvasError(
      "TensorError",
      `attention: ${shapes.join("")}do not fit batch ${batch}, heads ${heads} of ${headDim} (up to 512), queries ${queries}, keys ${keys}`,
    );
  }
  const even = headDim % 4 === 0;
  const variant = even ? (options.variant ?? rec.profile.gemm) : "odd";
  const [TX, TY] = headDim > 128 ? [32, 8] : [8, 16];
  const block = variant === "register" ? 128 : 4 * TY;
  const flopsPerQuery = 4 * keys * width * batch;
  const blocks = Math.max(
    Math.floor((options.queriesPerDispatch ?? DISPATCH_FLOPS / flopsPerQuery) / block),
    options.queriesPerDispatch ? 1 : Math.ceil(WORKGROUPS / (heads * batch)),
  );
  for (let first = 0; first < queries; first += blocks * block) {
    const count = Math.min(blocks * block, queries - first);
    rec.dispatch(
      kernels[variant],
      { q, k, v, mask, bias, y },
      {
        grid: [Math.ceil(count / block), heads, batch],
        constants: {
          HEAD_DIM: headDim,
          HAS_MASK: Number(Boolean(mask)),
          HAS_BIAS: Number(Boolean(bias)),
          ...(variant === "register" ? {} : { TX, TY }),
        },
        params: {
          first,
          queries,
          keys,
          row: even ? width / 4 : width,
          kv_batch: kvBatch === 1 ? 0 : keys,
          mask_stride: maskBatch === 1 ? 0 : keys,
          scale_log2e: (options.scale ?? 1 / Math.sqrt(headDim)) * Math.LOG2E,
        },
        flops: flopsPerQuery * count,
      },
    );
  }
}
