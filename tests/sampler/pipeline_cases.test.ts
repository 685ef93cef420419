import { describe, expect, it } from "vitest";
import { torchRandn } from "../../src/sampler/noise.ts";
import { planSampler } from "../../src/sampler/plan.ts";
import { readSchedulerConfig } from "../../src/sampler/scheduler_config.ts";
import type { SchedulerConfig } from "../../src/sampler/scheduler_config.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { readJson, readTensors } from "./golden.ts";

// What whole generations by diffusers' PixArtAlphaPipeline (tools/goldens/pipeline.py) say about everything around the model.
interface Case {
  name: string;
  prompt: string;
  height: number;
  width: number;
  num_inference_steps: number;
  seed: number;
  scheduler: SchedulerConfig;
}
const cases = readJson<Case[]>("sampler/pipeline_cases.json").map((one, index) => ({ ...one, index }));
const tensors = readTensors("sampler/pipeline_case.safetensors");
const tokenizer = loadTokenizer(readJson("text/pixart/tokenizer.json"), readJson("text/pixart/tokenizer_config.json"));

describe("a generation by diffusers", () => {
  it.each(cases)("$name: same noise, timesteps and tokens", (one) => {
    const plan = planSampler(undefined, readSchedulerConfig(one.scheduler), one.num_inference_steps);
    expect(plan.timesteps).toEqual([...tensors[`${one.index}.timesteps`]]);

    const noise = tensors[`${one.index}.noise`];
    expect(noise.length).toBe((4 * one.height * one.width) / 64);
    torchRandn(one.seed, noise.length).forEach((value, i) => expect(Math.abs(value - noise[i])).toBeLessThan(1e-6));

    const { ids, truncated } = tokenizer.tokenize(one.prompt, 120);
    expect([...ids]).toEqual([...tensors[`${one.index}.ids`]]);
    expect(truncated).toBe(one.name.includes("longer than 120"));
  });
});
