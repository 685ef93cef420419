/** What makes a picture, as the form holds it, links carry it and files keep it. `cleanSettings` is the border for the latter two. */
import type { GenerateRequest, SamplerName } from "../index.ts";
import type { ModelCard } from "./model_card.ts";

export type Precision = "f32" | "f16";

export interface Settings {
  /** `id` of a ModelCard. */
  model: string;
  prompt: string;
  negativePrompt: string;
  /** Pixels, multiples of 16. */
  width: number;
  height: number;
  steps: number;
  guidanceScale: number;
  /** Undefined: the model's own. */
  sampler: SamplerName | undefined;
  /** Undefined: another one each time. */
  seed: number | undefined;
  count: number;
  precision: Precision;
}

export const LIMITS = {
  text: 4000, // characters
  size: { low: 16, high: 2048, step: 16 },
  steps: { low: 1, high: 150 },
  guidanceScale: { low: 0, high: 30 },
  count: { low: 1, high: 16 },
  seed: { low: 0, high: Number.MAX_SAFE_INTEGER },
} as const;

export const SAMPLERS: readonly SamplerName[] = ["dpm_solver", "ddim", "euler"];

export function defaultSettings(card: ModelCard): Settings {
  return {
    model: card.id,
    prompt: card.examples[0] ?? "",
    negativePrompt: "",
    width: card.size,
    height: card.size,
    steps: card.steps,
    guidanceScale: card.guidanceScale,
    sampler: undefined,
    seed: undefined,
    count: 1,
    precision: "f32",
  };
}

const ASPECTS = [
  { label: "1:1", ratio: 1 },
  { label: "3:2", ratio: 3 / 2 },
  { label: "2:3", ratio: 2 / 3 },
  { label: "16:9", ratio: 16 / 9 },
  { label: "9:16", ratio: 9 / 16 },
] as const;

export interface SizePreset {
  label: string;
  width: number;
  height: number;
}

/** Sizes of about as many pixels as the model was trained at. */
export function sizePresets(side: number): SizePreset[] {
  const snap = (pixels: number): number => Math.max(Math.round(pixels / LIMITS.size.step) * LIMITS.size.step, 16);
  return ASPECTS.map(({ label, ratio }) => ({
    label,
    width: snap(side * Math.sqrt(ratio)),
    height: snap(side / Math.sqrt(ratio)),
  }));
}

/** For the engine: one picture. */
export function toRequest(settings: Settings, seed: number): GenerateRequest {
  const { prompt, negativePrompt, width, height, steps, guidanceScale, sampler } = settings;
  return {
    prompt,
    negativePrompt,
    width,
    height,
    numInferenceSteps: steps,
    guidanceScale,
    ...(sampler && { sampler }),
    seed,
  };
}

/** A seed short enough to read out. */
export const randomSeed = (): number => crypto.getRandomValues(new Uint32Array(1))[0]!;

/** Whatever of an untrusted object is a setting with a possible value; all else is left out. */
export function cleanSettings(value: unknown): Partial<Settings> {
  if (typeof value !== "object" || value === null) return {};
  const input = value as Record<string, unknown>;
  const clean: Partial<Settings> = {};
  const text = (key: string, most: number = LIMITS.text): string | undefined => {
    const found = Object.hasOwn(input, key) ? input[key] : undefined;
    return typeof found === "string" ? found.slice(0, most) : undefined;
  };
  const number = (key: string, { low, high }: { low: number; high: number }, whole: boolean): number | undefined => {
    const found = Object.hasOwn(input, key) ? input[key] : undefined;
    const given = typeof found === "string" && found.trim() !== "" ? Number(found) : found;
    if (typeof given !== "number" || !(given >= low && given <= high)) return undefined;
    return whole ? Math.round(given) : given;
  };
  const set = <K extends keyof Settings>(key: K, found: Settings[K] | undefined): void => {
    if (found !== undefined) clean[key] = found;
  };
  const size = (key: string): number | undefined => {
    const pixels = number(key, LIMITS.size, true);
    return pixels === undefined ? undefined : Math.round(pixels / LIMITS.size.step) * LIMITS.size.step;
  };
  set("model", text("model", 100));
  set("prompt", text("prompt"));
  set("negativePrompt", text("negativePrompt"));
  set("width", size("width"));
  set("height", size("height"));
  set("steps", number("steps", LIMITS.steps, true));
  set("guidanceScale", number("guidanceScale", LIMITS.guidanceScale, false));
  set("seed", number("seed", LIMITS.seed, true));
  set("count", number("count", LIMITS.count, true));
  set(
    "sampler",
    SAMPLERS.find((name) => name === text("sampler", 20)),
  );
  set(
    "precision",
    (["f32", "f16"] as const).find((name) => name === text("precision", 3)),
  );
  return clean;
}
