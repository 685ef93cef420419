// The GPU goes away at any moment: the picture is the same to the bit, from the last step on, with the weights from storage alone.
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import { chooseVariants } from "../../src/kernels/trial.ts";
import type { LocalPipeline } from "../../src/pipeline.ts";
import type { GenerateRequest, Progress } from "../../src/worker/api.ts";
import { recordingDawn, type Tamper } from "../kernels/gpu.ts";
import { baselineOf, errorOf, expectBaseline, openRig, REQUEST, type Baseline, type Rig } from "./rig.ts";

interface Moment {
  stage: Progress["stage"];
  step: number;
  /** Milliseconds later, in the midst of what comes next. */
  delay?: number;
  /** Steps of the denoiser that the new device reports; the first one as where it goes on from. */
  redone: number[];
}
const MOMENTS: Moment[] = [
  { stage: "encode", step: 0, redone: [0, 1, 2, 3] },
  { stage: "encode", step: 1, delay: 3, redone: [0, 1, 2, 3] },
  { stage: "compile", step: 0, delay: 3, redone: [0, 1, 2, 3] },
  { stage: "denoise", step: 0, redone: [0, 1, 2, 3] },
  { stage: "denoise", step: 1, delay: 3, redone: [1, 2, 3] },
  { stage: "denoise", step: 2, redone: [2, 3] },
  { stage: "denoise", step: 3, redone: [3] },
  { stage: "decode", step: 0, delay: 3, redone: [3] },
];
/** With a prompt of its own, so that it has to be encoded. */
const requestAt = ({ stage, step }: Moment): GenerateRequest => ({ ...REQUEST, prompt: `a red cat ${stage} ${step}` });

let rig: Rig;
let pipeline: LocalPipeline;
let baseline: Baseline;
const undisturbed = new Map<Moment, Uint8ClampedArray>();
beforeAll(async () => {
  rig = await openRig();
  const calm = await rig.load();
  for (const moment of MOMENTS) undisturbed.set(moment, (await calm.generate(requestAt(moment))).images[0].data);
  baseline = await baselineOf(rig, calm);
  await calm.dispose();
  pipeline = await rig.load({ recoveries: Infinity });
});
beforeEach(() => {
  rig.tamper = () => undefined;
});
afterAll(() => pipeline?.dispose());

const lose = (one = pipeline): void => one.model.gpu.device.destroy();

describe("a device that is lost", () => {
  it.each(MOMENTS)("at $stage $step costs no step that was done, and the picture is the same", async (moment) => {
    const devices = rig.devices.length;
    const steps: number[] = []; // on the device that took over
    let lost = false;
    const onProgress = ({ stage, step }: Progress): void => {
      if (lost && rig.devices.length > devices && stage === "denoise") steps.push(step);
      if (lost || stage !== moment.stage || step !== moment.step) return;
      lost = true;
      if (moment.delay === undefined) lose();
      else setTimeout(() => lose(), moment.delay);
    };
    const { images } = await pipeline.generate(requestAt(moment), { onProgress });
    expect(images[0].data).toEqual(undisturbed.get(moment));
    expect(steps).toEqual(moment.redone);
    expect(rig.devices.length).toBe(devices + 1);
    await expectBaseline(rig, pipeline, baseline);
  });

  it("in the second of two pictures does not cost the first", async () => {
    const request = { ...REQUEST, numImages: 2, numInferenceSteps: 1 };
    const whole = await pipeline.generate(request);
    let steps = 0;
    const onProgress = ({ stage, step }: Progress): void => {
      if (stage === "denoise" && step === 1 && ++steps === 2) lose();
    };
    const { images } = await pipeline.generate(request, { onProgress });
    expect(images.map(({ data }) => data)).toEqual(whole.images.map(({ data }) => data));
    expect(steps, "one for each picture, one to go on from").toBe(3);
    await expectBaseline(rig, pipeline, baseline);
  });

  it("between two pictures is replaced", async () => {
    lose();
    rig.away = 2;
    await pipeline.model.gpu.device.lost;
    await expectBaseline(rig, pipeline, baseline);
  });

  it("while the model loads is replaced too", async () => {
    const first = rig.devices.length;
    rig.tamper = (device, number) => {
      if (number > first) return;
      const { queue } = device;
      const write = queue.writeBuffer.bind(queue);
      let writes = 0;
      queue.writeBuffer = (...args: Parameters<GPUQueue["writeBuffer"]>) => {
        if (++writes === 20) {
          device.destroy();
          rig.away = 2;
        }
        write(...args);
      };
    };
    const other = await rig.load();
    expect(rig.devices.length).toBe(first + 2);
    await expectBaseline(rig, other, baseline);
    await other.dispose();
  });

  it("is what is reported, whatever the call says that fails first", async () => {
    const strict = await rig.load({ recoveries: 0 });
    const device = rig.devices.at(-1)!;
    device.createCommandEncoder = () => {
      setTimeout(() => device.destroy(), 20); // as in Chromium: calls fail before the loss is told of
      throw new RangeError("createBuffer failed, size (1024) is too large");
    };
    expect(await errorOf(strict.generate(REQUEST))).toMatchObject({ name: "DeviceLostError" });
    await strict.dispose();
  });

  it("amid the trial of kernels lets nothing be concluded of them", async () => {
    const tamper: Tamper = (device, number) => {
      if (number > 0) return;
      device.createBuffer = () => {
        setTimeout(() => device.destroy(), 20);
        throw new RangeError("createBuffer failed, size (1024) is too large");
      };
    };
    const { gpu: dawn } = recordingDawn(tamper);
    const requestGpu = async (): Promise<Gpu> => {
      const gpu = await Gpu.request({ gpu: dawn, limits: "default" });
      return Object.defineProperty(gpu, "adapterKey", { value: "an adapter that was not tried yet" });
    };
    const lostOne = await requestGpu();
    expect(await errorOf(chooseVariants(lostOne))).toMatchObject({ name: "DeviceLostError" });
    const gpu = await requestGpu();
    const { results } = await chooseVariants(gpu);
    for (const { variant, rate } of results.gemm!) expect(rate, variant).toBeGreaterThan(0);
    gpu.dispose();
  });

  it("three times within a minute ends in an error that says what to do; after a minute the pipeline works again", async () => {
    const patient = await rig.load();
    const { length: devices } = rig.devices;
    const onProgress = ({ stage, step }: Progress): void => void (stage === "encode" && step === 0 && lose(patient));
    const message = expect.stringMatching(/3 times within a minute; load the model with tier "low"/) as string;
    const expected = { name: "DeviceLostError", message, recoverable: true };
    expect(await errorOf(patient.generate(REQUEST, { onProgress }))).toMatchObject(expected);
    expect(rig.devices.length).toBe(devices + 2);
    expect(await errorOf(patient.generate(REQUEST))).toMatchObject({ name: "DeviceLostError" });
    const inAMinute = performance.now() + 60_000;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => inAMinute);
    try {
      await expectBaseline(rig, patient, baseline);
    } finally {
      clock.mockRestore();
    }
    await patient.dispose();
  });

  it("and whose weights are no longer to be had ends in an error that says so; with them, the pipeline works again", async () => {
    const kept = new Map(rig.directory.files);
    rig.directory.files.clear();
    lose();
    await pipeline.model.gpu.device.lost;
    const message = expect.stringMatching(/could not be had again: /) as string;
    expect(await errorOf(pipeline.generate(REQUEST))).toMatchObject({ name: "DeviceLostError", message });
    for (const [name, bytes] of kept) rig.directory.files.set(name, bytes);
    await expectBaseline(rig, pipeline, baseline);
  });

  it("by dispose() is no loss: nothing is loaded again", async () => {
    const { length: devices } = rig.devices;
    const other = await rig.load();
    await other.dispose();
    expect((await rig.devices.at(-1)!.lost).reason).toBe("destroyed");
    expect(other.model.gpu.arena.bytes).toBe(0);
    expect(rig.devices.length).toBe(devices + 1);
  });
});
