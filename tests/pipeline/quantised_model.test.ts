/** What 8 and 4 bits a weight do to the shipped model's prediction, at every step of pictures as f32 makes them. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Model } from "../../src/load.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import { traceDenoiser } from "../../src/trace.ts";
import type { TraceRequest } from "../../src/worker/api.ts";
import { loadGolden, relativeError } from "../model/weights.ts";
import { numbers } from "./golden.ts";

const SHIPPED = "models/shapes-and-things";
const PROMPTS = ["a red circle", "a blue square to the left of a green triangle", "three yellow stars"];
const STEPS = 4;

const f32 = (shape: number[], parts: ArrayLike<number>[]) => ({
  dtype: "F32" as const,
  shape,
  data: Float32Array.from(parts.flatMap((part) => Array.from(part))),
});
const predict = async (model: Model, request: TraceRequest): Promise<Float32Array> =>
  numbers((await traceDenoiser(model, request)).eps);

const requests: TraceRequest[] = [];
const wanted: Float32Array[] = [];
let model: Model;
beforeAll(async () => {
  model = await loadGolden(SHIPPED, "f32");
  const pipeline = LocalPipeline.of(model);
  for (const prompt of PROMPTS) {
    const { trace } = await pipeline.generate({ prompt, seed: 0, numInferenceSteps: STEPS, trace: true });
    const { noise, latents, prompt_embeds: embeds, timesteps } = trace!;
    const [, tokens, width] = embeds!.shape as [number, number, number];
    const before = numbers(latents!).subarray(0, -numbers(noise!).length);
    requests.push({
      latent: f32([STEPS, ...noise!.shape.slice(1)], [numbers(noise!), before]),
      embeds: f32([STEPS, tokens, width], Array<ArrayLike<number>>(STEPS).fill(numbers(embeds!))),
      mask: f32([STEPS, tokens], [new Float32Array(STEPS * tokens).fill(1)]),
      t: Array.from(timesteps!.data, Number),
    });
    wanted.push(await predict(model, requests.at(-1)!));
  }
  await pipeline.dispose();
}, 300_000);
afterAll(() => model.gpu.dispose());

it.each([
  { dtype: "q8", most: 1e-2 },
  { dtype: "q4", most: 9e-2 },
] as const)("$dtype stays within $most of f32", { timeout: 300_000 }, async ({ dtype, most }) => {
  model = await loadGolden(SHIPPED, dtype);
  const got = [];
  for (const request of requests) got.push(await predict(model, request));
  model.gpu.dispose();
  const join = (parts: Float32Array[]) => parts.flatMap((part) => Array.from(part));
  const error = relativeError(join(got), join(wanted));
  expect(error).toBeLessThan(most);
  expect(error).toBeGreaterThan(most / 10); // the weights are quantised indeed
});
