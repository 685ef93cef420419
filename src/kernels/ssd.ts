import type { DeviceProfile, Recording } from "../gpu/recording.ts";
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

/** Most bytes of chunk states kept at once, also where the device allows larger bindings: more would not be faster. */
const STATE_BUDGET = 128 << 20;

export interface SsdOptions {
  readonly grid: ScanGrid;
  readonly heads: number;
  readonly headDim: number;
  readonly state: number;
  /** Q; 128 unless given, less for shorter sequences. */
  readonly chunk?: number;
  /** Most bytes of chunk states kept at once. */
  readonly stateBudget?: number;
  readonly variant?: DeviceProfile["gemm"];
}

/**
 * Mamba-2's state space scan, h_t = exp(dt_t A) h_(t-1) + dt_t x_t B_t^T, y_t = h_t C_t + D x_t, of all sequences and directions, as
 * products over chunks (arXiv 2405.21060, section 6): time linear in T, and no step of it longer than a chunk or a walk over
 * the chunks. The heads are independent, so they run in groups whose states fit one binding.
 */
export function ssd(rec: Recording, { x, b, c, dt, dtBias, aLog, skip, y }: SsdTensors, options: SsdOptions): void {
  const { grid, heads, headDim, state, variant, stateBudget = STATE_BUDGET } = options;
  const tokens = grid.height * grid.width;
  const chunk = options.chunk ?? Math.min(128, 4 * Math.ceil(tokens / 4));
  const shape: SsdShape = { sequences: grid.directions * grid.batch, tokens, heads, headDim, state, chunk };
  checkSsdShape(shape);
  const chunks = chunksOf(shape);
  const steps = [shape.sequences, heads, chunks, chunk];
  const step = rec.temp("ssd_step", steps);
  const decay = rec.temp("ssd_decay", steps);
  const weight = rec.temp("ssd_weight", steps);
  ssdPrepare(rec, { dt, dtBias, aLog, step, decay, weight }, grid, shape);
  const product = rec.temp("ssd_product", [shape.sequences, chunks, chunk, chunk]);
  ssdChunkProduct(rec, { b, c, product }, shape, variant);

  const budget = Math.min(stateBudget, rec.profile.limits.maxStorageBufferBindingSize);
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
