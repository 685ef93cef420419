import source from "../../shaders/ssd_prepare.wgsl?raw";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { expectShapes, type Tensor } from "../gpu/tensor.ts";
import { chunksOf, type ScanGrid, type SsdShape } from "./ssd_shape.ts";

const kernel = defineKernel("ssd_prepare", source, { lib: ["scan_order"] });

/** Step sizes of the scan, all [S, M, chunks, Q] in scan order. */
export interface SsdSteps {
  readonly step: Tensor; // dt'
  readonly decay: Tensor; // F, the running sum of dt' A inside a chunk
  readonly weight: Tensor; // exp(F_last - F) dt'
}

/** dt in token order -> softplus, cumulative decays and state weights in scan order; see the shader. */
export function ssdPrepare(
  rec: Recording,
  { dt, dtBias, aLog, step, decay, weight }: SsdSteps & { dt: Tensor; dtBias: Tensor; aLog: Tensor },
  grid: ScanGrid,
  shape: SsdShape,
): void {
  const { sequences, tokens, heads, chunk, firstHead = 0 } = shape;
  const allHeads = dtBias.shape[0]!;
  const chunks = chunksOf(shape);
  const steps = [sequences, heads, chunks, chunk];
  expectShapes("ssd_prepare", {
    dt: [dt, [grid.batch, tokens, allHeads]],
    dtBias: [dtBias, [allHeads]],
    aLog: [aLog, [allHeads]],
    step: [step, steps],
    decay: [decay, steps],
    weight: [weight, steps],
  });
  rec.dispatch(
    kernel,
    { dt, dt_bias: dtBias, a_log: aLog, step, decay, weight },
    {
      grid: linearGrid(Math.ceil((sequences * chunks * heads) / 64)),
      constants: { BY_COLUMNS: Number(grid.order === "mamba_h") },
      params: {
        height: grid.height,
        width: grid.width,
        batch: grid.batch,
        sequences,
        heads,
        chunk,
        chunks,
        first_head: firstHead,
        all_heads: allHeads,
      },
      flops: 40 * sequences * heads * tokens,
    },
  );
}
