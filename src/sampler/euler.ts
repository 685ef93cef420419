/**
 * Euler's method on the variance-exploding form of the same process (Karras et al., arXiv 2206.00364, algorithm 1 without churn):
 * latents are x0 + sigma * noise, the model sees latents / sqrt(sigma^2 + 1). Numbers as in diffusers EulerDiscreteScheduler.
 */
import { alphasCumprod, interpolate, karrasSigmas, sigmasOf, spacedTimesteps, timestepOfSigma } from "./schedule.ts";
import type { ResolvedConfig } from "./scheduler_config.ts";
import { x0Weights } from "./prediction.ts";
import { NO_LIMIT } from "./step.ts";
import type { Step } from "./step.ts";

export function eulerSteps(config: ResolvedConfig, count: number): { initNoiseSigma: number; steps: Step[] } {
  const { timesteps, sigmas } = eulerGrid(config, count);
  const largest = Math.max(...sigmas);
  const steps = timesteps.map((timestep, i): Step => {
    const [sigma, next] = [sigmas[i], sigmas[i + 1]];
    const inputScale = 1 / Math.sqrt(sigma * sigma + 1);
    const weights = x0Weights(config.prediction_type, inputScale, sigma * inputScale); // for the scaled sample
    return {
      timestep,
      inputScale,
      x0FromSample: weights.x0FromSample * inputScale,
      x0FromOutput: weights.x0FromOutput,
      x0Limit: NO_LIMIT,
      fromSample: next / sigma,
      fromOutput: 0,
      fromX0: 1 - next / sigma,
      fromPreviousX0: 0,
    };
  });
  const initNoiseSigma = config.timestep_spacing === "leading" ? Math.sqrt(largest * largest + 1) : largest;
  return { initNoiseSigma, steps };
}

/** timesteps [count] f32, fractional where the spacing is, and sigmas [count + 1] f32 (EulerDiscreteScheduler.set_timesteps). */
export function eulerGrid(config: ResolvedConfig, count: number): { timesteps: number[]; sigmas: Float32Array } {
  const table = sigmasOf(alphasCumprod(config, true));
  let timesteps = spacedTimesteps(config, count, count, config.num_train_timesteps).map(Math.fround);
  let sigmas = timesteps.map((t) => interpolate(table, t));
  if (config.use_karras_sigmas) {
    const logSigmas = table.map(Math.log);
    sigmas = karrasSigmas(config, sigmas[0], sigmas[count - 1], count);
    timesteps = sigmas.map((sigma) => Math.fround(timestepOfSigma(logSigmas, sigma)));
  }
  return { timesteps, sigmas: Float32Array.of(...sigmas, config.final_sigmas_type === "zero" ? 0 : table[0]) };
}
