/**
 * DDIM with eta 0 (Song et al., arXiv 2010.02502, equation 12): x' = sqrt(a') x0 + sqrt(1 - a') noise, where a' is alpha_bar one
 * stride earlier. Numbers as in diffusers DDIMScheduler.
 */
import { ScanvasError } from "../errors.ts";
import { noiseWeights, x0Weights } from "./prediction.ts";
import { alphasCumprod, roundHalfEven, spacedTimesteps } from "./schedule.ts";
import type { ResolvedConfig } from "./scheduler_config.ts";
import { NO_LIMIT } from "./step.ts";
import type { Step } from "./step.ts";

export function ddimSteps(config: ResolvedConfig, count: number): Step[] {
  const alphaBar = alphasCumprod(config, false);
  const stride = Math.floor(config.num_train_timesteps / count);
  const final = config.set_alpha_to_one ? 1 : alphaBar[0];
  return spacedTimesteps(config, count, count, config.num_train_timesteps).map((spaced) => {
    const timestep = roundHalfEven(spaced);
    if (timestep >= alphaBar.length) {
      throw new ScanvasError(
        "InvalidArgumentError",
        `numInferenceSteps: got ${count}, which with steps_offset ${config.steps_offset} reaches timestep ${timestep}, beyond the ` +
          `${alphaBar.length} the model was trained on; ask for fewer steps`,
      );
    }
    const a = alphaBar[timestep];
    const next = timestep >= stride ? alphaBar[timestep - stride] : final;
    const [alpha, sigma] = [Math.sqrt(a), Math.sqrt(1 - a)];
    const [nextAlpha, nextSigma] = [Math.sqrt(next), Math.sqrt(1 - next)];
    const common = { timestep, inputScale: 1, ...x0Weights(config.prediction_type, alpha, sigma), fromPreviousX0: 0 };
    if (config.clip_sample) {
      // diffusers clamps x0 but keeps the direction of the raw output, so the output has a weight of its own.
      const noise = noiseWeights(config.prediction_type, alpha, sigma);
      return {
        ...common,
        x0Limit: config.clip_sample_range,
        fromSample: nextSigma * noise.fromSample,
        fromOutput: nextSigma * noise.fromOutput,
        fromX0: nextAlpha,
      };
    }
    const ratio = nextSigma / sigma; // noise = (sample - alpha x0) / sigma
    return { ...common, x0Limit: NO_LIMIT, fromSample: ratio, fromOutput: 0, fromX0: nextAlpha - ratio * alpha };
  });
}
