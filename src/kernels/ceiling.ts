import copySource from "../../shaders/ceiling_copy.wgsl?raw";
import fmaSource from "../../shaders/ceiling_fma.wgsl?raw";
import { linearGrid, type Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";

const fma = defineKernel("ceiling_fma", fmaSource);
const copy = defineKernel("ceiling_copy", copySource, { lib: ["linear"] });

/** 128 operations x rounds x threads, in registers. */
export function ceilingFma(rec: Recording, out: Tensor, threads: number, rounds: number): void {
  rec.dispatch(
    fma,
    { out },
    { grid: [Math.ceil(threads / 64)], params: { rounds, seed: 0.5 }, flops: 128 * rounds * threads },
  );
}

/** Reads and writes every byte of x once. */
export function ceilingCopy(rec: Recording, x: Tensor, y: Tensor): void {
  const count = elementCount(x.shape) / 4;
  rec.dispatch(copy, { x, y }, { grid: linearGrid(Math.ceil(count / 64)), params: { count } });
}
