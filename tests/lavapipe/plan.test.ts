/** The memory plan of f16 arithmetic against what a device that has it is asked for. */
import { expect, it } from "vitest";
import { LocalPipeline } from "../../src/pipeline.ts";
import { plan } from "../../src/model_plan.ts";
import { loadGolden } from "../model/weights.ts";
import { PIXART } from "../pipeline/golden.ts";
import { lavapipe } from "./gpu.ts";

it("f16 arithmetic peaks where it was planned, below f32", { timeout: 300_000 }, async () => {
  const pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`, "f16", { gpu: lavapipe, f16: true }));
  const { gpu, manifest, prompts } = pipeline.model;
  const size = { height: 128, width: 96 };
  const prompt = "a red cat on a very large and very old table in the middle of a green garden";
  const { ids } = await prompts!.encode(prompt, undefined);
  const request = { ...size, limits: gpu.profile.limits, textTokens: ids.length };
  const planned = plan(manifest, { ...request, arithmetic: "f16" });
  await pipeline.generate({ ...size, prompt, numInferenceSteps: 1, seed: 1 });
  expect(Math.abs(gpu.arena.bytes / planned.stages.generate - 1)).toBeLessThan(0.05);
  expect(planned.peak).toBeLessThan(plan(manifest, request).peak);
  await pipeline.dispose();
});
