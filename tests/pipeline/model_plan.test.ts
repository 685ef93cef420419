/** The plan against what the engine then allocates, and what it says when nothing fits. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocalPipeline } from "../../src/pipeline.ts";
import { plan } from "../../src/model_plan.ts";
import { downloadBytes, parseManifest, type Manifest } from "../../src/weights/manifest.ts";
import { convert } from "../../tools/convert/convert.ts";
import { loadGolden } from "../model/weights.ts";
import { scratch } from "../weights/fixtures.ts";
import { PIXART } from "./golden.ts";

const SHIPPED = "models/shapes-and-things";
let manifest: Manifest;
beforeAll(async () => {
  const out = await scratch();
  await convert(SHIPPED, out, { dtype: "f16" });
  manifest = parseManifest(await readFile(join(out, "manifest.json"), "utf8"));
});

describe("the plan of the shipped model", () => {
  it("is exact for the weights, and names the download", () => {
    const planned = plan(manifest, { height: 256, width: 256 });
    expect(planned.download).toBe(downloadBytes(manifest));
    expect(planned.verdict).toBe("fits");
    expect(planned.advice).toBeUndefined();
    const half = plan(manifest, { height: 256, width: 256, dtype: "f32" });
    expect(half.weights.transformer!).toBeGreaterThan(1.7 * planned.weights.transformer!);
    expect(half.stages.generate - planned.stages.generate).toBe(
      Object.values(half.weights).reduce((a, b) => a + b) - Object.values(planned.weights).reduce((a, b) => a + b),
    );
  });

  it("never takes the weights' memory for that of activations, however long they are in use", () => {
    const session = (dtype: "f32" | "q4"): number => {
      const { stages, weights } = plan(manifest, { height: 256, width: 256, guidanceMode: "passes", dtype });
      return stages.generate - Object.values(weights).reduce((a, b) => a + b);
    };
    expect(session("f32")).toBe(session("q4"));
  });

  it("knows what another conversion of it would take", async () => {
    const out = await scratch();
    await convert(SHIPPED, out, { dtype: "q4,vae=q4" });
    const q4 = parseManifest(await readFile(join(out, "manifest.json"), "utf8"));
    expect(plan(manifest, { dtype: "q4" }).weights).toEqual(plan(q4).weights);
  });

  it("streams the text encoder when that is what it takes, and says what would fit when nothing does", () => {
    const whole = plan(manifest, { textEncoder: "resident" });
    const streamed = plan(manifest, { textEncoder: "streamed" });
    expect(streamed.peak).toBeLessThan(whole.peak);
    const tight = plan(manifest, { memoryBytes: streamed.peak });
    expect([tight.verdict, tight.textEncoder, tight.peak]).toEqual(["fits streamed", "streamed", streamed.peak]);
    const small = plan(manifest, { height: 2048, width: 1024, memoryBytes: streamed.peak });
    expect(small.verdict).toBe("does not fit");
    expect(small.advice).toMatch(/^it needs \d+ bytes of GPU memory, there are \d+; \d+ x \d+ fits$/);
    const none = plan(manifest, { memoryBytes: 1000 });
    expect(none.advice).toMatch(/no size fits; convert the model with --dtype q8 or q4$/);
  });

  it("refuses sizes that generate would refuse", () => {
    expect(() => plan(manifest, { height: 100, width: 64 })).toThrow(/64 x 100 are not multiples of 16 pixels/);
  });
});

describe("the plan against the device", () => {
  let pipeline: LocalPipeline;
  beforeAll(async () => {
    pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`));
  });
  afterAll(() => pipeline.dispose());

  it.each([
    { height: 64, width: 96, guidanceScale: 4.5 },
    { height: 48, width: 48, guidanceScale: 1 },
  ])("peaks where it was planned: $width x $height, guidance $guidanceScale", async (size) => {
    const { gpu, manifest: own } = pipeline.model;
    const prompt = "a red cat on a very large and very old table in the middle of a green garden";
    const { ids } = await pipeline.model.prompts!.encode(prompt, undefined);
    const { limits } = gpu.profile;
    const planned = plan(own, { ...size, limits, textTokens: ids.length });
    await pipeline.generate({ ...size, prompt, numInferenceSteps: 1, seed: 1 });
    // Which kernels this device prefers, and with them a few kilobytes, the plan cannot know.
    expect(Math.abs(gpu.arena.bytes / planned.stages.generate - 1)).toBeLessThan(0.01);
    // A new prompt of the same length, while the picture's memory is held: the highest point.
    gpu.arena.peak = gpu.arena.bytes;
    await pipeline.generate({ ...size, prompt: prompt.replace("red", "blue"), numInferenceSteps: 1, seed: 1 });
    expect(Math.abs(gpu.arena.peak / planned.peak - 1)).toBeLessThan(0.05); // 200 KB, of a model of 4 MB
  });
});
