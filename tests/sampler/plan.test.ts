import { describe, expect, it } from "vitest";
import { dpmSolverGrid } from "../../src/sampler/dpm_solver.ts";
import { eulerGrid } from "../../src/sampler/euler.ts";
import { planSampler } from "../../src/sampler/plan.ts";
import { alphasCumprod } from "../../src/sampler/schedule.ts";
import { readSchedulerConfig, resolveConfig } from "../../src/sampler/scheduler_config.ts";
import type { SchedulerConfig } from "../../src/sampler/scheduler_config.ts";
import { applyStep } from "../../src/sampler/step.ts";
import type { SamplerName } from "../../src/sampler/step.ts";
import { readJson, readTensors, readText } from "./golden.ts";

// Made by tools/goldens/sampler.py with diffusers: see there for what a case is.
interface Case {
  config: SchedulerConfig;
  class: SamplerName;
  steps: number;
  timesteps: number[];
  init_noise_sigma: number;
  sigmas?: number[];
}
const SIZE = 8;
const tensors = readTensors("sampler/cases.safetensors");
const cases = readText("sampler/cases.json")
  .replaceAll("-Infinity", "-1e999")
  .split("\n")
  .filter((line) => line.startsWith("{"))
  .map((line) => JSON.parse(line.replace(/,$/, "")) as Case);
const classes = [...new Set(cases.map((one) => one.class))];
const casesOf = (name: string) => cases.flatMap((one, index) => (one.class === name ? [{ ...one, index }] : []));
const norm = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));

describe.each(classes)("%s as diffusers computes it", (name) => {
  it("has the same timesteps", () => {
    expect(casesOf(name).length).toBeGreaterThan(100);
    for (const one of casesOf(name)) {
      const plan = planSampler(one.class, readSchedulerConfig(one.config), one.steps);
      expect(plan.steps.map((step) => step.timestep)).toEqual(plan.timesteps);
      // Karras timesteps of Euler go through a logarithm, which torch and V8 round differently in the last f32 bit.
      const fractional = name.startsWith("Euler") && one.config.use_karras_sigmas === true;
      if (!fractional) expect(plan.timesteps, JSON.stringify(one.config)).toEqual(one.timesteps);
      expect(plan.timesteps.length).toBe(one.timesteps.length);
      plan.timesteps.forEach((t, i) => expect(Math.abs(t - one.timesteps[i])).toBeLessThanOrEqual(2 ** -13));
    }
  });

  it("has the same noise levels", () => {
    for (const one of casesOf(name)) {
      const config = readSchedulerConfig(one.config);
      const plan = planSampler(one.class, config, one.steps);
      expect(Math.abs(plan.initNoiseSigma / one.init_noise_sigma - 1)).toBeLessThan(1e-6);
      if (one.sigmas === undefined) continue;
      const grid = plan.name === "euler" ? eulerGrid : dpmSolverGrid;
      const { sigmas } = grid(resolveConfig(plan.name, config), one.steps);
      expect(sigmas.length).toBe(one.sigmas.length);
      // torch's vectorised f32 sqrt is not correctly rounded; zero-SNR rescaling takes it twice and subtracts, hence 2e-6 there.
      const tolerance = config.rescale_betas_zero_snr === true ? 2e-6 : 1e-6;
      one.sigmas.forEach((sigma, i) => expect(Math.abs(sigmas[i] - sigma)).toBeLessThanOrEqual(tolerance * sigma));
    }
  });

  it("has the same latents after every step", () => {
    for (const one of casesOf(name)) {
      const plan = planSampler(one.class, readSchedulerConfig(one.config), one.steps);
      let latents: Float32Array = tensors.noise.map((value) => value * plan.initNoiseSigma);
      let previousX0: Float32Array | undefined;
      const atFirst = norm(latents);
      plan.steps.forEach((step, i) => {
        const outputs = tensors.outputs.subarray(i * SIZE);
        const output = latents.map((value, j) => outputs[j] + Math.tanh(value * step.inputScale) / 2);
        ({ latents, x0: previousX0 } = applyStep(step, latents, output, previousX0));
        const expected = tensors[one.index].subarray(i * SIZE, (i + 1) * SIZE);
        // Relative 1e-5. Euler in diffusers adds to latents of up to 4e4 (cosine schedule) an update of their own size, so its f32 result
        // carries a few 2^-24 of that size, also when it has become small; ours does not.
        const rounding = plan.name === "euler" ? 2 ** -22 * atFirst : 0;
        const error = norm(latents.map((value, j) => value - expected[j]));
        expect(error, `step ${i} of ${JSON.stringify(one)}`).toBeLessThanOrEqual(1e-5 * norm(expected) + rounding);
      });
    }
  });
});

describe("alphasCumprod", () => {
  const keys = Object.keys(tensors).filter((key) => key.startsWith("alphas_cumprod."));
  it.each(keys)("%s, to the bit", (key) => {
    const config = readSchedulerConfig(key.slice("alphas_cumprod.".length));
    expect(alphasCumprod(resolveConfig("dpm_solver", config), true)).toEqual(tensors[key]);
    expect(tensors[key].length).toBe(1000);
  });
});

describe("timesteps of many step counts", () => {
  const sums = readJson<Record<string, [steps: number, sum: number][]>>("sampler/timestep_sums.json");
  it.each(Object.keys(sums))("%s", (key) => {
    const [name, spacing] = key.split(" ");
    for (const [steps, sum] of sums[key]) {
      const { timesteps } = planSampler(name as SamplerName, { timestep_spacing: spacing }, steps);
      expect(timesteps.length).toBe(steps);
      const actual = timesteps.reduce((total, t, i) => total + (i + 1) * t, 0);
      expect(Math.abs(actual - sum), `${steps} steps`).toBeLessThanOrEqual(1e-9 * sum);
    }
  });
});

describe("any plan", () => {
  it("goes down in time, mixes x0 only from what exists, and gives back the picture that a perfect model sees", () => {
    const picture = Float32Array.of(0.3, -1.2, 0.05, 2);
    const noise = Float32Array.of(-0.7, 0.4, 1.9, -1.1);
    for (const name of ["dpm_solver", "ddim", "euler"] as const) {
      for (const timestep_spacing of ["linspace", "leading", "trailing"]) {
        for (const steps of [1, 2, 5, 13, 31, 200]) {
          const config = { timestep_spacing, clip_sample: false, prediction_type: "sample" };
          const plan = planSampler(name, config, steps);
          expect(plan.name).toBe(name);
          expect(plan.steps[0].fromPreviousX0).toBe(0);
          for (let i = 1; i < steps; i++) expect(plan.timesteps[i]).toBeLessThan(plan.timesteps[i - 1]);
          let latents: Float32Array = noise.map((value) => value * plan.initNoiseSigma);
          let previousX0: Float32Array | undefined;
          for (const step of plan.steps) ({ latents, x0: previousX0 } = applyStep(step, latents, picture, previousX0));
          // DDIM's last stride may end at noise level 0 or just above it; the others end on x0 exactly.
          const left = name === "ddim" ? 0.05 : 1e-5;
          latents.forEach((value, i) => expect(Math.abs(value - picture[i])).toBeLessThan(left));
        }
      }
    }
  });
});
