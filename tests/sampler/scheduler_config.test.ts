import { describe, expect, it } from "vitest";
import { planSampler } from "../../src/sampler/plan.ts";
import { defaultSampler, readSchedulerConfig, resolveConfig } from "../../src/sampler/scheduler_config.ts";
import type { SamplerName } from "../../src/sampler/step.ts";
import { NO_LIMIT } from "../../src/sampler/step.ts";

const PIXART = `{
  "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.22.0.dev0", "algorithm_type": "dpmsolver++",
  "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001, "lambda_min_clipped": -Infinity, "solver_order": 2,
  "thresholding": false, "trained_betas": null, "variance_type": null, "sample_max_value": 1.0
}`;
const named = (name: string) => expect.objectContaining({ name }) as Error;

describe("readSchedulerConfig", () => {
  it("reads Python's -Infinity, Infinity and NaN, but not inside strings", () => {
    const config = readSchedulerConfig(PIXART);
    expect(config.lambda_min_clipped).toBe(-Infinity);
    expect(config.beta_end).toBe(0.02);
    expect(resolveConfig("dpm_solver", config).lambda_min_clipped).toBe(-Infinity);
    expect(readSchedulerConfig({ lambda_min_clipped: "-Infinity" }).lambda_min_clipped).toBe(-Infinity);
    const stored = JSON.parse(JSON.stringify(config)) as unknown; // -Infinity becomes null
    expect(planSampler("dpm_solver", readSchedulerConfig(stored), 6)).toEqual(planSampler("dpm_solver", config, 6));
    const text = '{"_note": "-Infinity \\" NaN", "rho": NaN, "sigma_max": Infinity}';
    expect(readSchedulerConfig(text)).toEqual({ _note: '-Infinity " NaN', rho: null, sigma_max: Infinity });
  });

  it.each([
    ["not JSON", "<html>"],
    ["an array", "[]"],
    ["null", null],
    ["a number", 3],
    ["an unknown class", { _class_name: "FlowMatchEulerDiscreteScheduler" }],
    ["a class name that every object has", { _class_name: "constructor" }],
    ["a class name that is no string", { _class_name: 7 }],
    ["an unknown option", { use_magic: true }],
  ])("refuses %s", (_, source) => {
    expect(() => readSchedulerConfig(source)).toThrow(named("ModelConfigError"));
  });

  it("says what was got and what is supported", () => {
    expect(() => readSchedulerConfig({ _class_name: "LCMScheduler" })).toThrow(/LCMScheduler.*DDIMScheduler/);
    const config = readSchedulerConfig({ algorithm_type: "sde-dpmsolver++" });
    expect(() => planSampler("dpm_solver", config, 4)).toThrow(/algorithm_type.*sde-dpmsolver\+\+.*"dpmsolver\+\+"/);
  });

  it("lets unknown options pass that are off", () => {
    expect(() => readSchedulerConfig({ future_option: false, other: null })).not.toThrow();
  });
});

describe("planSampler", () => {
  it("takes the config's own class, and dpm_solver for any other", () => {
    expect(defaultSampler(readSchedulerConfig(PIXART))).toBe("dpm_solver");
    expect(planSampler(undefined, { _class_name: "EulerDiscreteScheduler" }, 3).name).toBe("euler");
    expect(planSampler(undefined, { _class_name: "DDIMScheduler" }, 3).name).toBe("ddim");
    expect(planSampler(undefined, readSchedulerConfig({ _class_name: "PNDMScheduler" }), 3).name).toBe("dpm_solver");
    expect(planSampler(undefined, {}, 3).name).toBe("dpm_solver");
    expect(planSampler("EulerDiscreteScheduler" as SamplerName, {}, 3).name).toBe("euler");
  });

  it.each(["ddpm", "constructor", "", "toString"])("refuses the sampler %j", (name) => {
    expect(() => planSampler(name as SamplerName, {}, 3)).toThrow(named("InvalidArgumentError"));
  });

  it.each([0, -1, 1.5, NaN, Infinity, 1001, "4" as unknown as number])("refuses %s steps", (steps) => {
    expect(() => planSampler("ddim", {}, steps)).toThrow(named("InvalidArgumentError"));
  });

  it("refuses step counts that leave no stride or run past the training range", () => {
    expect(() => planSampler("dpm_solver", { timestep_spacing: "leading" }, 1000)).toThrow(
      named("InvalidArgumentError"),
    );
    expect(() => planSampler("dpm_solver", { timestep_spacing: "leading" }, 1000)).toThrow(/at most 999/);
    expect(planSampler("dpm_solver", { timestep_spacing: "leading" }, 999).timesteps.length).toBe(999);
    expect(() => planSampler("ddim", { steps_offset: 1 }, 1000)).toThrow(named("InvalidArgumentError"));
    expect(planSampler("ddim", {}, 1000).timesteps[0]).toBe(999);
  });

  it.each<[SamplerName, Record<string, unknown>]>([
    ["dpm_solver", { algorithm_type: "dpmsolver" }],
    ["dpm_solver", { solver_order: 3 }],
    ["dpm_solver", { thresholding: true }],
    ["dpm_solver", { use_lu_lambdas: true }],
    ["dpm_solver", { use_flow_sigmas: true }],
    ["dpm_solver", { prediction_type: "flow_prediction" }],
    ["dpm_solver", { variance_type: "learned_range" }],
    ["dpm_solver", { use_beta_sigmas: true }],
    ["dpm_solver", { beta_schedule: "sigmoid" }],
    ["dpm_solver", { num_train_timesteps: 0 }],
    ["dpm_solver", { beta_end: "0.02" }],
    ["dpm_solver", { trained_betas: [0.1, 0.2] }],
    ["ddim", { thresholding: true }],
    ["ddim", { steps_offset: 0.5 }],
    ["ddim", { rescale_betas_zero_snr: true, timestep_spacing: "trailing" }], // x0 from epsilon alone: a division by zero
    ["euler", { interpolation_type: "log_linear" }],
    ["euler", { timestep_type: "continuous" }],
    ["euler", { use_exponential_sigmas: true }],
    ["euler", { timestep_spacing: "karras" }],
  ])("%s refuses %j", (name, config) => {
    expect(() => planSampler(name, readSchedulerConfig(config), 4)).toThrow(named("ModelConfigError"));
  });

  it("ignores the options of other classes, and those that a loader filled in", () => {
    expect(() => planSampler("euler", { thresholding: true, solver_order: 3 }, 4)).not.toThrow();
    expect(resolveConfig("ddim", { timestep_spacing: "trailing" }).timestep_spacing).toBe("trailing");
    const filledIn = { timestep_spacing: "trailing", _use_default_values: ["timestep_spacing"] };
    expect(resolveConfig("ddim", filledIn).timestep_spacing).toBe("leading");
  });

  it("clips x0 where DDIM's config does, and only there", () => {
    const limits = (name: SamplerName, config: Record<string, unknown>) =>
      planSampler(name, config, 3).steps.map((step) => step.x0Limit);
    expect(limits("ddim", { clip_sample: true, clip_sample_range: 2 })).toEqual([2, 2, 2]);
    expect(limits("ddim", { clip_sample: false })).toEqual([NO_LIMIT, NO_LIMIT, NO_LIMIT]);
    expect(limits("dpm_solver", { clip_sample: true })).toEqual([NO_LIMIT, NO_LIMIT, NO_LIMIT]);
  });

  it("runs every allowed count of steps without a number that is not finite", () => {
    for (const name of ["dpm_solver", "ddim", "euler"] as const) {
      for (const timestep_spacing of ["linspace", "trailing"]) {
        for (const steps of [997, 998, 999, 1000]) {
          const plan = planSampler(name, { timestep_spacing }, steps);
          expect(plan.steps.flatMap((step) => Object.values(step) as number[]).every(Number.isFinite)).toBe(true);
          expect(plan.timesteps.every((t) => t >= 0 && t <= 999)).toBe(true);
        }
      }
    }
  });
});
