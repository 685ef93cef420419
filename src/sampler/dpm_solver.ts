/**
 * DPM-Solver++ in its multistep form, first and second order (2M). Lu et al., arXiv 2211.01095, algorithm 2; numbers as in diffusers
 * DPMSolverMultistepScheduler with algorithm_type "dpmsolver++". With lambda = log(alpha / sigma) and h = lambda' - lambda:
 *
 *     first   x' = (sigma' / sigma) x - alpha' (e^-h - 1) x0
 *     second  ... - alpha' (e^-h - 1) / 2 * D     (midpoint)    D = (x0 - previous x0) * h / previous h
 *             ... + alpha' ((e^-h - 1) / h + 1) * D   (heun)
 */
import { alphasCumprod, interpolate, karrasSigmas, roundHalfEven, sigmasOf } from "./schedule.ts";
import { spacedTimesteps, timestepOfSigma } from "./schedule.ts";
import type { ResolvedConfig } from "./scheduler_config.ts";
import { x0Weights } from "./prediction.ts";
import { NO_LIMIT } from "./step.ts";
import type { Step } from "./step.ts";

/** The steps of DPM-Solver++; all arithmetic after the sigmas (f32, as diffusers keeps them) is f64. */
export function dpmSolverSteps(config: ResolvedConfig, count: number): Step[] {
  const { timesteps, sigmas } = dpmSolverGrid(config, count);
  const points = Array.from(sigmas, (sigma) => {
    const alpha = 1 / Math.sqrt(sigma * sigma + 1);
    return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
  });
  return timesteps.map((timestep, i) => {
    const [from, to] = [points[i], points[i + 1]];
    const h = to.lambda - from.lambda;
    const decay = to.alpha * Math.expm1(-h);
    const step: Step = {
      timestep,
      inputScale: 1,
      ...x0Weights(config.prediction_type, from.alpha, from.sigma),
      x0Limit: NO_LIMIT,
      fromSample: to.sigma / from.sigma,
      fromOutput: 0,
      fromX0: -decay,
      fromPreviousX0: 0,
    };
    const isLast = i === timesteps.length - 1;
    const few = timesteps.length < 15;
    const lastIsFirstOrder =
      config.euler_at_final || (config.lower_order_final && few) || config.final_sigmas_type === "zero";
    if (config.solver_order === 1 || i === 0 || (isLast && lastIsFirstOrder)) return step;
    const previousH = from.lambda - points[i - 1].lambda;
    if (previousH === 0) return step; // two equal timesteps: D has no meaning (diffusers divides by zero here)
    const weight = (config.solver_type === "heun" ? to.alpha + decay / h : -decay / 2) * (h / previousH);
    if (h !== 0) {
      step.fromX0 += weight;
      step.fromPreviousX0 = -weight;
    }
    return step;
  });
}

/** timesteps [count] and sigmas [count + 1] f32 (DPMSolverMultistepScheduler.set_timesteps). */
export function dpmSolverGrid(config: ResolvedConfig, count: number): { timesteps: number[]; sigmas: Float32Array } {
  const table = sigmasOf(alphasCumprod(config, true));
  const range = config.num_train_timesteps - clippedSteps(config);
  let timesteps = spacedTimesteps(config, count, count + 1, range).map(roundHalfEven);
  let sigmas = timesteps.map((t) => interpolate(table, t));
  if (config.use_karras_sigmas) {
    const logSigmas = table.map(Math.log);
    sigmas = karrasSigmas(config, table[table.length - 1], table[0], count);
    timesteps = sigmas.map((sigma) => timestepOfSigma(logSigmas, sigma));
    timesteps = timesteps.map(config.beta_schedule === "squaredcos_cap_v2" ? Math.trunc : roundHalfEven);
  }
  return { timesteps, sigmas: Float32Array.of(...sigmas, config.final_sigmas_type === "zero" ? 0 : table[0]) };
}

/** How many of the noisiest training steps lie below lambda_min_clipped and are not used. */
function clippedSteps(config: ResolvedConfig): number {
  const f32 = Math.fround;
  const lambdas = alphasCumprod(config, true).map(
    (a) => f32(Math.log(f32(Math.sqrt(a)))) - f32(Math.log(f32(Math.sqrt(f32(1 - a))))),
  );
  return lambdas.filter((lambda) => lambda < config.lambda_min_clipped).length;
}
