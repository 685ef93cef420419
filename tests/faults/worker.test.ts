// What the page makes of a worker that says nothing, says it too late, or dies: the client alone, with a worker made of a MessageChannel.
import * as comlink from "comlink";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ScanvasError } from "../../src/errors.ts";
import type { GenerateResult, Progress } from "../../src/worker/api.ts";
import { Pipeline } from "../../src/worker/client.ts";

vi.setConfig({ testTimeout: 10_000 }); // no GPU, no waiting

const PULSES = 40_000; // milliseconds in which a silent worker is given up

const RESULT: GenerateResult = {
  images: [{ width: 1, height: 1, data: Uint8ClampedArray.of(1, 2, 3, 255) }],
  seed: 0,
  truncated: { prompt: false, negativePrompt: false },
  timings: { encode: 0, prepare: 0, denoise: 0, decode: 0, total: 0 },
  peakBytes: 0,
};
const STEP: Progress = { stage: "denoise", step: 1, total: 2, bytes: 0 };

/** A picture that is asked for: what the worker may say of it. */
interface Job {
  progress(progress: Progress): Promise<void>;
  finish(result: GenerateResult): void;
}

/** Node has none of its own. */
class ErrorEvent extends Event {
  readonly message = "out of memory";
}
vi.stubGlobal("ErrorEvent", ErrorEvent);

let jobs: Job[];
let alive: boolean; // answers
let terminated: boolean;
let port: MessagePort;

function createWorker(): Worker {
  const { port1, port2 } = new MessageChannel();
  const forever = new Promise<never>(() => undefined);
  const api = {
    ready: () => alive || forever,
    load: () => ({}),
    generate: (_id: number, _request: unknown, progress: Job["progress"]) =>
      new Promise((finish) => jobs.push({ progress, finish })),
    cancel: () => undefined,
    cancelAll: () => undefined,
    dispose: () => undefined,
  };
  comlink.expose(api, port2);
  port = port1;
  const terminate = (): void => {
    terminated = true;
    port1.close();
  };
  return Object.assign(port1, { terminate }) as unknown as Worker;
}

let pipeline: Pipeline;
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "setTimeout", "clearTimeout"] });
  [jobs, alive, terminated] = [[], true, false];
  pipeline = await Pipeline.load("http://localhost/model/", { createWorker });
});
afterEach(async () => {
  vi.useRealTimers();
  await pipeline.dispose();
});

/** Begins a picture and waits until the worker has it. */
async function begin(onProgress?: (progress: Progress) => void) {
  const { length } = jobs;
  const ending = pipeline.generate({ prompt: "x" }, onProgress && { onProgress }).then(
    ({ images }) => images[0]!.data[0],
    (error: unknown) => error,
  );
  await vi.waitFor(() => expect(jobs.length).toBe(length + 1));
  return { ending, job: jobs[length]! };
}

describe("a worker", () => {
  it("that gives no sign of life is given up, and all that is open with it", async () => {
    const { ending } = await begin();
    alive = false;
    await vi.advanceTimersByTimeAsync(PULSES);
    const expected = { name: "WorkerCrashedError", recoverable: false };
    expect(await ending).toMatchObject({ ...expected, message: expect.stringMatching(/no sign of life/) as string });
    expect(terminated).toBe(true);
    await expect(pipeline.generate({ prompt: "x" })).rejects.toMatchObject(expected);
  });

  it("that works for hours, and answers, is left alone", async () => {
    const { ending, job } = await begin();
    for (let passed = 0; passed < 100 * PULSES; passed += 2000) {
      await vi.advanceTimersByTimeAsync(2000);
      await new Promise((resolve) => setImmediate(resolve)); // its answer
    }
    expect(terminated).toBe(false);
    job.finish(RESULT);
    expect(await ending).toBe(1);
  });

  it("that fails at work takes along what is open, and says why", async () => {
    const { ending } = await begin();
    port.dispatchEvent(new ErrorEvent("error"));
    const message = expect.stringMatching(/out of memory/) as string;
    expect(await ending).toMatchObject({ name: "WorkerCrashedError", recoverable: false, message });
    expect(terminated).toBe(true);
  });

  it("is not heard any more on a picture that ended; the next one is its own", async () => {
    const heard: Progress[] = [];
    const { ending, job } = await begin((progress) => void heard.push(progress));
    await job.progress(STEP);
    expect(heard).toEqual([STEP]);
    pipeline.evict(new ScanvasError("TakenOverError", "another tab"));
    expect(await ending).toMatchObject({ name: "TakenOverError" });
    await job.progress({ ...STEP, step: 2 });
    job.finish(RESULT);
    const next = await begin();
    next.job.finish({ ...RESULT, images: [{ width: 1, height: 1, data: Uint8ClampedArray.of(9, 2, 3, 255) }] });
    expect(await next.ending).toBe(9);
    expect(heard).toEqual([STEP]);
  });
});
