/** One step of a loaded denoiser at any size, timed dispatch by dispatch on the GPU's own clock. */
import { randomArray } from "../../../src/kernels/case.ts";
import { loadModel, type Model } from "../../../src/load.ts";
import { timestepEmbedding } from "../../../src/model/embeddings.ts";
import { Session } from "../../../src/session.ts";
import { ceilings, gpuSource } from "./device.ts";

export interface StepTiming {
  /** GPU seconds of each block, and of all that is outside of the blocks. */
  blocks: number[];
  rest: number;
  /**
   * The same as multiply-adds that the ceiling would have done meanwhile, probed every two seconds: where the device is a CPU that others use
   * too, these stay comparable from minute to minute.
   */
  work: { blocks: number[]; rest: number };
  /** GPU seconds and operations by kernel, over all of the step. */
  kernels: Record<string, { seconds: number; flops: number }>;
  /** Equal for equal latents. */
  digest: string;
}

const models = new Map<string, Model>();
let session: Session | undefined;

/** Loads the transformer of a converted directory; answers its mixers. */
export async function loadDenoiser(name: string, url: string): Promise<string[]> {
  const model = await loadModel(url, { components: ["transformer"], store: false, ...gpuSource() });
  models.set(name, model);
  return [...model.denoiser!.config.tokenMixers];
}

/** Makes everything that a size needs. Bytes: what it adds to the weights, and dispatches of each block. */
export async function openDenoiser(
  name: string,
  height: number,
  width: number,
): Promise<{ tokens: number; bytes: number; dispatches: number[] }> {
  session?.dispose();
  const { gpu, denoiser, image } = models.get(name)!;
  const { config } = denoiser!;
  const shape = { height, width, halves: 1, guidanceMode: "batch", textTokens: TEXT_TOKENS } as const;
  session = new Session({ denoiser: denoiser!, image }, gpu.profile, shape);
  await session.prepare(gpu);
  await session.setText([randomArray(TEXT_TOKENS * config.captionChannels, 1)], undefined);
  const dispatches = config.tokenMixers.map((_, block) => session!.commandsOf(`block${block}.`));
  return { tokens: (height * width) / (8 * config.patchSize) ** 2, bytes: session.bytes, dispatches };
}

const TEXT_TOKENS = 120;

/** One step from always the same noise. NumericalError when a block makes a NaN. */
export async function timeStep(name: string): Promise<StepTiming> {
  const { config } = models.get(name)!.denoiser!;
  const { height, width } = session!.shape;
  session!.start(randomArray((config.inChannels * height * width) / 64, 2));
  const probe = await ceilings(models.get(name)!.gpu);
  const rates: { done: number; flopsPerSecond: number }[] = [];
  let probed = -Infinity;
  const timings = await session!.timeStep(STEP, timestepEmbedding([500]), 1, async (done) => {
    if (performance.now() - probed < 2000) return;
    rates.push({ done, flopsPerSecond: await probe.flops() });
    probed = performance.now();
  });
  rates.push({ done: timings.length, flopsPerSecond: await probe.flops() });
  const blocks = config.tokenMixers.map(() => 0);
  const work = { blocks: config.tokenMixers.map(() => 0), rest: 0 };
  const kernels: StepTiming["kernels"] = {};
  let rest = 0;
  let next = 1;
  timings.forEach(({ label, kernel, milliseconds, flops }, i) => {
    while (rates[next]!.done <= i) next++;
    const rate = (rates[next - 1]!.flopsPerSecond + rates[next]!.flopsPerSecond) / 2;
    const seconds = milliseconds / 1e3;
    const block = /^block(\d+)\./.exec(label)?.[1];
    if (block === undefined) {
      rest += seconds;
      work.rest += seconds * rate;
    } else {
      blocks[Number(block)]! += seconds;
      work.blocks[Number(block)]! += seconds * rate;
    }
    const sum = (kernels[kernel] ??= { seconds: 0, flops: 0 });
    sum.seconds += seconds;
    sum.flops += flops;
  });
  const bytes = await crypto.subtle.digest("SHA-256", await session!.readLatents());
  const digest = Array.from(new Uint8Array(bytes, 0, 8), (b) => b.toString(16).padStart(2, "0")).join("");
  return { blocks, rest, work, kernels, digest };
}

/** A DDIM-like step: what it mixes does not matter for time. */
const STEP = {
  timestep: 500,
  inputScale: 1,
  x0FromSample: 1,
  x0FromOutput: -0.5,
  x0Limit: 1e9,
  fromSample: 0.5,
  fromOutput: 0.1,
  fromX0: 0.4,
  fromPreviousX0: 0,
};
