import type { PredictionType } from "./scheduler_config.ts";

/**
 * x0 as a weighted sum of the sample and the model output, for a sample alpha * x0 + sigma * noise with alpha^2 + sigma^2 = 1.
 * v = alpha * noise - sigma * x0 (Salimans & Ho, arXiv 2202.00512).
 */
export function x0Weights(
  type: PredictionType,
  alpha: number,
  sigma: number,
): { x0FromSample: number; x0FromOutput: number } {
  if (type === "epsilon") return { x0FromSample: 1 / alpha, x0FromOutput: -sigma / alpha };
  if (type === "v_prediction") return { x0FromSample: alpha, x0FromOutput: -sigma };
  return { x0FromSample: 0, x0FromOutput: 1 };
}

/** The noise as a weighted sum of the sample and the model output; see `x0Weights`. */
export function noiseWeights(
  type: PredictionType,
  alpha: number,
  sigma: number,
): { fromSample: number; fromOutput: number } {
  if (type === "epsilon") return { fromSample: 0, fromOutput: 1 };
  if (type === "v_prediction") return { fromSample: sigma, fromOutput: alpha };
  return { fromSample: 1 / sigma, fromOutput: -alpha / sigma };
}
