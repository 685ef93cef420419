// The pace of submits on a real device: at most two in flight, the same picture at any pace, and a cancel that waits for one submit.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { IN_FLIGHT } from "../../src/gpu/pacer.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import type { GenerateRequest, Progress } from "../../src/worker/api.ts";
import { loadGolden } from "../model/weights.ts";
import { PIXART } from "./golden.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const REQUEST: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 2, seed: 5 };
/** Operations a second so few that every dispatch has a submit of its own: the pace grows by a quarter a submit, and there are some hundred. */
const SLOWEST = 1e-30;

describe("the pace of submits", () => {
  let pipeline: LocalPipeline;
  /** Submits of programs, in all and in flight. */
  let seen: { count: number; inFlight: number; most: number };
  let onSubmit: (() => void) | undefined;
  beforeAll(async () => {
    pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`));
  });
  afterAll(() => pipeline.dispose());
  beforeEach(() => {
    seen = { count: 0, inFlight: 0, most: 0 };
    const { queue } = pipeline.model.gpu.device;
    const done = queue.onSubmittedWorkDone.bind(queue);
    vi.spyOn(queue, "onSubmittedWorkDone").mockImplementation(async () => {
      seen.count++;
      seen.most = Math.max(seen.most, ++seen.inFlight);
      onSubmit?.();
      await done();
      seen.inFlight--;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    onSubmit = undefined;
  });

  /** Generates at a pace that programs begin with: they are made anew for a size that is not the last one's. */
  const generateAt = async (
    flopsPerSecond: number,
    request = REQUEST,
    run: Parameters<LocalPipeline["generate"]>[1] = {},
  ): Promise<number[]> => {
    pipeline.model.gpu.pacer.expect(Infinity);
    await pipeline.generate({ ...REQUEST, width: 16, height: 16, numInferenceSteps: 1 });
    pipeline.model.gpu.pacer.expect(flopsPerSecond);
    seen.count = 0;
    return [...(await pipeline.generate(request, run)).images[0]!.data];
  };

  it("makes the same picture at any pace, with two submits in flight at most", async () => {
    const whole = await generateAt(Infinity);
    const { count: fewest } = seen;
    expect(fewest).toBe(1 + 2 + 1); // conditions, steps, decoder
    const counts: number[] = [];
    for (const pace of [SLOWEST, 1e7, 1e9]) {
      expect(await generateAt(pace), `at ${pace}`).toEqual(whole);
      counts.push(seen.count);
    }
    expect(counts[0]).toBeGreaterThan(100);
    expect(counts).toEqual([...counts].sort((a, b) => b - a));
    expect(seen.most).toBe(IN_FLIGHT);
  });

  it("lengthens submits that turn out too short, and keeps to what it found for the next picture", async () => {
    vi.spyOn(performance, "now").mockReturnValue(0); // no submit takes any time, however busy this machine is
    await generateAt(1e6);
    const first = seen.count;
    seen.count = 0;
    await pipeline.generate({ ...REQUEST, seed: 6 });
    expect(seen.count).toBeLessThan(first / 2);
  });

  it.each<{ stage: Progress["stage"]; prompt: string; nth: number }>([
    { stage: "encode", prompt: "a cat that is told of for the first time", nth: 5 },
    { stage: "denoise", prompt: REQUEST.prompt, nth: 1 },
    { stage: "denoise", prompt: REQUEST.prompt, nth: 40 },
    { stage: "decode", prompt: REQUEST.prompt, nth: 30 },
  ])("submits nothing after a cancel in submit $nth of $stage, and goes on", async ({ stage, prompt, nth }) => {
    const expected = await generateAt(Infinity);
    const controller = new AbortController();
    let at: Progress["stage"] | undefined;
    let left = nth;
    let settledWith = -1;
    onSubmit = () => {
      if (at === stage && --left === 0) controller.abort();
    };
    const onProgress = ({ stage }: Progress): void => void (at = stage);
    await expect(
      generateAt(SLOWEST, { ...REQUEST, prompt }, { signal: controller.signal, onProgress }).finally(
        () => (settledWith = seen.inFlight),
      ),
    ).rejects.toMatchObject({ name: "AbortError", stage });
    expect(left, "submits after the one that was cancelled in").toBe(0);
    expect(settledWith, "submits that were still to be done").toBeLessThan(IN_FLIGHT);
    onSubmit = undefined;
    expect(await generateAt(Infinity)).toEqual(expected);
  });

  it("does not wait for the compiler when it is cancelled", async () => {
    const expected = await generateAt(Infinity);
    const other = { ...REQUEST, width: 48 };
    const controller = new AbortController();
    const { pipelines } = pipeline.model.gpu;
    const compile = pipelines.compile.bind(pipelines);
    let compiled = false;
    vi.spyOn(pipelines, "compile").mockImplementation(async (dispatches) => {
      setImmediate(() => controller.abort());
      await new Promise((resolve) => setTimeout(resolve, 3000)); // a slow compiler, that nobody waits for
      compiled = true;
      return compile(dispatches);
    });
    const cancelled = pipeline.generate(other, { signal: controller.signal });
    await expect(cancelled).rejects.toMatchObject({ name: "AbortError", stage: "prepare" });
    expect(compiled).toBe(false);
    vi.restoreAllMocks();
    await pipeline.generate(other); // nothing half-made was kept
    expect(await generateAt(Infinity)).toEqual(expected);
  });
});
