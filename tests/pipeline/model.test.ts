/** The shipped model: this engine against PyTorch and diffusers on the same f16 weights. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Model } from "../../src/load.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import { traceDenoiser } from "../../src/trace.ts";
import { loadGolden, readGolden, relativeError } from "../model/weights.ts";

const GOLDEN = "tests/golden/shapes-and-things";
let model: Model;
beforeAll(async () => {
  model = await loadGolden("models/shapes-and-things", "f16");
});
afterAll(() => model.gpu.dispose());

it("one forward pass agrees within 1e-4", async () => {
  const golden = await readGolden(`${GOLDEN}/case.safetensors`);
  const input = (name: string) => {
    const { shape, data } = golden(`forward.${name}`);
    return { dtype: "F32" as const, shape: [...shape], data };
  };
  const t = golden("forward.t");
  const { eps, hidden } = await traceDenoiser(model, {
    latent: input("latent"),
    embeds: input("embeds"),
    mask: input("mask"),
    t: t.integers ?? [...t.data],
  });
  // The network predicts v; `output` is what it returns, and a fixed mix of it with the latents is eps.
  expect(relativeError(eps.data as Float32Array, golden("forward.output").data), "output").toBeLessThan(1e-4);
  expect(relativeError(hidden.data as Float32Array, golden("forward.hidden").data), "hidden").toBeLessThan(1e-4);
});

it("a whole run agrees within 1e-2", async () => {
  const golden = await readGolden(`${GOLDEN}/case.safetensors`);
  const { calls } = JSON.parse(readFileSync(`${GOLDEN}/case.json`, "utf8")) as { calls: Record<string, never>[] };
  const call = calls[0]!;
  const { trace } = await LocalPipeline.of(model).generate({
    prompt: call.prompt,
    negativePrompt: call.negative_prompt,
    height: call.height,
    width: call.width,
    numInferenceSteps: call.num_inference_steps,
    guidanceScale: call.guidance_scale,
    seed: call.seed,
    trace: true,
  });
  const ids = Array.from(trace!.ids!.data as BigInt64Array, Number);
  expect(ids).toEqual(golden("0.ids").integers);
  const latents = golden("0.latents");
  const size = latents.data.length / latents.shape[0]!;
  expect(
    relativeError(trace!.latents!.data.slice(-size) as Float32Array, latents.data.slice(-size)),
    "latents",
  ).toBeLessThan(1e-2);
  expect(relativeError(trace!.image!.data as Float32Array, golden("0.image").data), "image").toBeLessThan(1e-2);
});
