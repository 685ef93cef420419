/**
 * A sampler, here, is a list of steps, and a step is a handful of numbers. Every update rule we follow is linear in (latents, model
 * output, x0, x0 of the step before), so the engine runs them all in one kernel, `guide_and_step`, whose numbers sit in a small
 * tensor. Per element, with `output` the model output after guidance:
 *
 *     input  = inputScale * latents                                      what the model sees, with `timestep`
 *     x0     = clamp(x0FromSample * latents + x0FromOutput * output, -x0Limit, x0Limit)
 *     latents <- fromSample * latents + fromOutput * output + fromX0 * x0 + fromPreviousX0 * previousX0
 *
 * Epsilon, v and x0 prediction differ in x0From* alone.
 */
export interface Step {
  /** What the model is told: 0 .. num_train_timesteps - 1; an integer except for Euler, where it may lie between two. */
  timestep: number;
  inputScale: number;
  x0FromSample: number;
  x0FromOutput: number;
  /** Clamp of x0; `NO_LIMIT` (the clamp does nothing) unless a DDIM config says clip_sample. */
  x0Limit: number;
  fromSample: number;
  /** Not zero only where x0 is clamped: the direction then comes from the model output, not from x0. */
  fromOutput: number;
  fromX0: number;
  /** Weight of the x0 of the step before; 0 in the first step, where there is none. */
  fromPreviousX0: number;
}

/** Public names of the samplers. diffusers: DPMSolverMultistepScheduler, DDIMScheduler, EulerDiscreteScheduler. */
export type SamplerName = "dpm_solver" | "ddim" | "euler";

export interface SamplerPlan {
  name: SamplerName;
  /** The first latents are this times standard normal noise. */
  initNoiseSigma: number;
  /** [steps], first to last. */
  steps: Step[];
  /** [steps], the timesteps of `steps`. */
  timesteps: number[];
}

/** The largest f32: a clamp that lets everything through and still fits in a uniform (WGSL promises nothing for infinities). */
export const NO_LIMIT = 3.4028234663852886e38;

/** x0 and latents are [n] f32, as the kernel stores them. */
export interface StepResult {
  latents: Float32Array;
  x0: Float32Array;
}

/** One update on the CPU: what `guide_and_step` computes once guidance is done. `previousX0` may be missing in the first step. */
export function applyStep(
  step: Step,
  latents: Float32Array,
  output: Float32Array,
  previousX0: Float32Array | undefined,
): StepResult {
  const next = new Float32Array(latents.length);
  const x0 = new Float32Array(latents.length);
  for (let i = 0; i < latents.length; i++) {
    const estimate = step.x0FromSample * latents[i] + step.x0FromOutput * output[i];
    x0[i] = Math.min(Math.max(estimate, -step.x0Limit), step.x0Limit);
    const previous = step.fromPreviousX0 === 0 ? 0 : step.fromPreviousX0 * previousX0![i];
    next[i] = step.fromSample * latents[i] + step.fromOutput * output[i] + step.fromX0 * x0[i] + previous;
  }
  return { latents: next, x0 };
}
