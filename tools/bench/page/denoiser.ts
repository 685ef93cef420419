/** One step of a loaded denoiser at any size, timed dispatch by dispatch on the GPU's own clock. */
import { randomArray } from "../../../src/kernels/case.ts";
import { loadModel, type Model } from "../../../src/load.ts";
import { timestepEmbedding } from "../../../src/model/embeddings.ts";
import { Session } from "../../../src/session.ts";
import { gpuSource } from "./device.ts";
import { STEP, TIMESTEP } from "./inputs.ts";

export interface StepTiming {
  /** GPU seconds of each block, and of all that is outside of the blocks. */
  blocks: number[];
  rest: number;
  /**
   * The same in CPU seconds of the process that the device lives in, where that device is a CPU: what other programs do meanwhile does not
   * count. On a GPU, equal to `blocks` and `rest`.
   */
  work: { blocks: number[]; rest: number };
  /** GPU seconds and operations by kernel, over all of the step. */
  kernels: Record<string, { seconds: number; flops: number }>;
  /** Equal for equal latents. */
  digest: string;
}

declare global {
  /** Given by the suite where it can read it. */
  var cpuSeconds: (() => Promise<number>) | undefined;
}

const models = new Map<string, Model>();
let session: Session | undefined;

/** Loads the transformer of a converted directory; answers its mixers. */
export async function loadDenoiser(name: string, url: string, f16 = false): Promise<string[]> {
  const model = await loadModel(url, { components: ["transformer"], store: false, f16, ...gpuSource() });
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
  const { gpu } = models.get(name)!;
  const cpu = gpu.isSoftware ? globalThis.cpuSeconds : undefined;
  const spent: { done: number; seconds: number }[] = [];
  const timings = await session!.timeStep(STEP, timestepEmbedding([TIMESTEP]), 1, async (done) => {
    if (cpu) spent.push({ done, seconds: await cpu() });
  });
  if (cpu) spent.push({ done: timings.length, seconds: await cpu() });
  /** CPU seconds for a GPU second of dispatch i: known for each submit. */
  const factors = timings.map(() => 1);
  for (let i = 1; i < spent.length; i++) {
    const [from, to] = [spent[i - 1]!, spent[i]!];
    const gpuSeconds = timings.slice(from.done, to.done).reduce((sum, { milliseconds }) => sum + milliseconds / 1e3, 0);
    factors.fill((to.seconds - from.seconds) / gpuSeconds, from.done, to.done);
  }
  const blocks = config.tokenMixers.map(() => 0);
  const work = { blocks: config.tokenMixers.map(() => 0), rest: 0 };
  const kernels: StepTiming["kernels"] = {};
  let rest = 0;
  timings.forEach(({ label, kernel, milliseconds, flops }, i) => {
    const seconds = milliseconds / 1e3;
    const block = /^block(\d+)\./.exec(label)?.[1];
    if (block === undefined) {
      rest += seconds;
      work.rest += seconds * factors[i]!;
    } else {
      blocks[Number(block)]! += seconds;
      work.blocks[Number(block)]! += seconds * factors[i]!;
    }
    const sum = (kernels[kernel] ??= { seconds: 0, flops: 0 });
    sum.seconds += seconds;
    sum.flops += flops;
  });
  const bytes = await crypto.subtle.digest("SHA-256", session!.latents);
  const digest = Array.from(new Uint8Array(bytes, 0, 8), (b) => b.toString(16).padStart(2, "0")).join("");
  return { blocks, rest, work, kernels, digest };
}
