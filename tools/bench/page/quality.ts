/** Whole pictures, to be compared with those of PyTorch. */
import { LocalPipeline } from "../../../src/pipeline.ts";
import type { GenerateRequest, Timings } from "../../../src/worker/api.ts";
import { gpuSource } from "./device.ts";

/** RGB planes in 0..1, before they are rounded to bytes. */
export async function picture(
  url: string,
  request: GenerateRequest,
): Promise<{ image: number[]; timings: Timings; weightBytes: number }> {
  const pipeline = await LocalPipeline.load(url, { store: false, ...gpuSource() });
  try {
    const weightBytes = pipeline.model.gpu.arena.bytes;
    const { trace, timings } = await pipeline.generate({ ...request, trace: true });
    return { image: Array.from(trace!.image!.data as Float32Array), timings, weightBytes };
  } finally {
    await pipeline.dispose();
  }
}
