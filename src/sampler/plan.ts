/** From a scheduler config to the numbers of every step. */
import { ScanvasError, show } from "../errors.ts";
import { ddimSteps } from "./ddim.ts";
import { dpmSolverSteps } from "./dpm_solver.ts";
import { eulerSteps } from "./euler.ts";
import { defaultSampler, resolveConfig, SAMPLER_CLASSES } from "./scheduler_config.ts";
import type { SchedulerConfig } from "./scheduler_config.ts";
import type { SamplerName, SamplerPlan } from "./step.ts";

/**
 * Timesteps, sigmas and updates as diffusers computes them from `config`. `name` may also be diffusers' class name; left out, it is
 * the config's own class if we have it and dpm_solver otherwise. A sampler other than the config's own takes the options that both
 * know and its own defaults for the rest, as `OtherScheduler.from_config` does (so DDIM from a DPM-Solver config clips x0 to [-1, 1],
 * because clip_sample is true by default there).
 *
 * Throws InvalidArgumentError (sampler, numInferenceSteps) or ModelConfigError (what the config asks for and we cannot do).
 */
export function planSampler(
  name: SamplerName | undefined,
  config: SchedulerConfig,
  numInferenceSteps: number,
): SamplerPlan {
  const sampler = name === undefined ? defaultSampler(config) : samplerNamed(name);
  const resolved = resolveConfig(sampler, config);
  const most = resolved.num_train_timesteps;
  if (!Number.isInteger(numInferenceSteps) || numInferenceSteps < 1 || numInferenceSteps > most) {
    throw new ScanvasError(
      "InvalidArgumentError",
      `numInferenceSteps: got ${show(numInferenceSteps)}, expected an integer from 1 to ${most} (num_train_timesteps)`,
    );
  }
  const plan = (): Omit<SamplerPlan, "name" | "timesteps"> => {
    if (sampler === "euler") return eulerSteps(resolved, numInferenceSteps);
    const steps = sampler === "ddim" ? ddimSteps : dpmSolverSteps;
    return { initNoiseSigma: 1, steps: steps(resolved, numInferenceSteps) };
  };
  const { initNoiseSigma, steps } = plan();
  for (const step of steps) {
    if (Object.values(step).every(Number.isFinite)) continue;
    throw new ScanvasError(
      "ModelConfigError",
      `${sampler}: this scheduler config gives no finite update at timestep ${step.timestep} (${resolved.prediction_type} prediction, ` +
        `rescale_betas_zero_snr ${resolved.rescale_betas_zero_snr}); use another sampler, or timestep_spacing "leading"`,
    );
  }
  return { name: sampler, initNoiseSigma, steps, timesteps: steps.map((step) => step.timestep) };
}

function samplerNamed(name: string): SamplerName {
  const sampler = SAMPLER_CLASSES.get(name) ?? [...SAMPLER_CLASSES.values()].find((known) => known === name);
  if (sampler !== undefined) return sampler;
  const known = [...SAMPLER_CLASSES].map(([className, short]) => `${short} (${className})`);
  throw new ScanvasError("InvalidArgumentError", `sampler: got ${show(name)}, expected ${known.join(", ")}`);
}
