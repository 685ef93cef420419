// What a step costs besides its arithmetic, and what a second picture does not do again.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { DEFAULT_PROFILE } from "../../src/gpu/recording.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import { Session } from "../../src/session.ts";
import { fullModel } from "../model/full_model.ts";
import { loadGolden } from "../model/weights.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

describe("a step of 512x512", () => {
  const shape = { height: 512, width: 512, halves: 2, guidanceMode: "batch", textTokens: 128 } as const;

  it("is at most 20 dispatches a block at full size, the check for NaN among them", () => {
    const session = new Session(fullModel, DEFAULT_PROFILE, shape);
    const { tokenMixers } = fullModel.denoiser.config;
    const counts = tokenMixers.map((_, i) => session.commandsOf(`block${i}.`));
    expect(counts).toHaveLength(28);
    expect(Math.max(...counts), counts.join()).toBeLessThanOrEqual(20);
    expect(Math.min(...counts), counts.join()).toBeGreaterThan(5); // they are counted at all
  });
});

describe("the shipped model", () => {
  let pipeline: LocalPipeline;
  beforeAll(async () => {
    pipeline = LocalPipeline.of(await loadGolden("models/shapes-and-things", "f16"));
  });
  afterAll(() => pipeline.dispose());

  it("submits a step of 512x512 at once on a device of 1 TFLOP/s", async () => {
    const { gpu, denoiser, image } = pipeline.model;
    const slow = gpu.pacer.pace();
    gpu.pacer.expect(1e12); // what the trial finds on such a device
    const session = new Session({ denoiser: denoiser!, image }, gpu.profile, {
      height: 512,
      width: 512,
      halves: 2,
      guidanceMode: "batch",
      textTokens: 32,
    });
    try {
      await session.prepare(gpu);
      expect(session.stepSubmits).toBe(1);
    } finally {
      gpu.pacer.expect(slow.rate * 1000);
      session.dispose();
    }
  });

  it("makes a step with one submit, the reading of its flag included", async () => {
    const { gpu } = pipeline.model;
    const slow = gpu.pacer.pace();
    gpu.pacer.expect(Infinity);
    const submit = vi.spyOn(gpu.device.queue, "submit");
    const at: number[] = [];
    try {
      await pipeline.generate(
        { prompt: "a red car", height: 64, width: 64, numInferenceSteps: 3, seed: 1 },
        { onProgress: ({ stage }) => void (stage === "denoise" && at.push(submit.mock.calls.length)) },
      );
    } finally {
      gpu.pacer.expect(slow.rate * 1000);
      submit.mockRestore();
    }
    expect(at.map((count) => count - at[0]!)).toEqual([0, 1, 2, 3]);
  });

  it("compiles nothing and uploads only the prompt and the noise for a second picture of another prompt", async () => {
    const { gpu } = pipeline.model;
    const steps = 2;
    const request = { height: 32, width: 32, numInferenceSteps: steps, guidanceScale: 3 };
    await pipeline.generate({ ...request, prompt: "a red car", seed: 1 });
    const compile = vi.spyOn(gpu.device, "createComputePipelineAsync");
    const shader = vi.spyOn(gpu.device, "createShaderModule");
    const write = vi.spyOn(gpu.device.queue, "writeBuffer");
    await pipeline.generate({ ...request, prompt: "a photo of a blue frog", seed: 2 });
    expect(compile).not.toHaveBeenCalled();
    expect(shader).not.toHaveBeenCalled();
    const bytes: Record<string, number> = {};
    for (const [buffer, , data, , size = data.byteLength] of write.mock.calls)
      bytes[buffer.label] = (bytes[buffer.label] ?? 0) + size;
    [compile, shader, write].forEach((spy) => spy.mockRestore());
    const { captionChannels, inChannels } = pipeline.model.denoiser!.config;
    const latents = inChannels * 4 * 4;
    expect(bytes).toEqual({
      ids: expect.any(Number) as number, // the prompt's tokens,
      buckets: expect.any(Number) as number, // their distances,
      "encode params": expect.any(Number) as number, // and the encoder's numbers for that length
      embeds: 4 * 2 * 16 * captionChannels,
      text_mask: 4 * 2 * 16,
      latents: 4 * latents,
      previous_x0: 4 * latents,
      step: steps * 4 * 9,
      timestep: steps * 4 * 2 * 256,
      flag: (steps + 1) * 4, // the decoder has one too
    });
    expect(bytes.ids! + bytes.buckets! + bytes["encode params"]!).toBeLessThan(20_000);
  });
});
