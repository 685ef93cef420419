/** Cases of tests/golden that were made by diffusers' pipelines, as requests. */
import { readFileSync } from "node:fs";
import type { GenerateRequest, NamedTensor } from "../../src/worker/api.ts";

export const PIXART = "tests/golden/pixart";

/** One entry of cases.json, in the words of diffusers. */
export interface GoldenCase {
  name?: string;
  prompt: string;
  negative_prompt: string;
  height: number;
  width: number;
  num_inference_steps: number;
  guidance_scale: number;
  seed: number;
  scheduler?: Record<string, unknown>;
}

export const readCases = (path: string): GoldenCase[] => JSON.parse(readFileSync(path, "utf8")) as GoldenCase[];

export const requestOf = (one: GoldenCase): GenerateRequest => ({
  prompt: one.prompt,
  negativePrompt: one.negative_prompt,
  height: one.height,
  width: one.width,
  numInferenceSteps: one.num_inference_steps,
  guidanceScale: one.guidance_scale,
  seed: one.seed,
});

/** The f32 numbers of a tensor of a trace. */
export function numbers(tensor: NamedTensor | undefined): Float32Array {
  if (!(tensor?.data instanceof Float32Array)) throw new Error(`expected an F32 tensor, got ${tensor?.dtype}`);
  return tensor.data;
}

/** Largest |a - b|; Infinity when the lengths differ or anything is not a number. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length || a.length === 0) return Infinity;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= most)) most = Number.isNaN(difference) ? Infinity : difference;
  }
  return most;
}
