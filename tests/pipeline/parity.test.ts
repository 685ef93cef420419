// Whole pictures against diffusers' PixArtAlphaPipeline in f32 (tools/goldens), every stage on the way, through the main path.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { LocalPipeline } from "../../src/pipeline.ts";
import type { GenerateResult } from "../../src/worker/api.ts";
import { loadGolden, readGolden, relativeError, type GoldenTensor } from "../model/weights.ts";
import { largestDifference, numbers, PIXART, readCases, requestOf } from "./golden.ts";

// A first picture compiles every pipeline: 15 s on two idle cores, minutes where other work has them.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

type Golden = (name: string) => GoldenTensor;
const cases = readCases(`${PIXART}/cases.json`);
const samplerCases = readCases("tests/golden/sampler/pipeline_cases.json");

/** The final latents: the last of [steps, ...]. */
const last = (data: Float32Array, steps: number): Float32Array => data.subarray((data.length / steps) * (steps - 1));

/** What the contract allows: one forward pass of the text encoder, and latents and image after all steps. */
const F32 = { embeds: 1e-4, picture: 1e-3 };
const F16 = { embeds: 1e-2, picture: 1e-2 };

/** All that a trace holds, held against case `n`. */
function expectParity(
  { trace, images }: GenerateResult,
  golden: Golden,
  n: number,
  steps: number,
  tolerance: typeof F32,
): void {
  const ids = golden(`${n}.ids`).integers!;
  expect(Array.from(trace!.ids.data, Number)).toEqual(ids);
  expect(largestDifference(numbers(trace!.noise), golden(`${n}.noise`).data), "noise").toBeLessThan(1e-6);
  const embeds = golden(`${n}.prompt_embeds`);
  const real = golden(`${n}.prompt_mask`).data.reduce((sum, one) => sum + one, 0);
  expect(real).toBe(ids.length);
  const rows = embeds.data.subarray(0, real * embeds.shape[2]);
  expect(relativeError(numbers(trace!.prompt_embeds), rows), "prompt embeddings").toBeLessThan(tolerance.embeds);
  const latents = golden(`${n}.latents`);
  expect(trace!.latents.shape).toEqual([...latents.shape]);
  expect(relativeError(last(numbers(trace!.latents), steps), last(latents.data, steps)), "latents").toBeLessThan(
    tolerance.picture,
  );
  const image = golden(`${n}.image`);
  expect(trace!.image.shape).toEqual([...image.shape]);
  expect(relativeError(numbers(trace!.image), image.data), "image").toBeLessThan(tolerance.picture);
  // The bytes are the trace's numbers, rounded.
  const [, , height, width] = image.shape;
  const pixels = height * width;
  expect([images[0].width, images[0].height]).toEqual([width, height]);
  const bytes = Array.from(image.data, (_, i) => images[0].data[4 * (i % pixels) + Math.floor(i / pixels)]);
  const expected = Array.from(numbers(trace!.image), (value) => value * 255);
  expect(largestDifference(bytes, expected), "bytes").toBeLessThan(0.5001);
}

describe("pictures with f32 weights against diffusers", () => {
  let pipeline: LocalPipeline;
  let golden: Golden;
  let samplerGolden: Golden;
  beforeAll(async () => {
    pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`));
    golden = await readGolden(`${PIXART}/case.safetensors`);
    samplerGolden = await readGolden("tests/golden/sampler/pipeline_case.safetensors");
  });
  afterAll(() => pipeline.dispose());

  it.each(cases.map((one, n) => ({ ...one, n })))("PixArt case $n: $prompt", async ({ n, ...one }) => {
    const result = await pipeline.generate({ ...requestOf(one), trace: true });
    expectParity(result, golden, n, one.num_inference_steps, F32);
    expect(Array.from(result.trace!.timesteps.data, Number)).toEqual(golden(`${n}.timesteps`).integers);
  });

  it.each(samplerCases.map((one, n) => ({ ...one, n })))("sampler case $n: $name", async ({ n, ...one }) => {
    const { manifest } = pipeline.model;
    const own = manifest.scheduler;
    Object.assign(manifest, { scheduler: one.scheduler });
    try {
      const result = await pipeline.generate({ ...requestOf(one), trace: true });
      expectParity(result, samplerGolden, n, one.num_inference_steps, F32);
      expect(
        largestDifference(Array.from(result.trace!.timesteps.data, Number), samplerGolden(`${n}.timesteps`).data),
      ).toBeLessThan(1e-3);
      expect(result.truncated.prompt).toBe(one.name!.includes("longer than"));
    } finally {
      Object.assign(manifest, { scheduler: own });
    }
  });

  it('guidanceMode "passes" makes the picture of "batch"', async () => {
    const request = { ...requestOf(cases[0]), height: 64, width: 64, numInferenceSteps: 3, trace: true };
    const batch = await pipeline.generate({ ...request, guidanceMode: "batch" });
    const passes = await pipeline.generate({ ...request, guidanceMode: "passes" });
    for (const name of ["latents", "image"]) {
      expect(relativeError(numbers(passes.trace![name]), numbers(batch.trace![name])), name).toBeLessThan(1e-5);
    }
  });

  it("picture i of several is the picture of seed + i", async () => {
    const request = { ...requestOf(cases[0]), height: 32, width: 48, numInferenceSteps: 2, seed: 7 };
    const three = await pipeline.generate({ ...request, numImages: 3 });
    const third = await pipeline.generate({ ...request, seed: 9 });
    expect(three.images.length).toBe(3);
    expect(three.images[2].data).toEqual(third.images[0].data);
    expect(three.images[1].data).not.toEqual(third.images[0].data);
  });
});

it("f16 weights stay within 1e-2 of diffusers' picture", async () => {
  const pipeline = LocalPipeline.of(await loadGolden(`${PIXART}/pipeline`, "f16"));
  try {
    const golden = await readGolden(`${PIXART}/case.safetensors`);
    const result = await pipeline.generate({ ...requestOf(cases[1]), trace: true });
    expectParity(result, golden, 1, cases[1].num_inference_steps, F16);
  } finally {
    pipeline.dispose();
  }
});
