import matrixSource from "../../shaders/attention_matrix.wgsl?raw";
import source from "../../shaders/attention.wgsl?raw";
import registerSource from "../../shaders/attention_register.wgsl?raw";
import oddSource from "../../shaders/attention_odd.wgsl?raw";
import { ScanvasError } from "../errors.ts";
import type { DeviceProfile, KernelVariant, Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import type { MatrixShape } from "../gpu/subgroup_matrix.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

const tile = defineKernel("attention", source, { lib: ["attention_score", "flash_attention"] });
const kernels = {
  tile,
  tile_f16: tile,
  matrix: defineKernel("attention_matrix", matrixSource, { lib: ["attention_score"], matrix: true }),
  odd: defineKernel("attention_odd", oddSource, { lib: ["attention_score", "flash_attention"] }),
  register: defineKernel("attention_register", registerSource, { lib: ["attention_score"] }),
};

/**
 * On SwiftShader, 2 cores, 256 queries x 256 keys: "tile" 0.36 and "register" 0.88 GFLOP/s for 4 heads of 72, 0.27 and 0.59 for one of 512 (gemm
 * there: tile 0.63, register 1.51), and "register" compiles in a quarter of the time.
 */
export type AttentionVariant = KernelVariant;

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
  /** Where the first head goes in wider rows of y, which other heads share; a multiple of 4 for even heads. y is then [batch, queries, any]. */
  column?: number;
  /** Queries in one dispatch; chosen by the amount of work unless given (tests). */
  queriesPerDispatch?: number;
}

/**
 * y = softmax(scale q k^T + bias) v per head, without a queries x keys matrix in memory. q, y [batch, queries, heads * headDim], y
 * perhaps wider; k, v [batch, keys, heads * headDim] or the same without batch, when every picture attends to the same keys.
 */
export function attention(
  rec: Recording,
  tensors: { q: Tensor; k: Tensor; v: Tensor; y: Tensor },
  options: AttentionOptions,
): void {
  const { batch, heads, headDim, queries, keys, mask, bias, column } = options;
  const { q, k, v, y } = tensors;
  const width = heads * headDim;
  const yWidth = elementCount(y.shape) / (batch * queries);
  const kvBatch = elementCount(k.shape) / (keys * width);
  const maskBatch = mask ? elementCount(mask.shape) / keys : batch;
  const fits =
    elementCount(q.shape) === batch * queries * width &&
    (column === undefined ? yWidth === width : Number.isInteger(yWidth) && yWidth >= column + width) &&
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
  const even = headDim % 4 === 0 && yWidth % 4 === 0 && (column ?? 0) % 4 === 0;
  const unit = even ? 4 : 1; // elements that the kernel counts in
  const variant = even ? fitting(options.variant ?? rec.profile.variants.attention, rec.profile, headDim, y) : "odd";
  const [TX, TY] = headDim > 128 ? [32, 8] : [8, 16];
  const block = {
    register: 128,
    matrix: 4 * (rec.profile.matrix?.M ?? 0),
    tile: 4 * TY,
    tile_f16: 4 * TY,
    odd: 4 * TY,
  }[variant];
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
        arithmetic: variant === "tile_f16" ? "f16" : "f32",
        constants: {
          HEAD_DIM: headDim,
          HAS_MASK: Number(Boolean(mask)),
          HAS_BIAS: Number(Boolean(bias)),
          ...(variant === "register" || variant === "matrix" ? {} : { TX, TY }),
        },
        params: {
          first,
          queries,
          keys,
          row: width / unit,
          y_row: yWidth / unit,
          y_column: (column ?? 0) / unit,
          kv_batch: kvBatch === 1 ? 0 : keys,
          mask_stride: maskBatch === 1 ? 0 : keys,
          scale_log2e: (options.scale ?? 1 / Math.sqrt(headDim)) * Math.LOG2E,
        },
        flops: flopsPerQuery * count,
      },
    );
  }
}

/** `wanted`, or the tile where it cannot be: matrices hold heads of up to 128 only, and "register" keeps its f32 sums in y. */
function fitting(
  wanted: KernelVariant,
  { matrix, f16, limits }: DeviceProfile,
  headDim: number,
  y: Tensor,
): KernelVariant {
  const tile = f16 ? "tile_f16" : "tile";
  if (wanted === "register") return y.type === "f32" ? wanted : tile;
  if (wanted !== "matrix") return wanted;
  const fits = matrix && headDim <= 128 && matrixBytes(matrix, headDim) <= limits.maxComputeWorkgroupStorageSize;
  return fits ? wanted : tile;
}

/** Workgroup memory of attention_matrix, as the shader declares it. */
function matrixBytes({ M, N, K, subgroup }: MatrixShape, headDim: number): number {
  const keys = 32;
  const queries = 4 * M;
  const step = Math.max(K, N);
  const width = Math.ceil(headDim / step) * step;
  const operands = Math.max(2 * keys, queries) * width + queries * keys;
  return 2 * operands + 4 * (queries * (keys + 4) + 4 * subgroup + queries + 1);
}
