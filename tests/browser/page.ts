/** What pipeline.test.ts does in the page: the public API alone, as a site would use it. Answers are plain data for Playwright. */
import { load, ScanvasError, type GenerateRequest, type LoadOptions, type Pipeline } from "../../src/index.ts";

declare global {
  interface Window {
    scenarios: typeof scenarios;
  }
}

/** How a promise ended. `ours`: the error is a ScanvasError on this side of the worker too. */
interface Ending {
  name: string;
  message: string;
  ours: boolean;
  milliseconds: number;
}

let pipeline: Pipeline;
const pixels = async (request: GenerateRequest): Promise<number[]> => [
  ...(await pipeline.generate(request)).images[0].data,
];

async function endingOf(work: Promise<unknown>): Promise<Ending> {
  const began = performance.now();
  const error = await work.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason,
  );
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return { name, message, ours: error instanceof ScanvasError, milliseconds: performance.now() - began };
}

/** A worker like the one that `load` starts, within reach of the test. */
const ownWorker = (): Worker => new Worker(new URL("../../src/worker/worker.ts", import.meta.url), { type: "module" });

const scenarios = {
  async load(url: string, options: Pick<LoadOptions, "arithmetic" | "limits">) {
    pipeline = await load(url, options);
    return pipeline.info;
  },

  pixels,

  /** A PNG made by toBlob, read back by the browser. */
  async png(request: GenerateRequest) {
    const [image] = (await pipeline.generate(request)).images;
    const blob = await image.toBlob();
    const bitmap = await createImageBitmap(blob);
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d")!;
    context.drawImage(bitmap, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    return { type: blob.type, width, height, same: data.every((value, i) => value === image.data[i]) };
  },

  /** Aborts when `stage` reaches `step`. */
  async cancel(request: GenerateRequest, stage: string, step: number) {
    const controller = new AbortController();
    const after: string[] = [];
    const onProgress = (progress: { stage: string; step: number }): void => {
      if (controller.signal.aborted) after.push(`${progress.stage} ${progress.step}`);
      if (progress.stage === stage && progress.step === step) controller.abort();
    };
    return { ...(await endingOf(pipeline.generate(request, { signal: controller.signal, onProgress }))), after };
  },

  /** All at once; the third waits when it is cancelled. */
  async concurrent(requests: GenerateRequest[], cancelled: GenerateRequest) {
    const order: string[] = [];
    const controller = new AbortController();
    const jobs = requests.map(async (request, i) => {
      const data = await pixels(request);
      order.push(`job ${i}`);
      return data;
    });
    const waiting = endingOf(pipeline.generate(cancelled, { signal: controller.signal })).then((ending) => {
      order.push("cancelled");
      return ending;
    });
    controller.abort();
    return { pictures: await Promise.all(jobs), waiting: await waiting, order };
  },

  async refused(request: unknown) {
    return endingOf(pipeline.generate(request as GenerateRequest));
  },

  async loadFails(url: string, script: string | undefined) {
    const createWorker = script === undefined ? undefined : () => new Worker(script, { type: "module" });
    return endingOf(load(url, createWorker && { createWorker }));
  },

  async cancelLoad(url: string) {
    const controller = new AbortController();
    const onProgress = (): void => controller.abort();
    return endingOf(load(url, { signal: controller.signal, onProgress }));
  },

  /** The worker dies in the middle of a job. */
  async crash(url: string, request: GenerateRequest) {
    let worker!: Worker;
    const createWorker = (): Worker => (worker = ownWorker());
    const other = await load(url, { createWorker });
    const running = endingOf(other.generate(request));
    worker.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
    return [await running, await endingOf(other.generate(request))];
  },

  /** Disposed while one job runs and one waits. */
  async dispose(request: GenerateRequest) {
    const jobs = [endingOf(pipeline.generate(request)), endingOf(pipeline.generate(request))];
    const before = (await pipeline.gpuMemory()).bytes;
    await pipeline.dispose();
    await pipeline.dispose();
    return { before, jobs: [...(await Promise.all(jobs)), await endingOf(pipeline.generate(request))] };
  },
};

window.scenarios = scenarios;
