import copySource from "../../shaders/ceiling_copy.wgsl?raw";
import fmaSource from "../../shaders/ceiling_fma.wgsl?raw";
import matrixSource from "../../shaders/ceiling_matrix.wgsl?raw";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

const fma = defineKernel("ceiling_fma", fmaSource);
const matrix = defineKernel("ceiling_matrix", matrixSource, { matrix: true });
const copy = defineKernel("ceiling_copy", copySource, { lib: ["linear"] });

/** 128 operations x rounds x threads, in registers. */
export function ceilingFma(
  rec: Recording,
  out: Tensor,
  threads: number,
  rounds: number,
  arithmetic: "f32" | "f16" = "f32",
): void {
  rec.dispatch(
    fma,
    { out },
    { grid: [Math.ceil(threads / 64)], arithmetic, params: { rounds, seed: 0.5 }, flops: 128 * rounds * threads },
  );
}

/** 8 matrix products x rounds by each of 4 subgroups of a workgroup, in registers. */
export function ceilingMatrix(rec: Recording, out: Tensor, workgroups: number, rounds: number): void {
  const { M, N, K } = rec.profile.matrix!;
  rec.dispatch(
    matrix,
    { out },
    { grid: [workgroups], params: { rounds }, flops: 2 * M * N * K * 8 * 4 * rounds * workgroups },
  );
}

/** Reads and writes every byte of x once. */
export function ceilingCopy(rec: Recording, x: Tensor, y: Tensor): void {
  const count = elementCount(x.shape) / 4;
  rec.dispatch(copy, { x, y }, { grid: linearGrid(Math.ceil(count / 64)), params: { count } });
}
