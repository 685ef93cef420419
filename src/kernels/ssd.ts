import type { KernelVariant, Recording } from "../gpu/recording.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { ssdChunkProduct } from "./ssd_chunk_product.ts";
import { ssdChunkState } from "./ssd_chunk_state.ts";
import { ssdOutput } from "./ssd_output.ts";
import { ssdPassState } from "./ssd_pass_state.ts";
import { ssdPrepare } from "./ssd_prepare.ts";
import {
  checkSsdShape,
  chunksOf,
  lanesOf,
  stateBytes,
  type ScanGrid,
  type SsdShape,
  type SsdTensors,
} from "./ssd_shape.ts";

export interface SsdOptions {
  readonly grid: ScanGrid;
  /** Heads of x and y; `firstHead` is the first one's number among all. */
  readonly heads: number;
  readonly firstHead?: number;
  readonly headDim: number;
  readonly state: number;
  /** Most bytes of chunk states kept at once; the profile's `activationBytes` unless given. More would not be faster. */
  readonly stateBudget?: number;
  readonly variant?: KernelVariant;
}

/** What the scans of all heads share: C B^T inside each chunk, [S, chunks, Q, Q], of the type of b. Q is 128 unless given, less for shorter sequences. */
export function ssdProduct(
  rec: Recording,
  { b, c }: Pick<SsdTensors, "b" | "c">,
  options: { readonly chunk?: number; readonly variant?: KernelVariant } = {},
): Tensor {
  const [sequences, tokens, state] = b.shape as [number, number, number];
  const chunk = options.chunk ?? Math.min(128, 4 * Math.ceil(tokens / 4));
  const shape: SsdShape = { sequences, tokens, heads: 1, headDim: 4, state, chunk };
  checkSsdShape(shape);
  const product = rec.temp("ssd_product", [sequences, chunksOf(shape), chunk, chunk], b.type);
  ssdChunkProduct(rec, { b, c, product }, shape, options.variant);
  return product;
}

/**
 * Mamba-2's state space scan, h_t = exp(dt_t A) h_(t-1) + dt_t x_t B_t^T, y_t = h_t C_t + D x_t, of all sequences and directions, as
 * products over chunks (arXiv 2405.21060, section 6): time linear in T, and no step of it longer than a chunk or a walk over
 * the chunks. The heads are independent, so a call may scan some of them, and runs them in groups whose states fit the budget.
 */
export function ssd(rec: Recording, tensors: SsdTensors, options: SsdOptions): void {
  const { x, b, c, product, dt, dtBias, aLog, skip, y } = tensors;
  const { grid, heads, firstHead = 0, headDim, state, variant } = options;
  const tokens = grid.height * grid.width;
  const [, chunks, chunk] = product.shape as [number, number, number];
  const shape: SsdShape = { sequences: grid.directions * grid.batch, tokens, heads, firstHead, headDim, state, chunk };
  checkSsdShape(shape);
  const steps = [shape.sequences, heads, chunks, chunk];
  const step = rec.temp("ssd_step", steps);
  const decay = rec.temp("ssd_decay", steps);
  const weight = rec.temp("ssd_weight", steps);
  ssdPrepare(rec, { dt, dtBias, aLog, step, decay, weight }, grid, shape);

  const { activationBytes, limits } = rec.profile;
  const budget = Math.min(options.stateBudget ?? activationBytes, limits.maxStorageBufferBindingSize);
  const most = Math.max(1, Math.floor(budget / Math.max(1, stateBytes(shape))));
  const { count } = lanesOf(shape);
  const groups = Math.ceil(count / most);
  for (let group = 0; group < groups; group++) {
    const first = Math.floor((group * count) / groups);
    const lanes = { first, count: Math.floor(((group + 1) * count) / groups) - first };
    const states = chunks > 1 ? rec.temp("ssd_states", [lanes.count, chunks - 1, state, headDim]) : undefined;
    if (states) {
      ssdChunkState(rec, { b, x, weight, states }, shape, lanes, variant);
      ssdPassState(rec, { decay, states }, shape, lanes);
    }
    ssdOutput(rec, { c, product, decay, step, x, states, skip, y }, shape, lanes, variant);
  }
}
