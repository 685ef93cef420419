import source from "../../shaders/relative_bias.wgsl?raw";
import type { Recording } from "../gpu/recording.ts";
import { defineKernel } from "../gpu/shader.ts";
import { elementCount, expectShapes, type Tensor } from "../gpu/tensor.ts";

const kernel = defineKernel("relative_bias", source);

/** y[h, i] = table[buckets[i], h]. buckets u32 [distances], table f32 [number of buckets, heads], y [heads, distances]. */
export function relativeBias(rec: Recording, buckets: Tensor, table: Tensor, y: Tensor): void {
  const heads = table.shape[1]!;
  const distances = elementCount(buckets.shape);
  expectShapes("relativeBias", { y: [y, [heads, distances]] });
  rec.dispatch(
    kernel,
    { buckets, table, y },
    { grid: [Math.ceil(distances / 64), heads], params: { heads, distances } },
  );
}
