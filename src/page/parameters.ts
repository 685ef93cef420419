/**
 * Settings inside a picture, twice: `parameters` is the text that AUTOMATIC1111's web UI started and most tools show, `scanvas` is exact
 * JSON. Reading prefers the second and takes the first of any tool.
 */
import { addText, readText } from "./png.ts";
import { cleanSettings, type Settings } from "./settings.ts";

const JSON_KEYWORD = "scanvas";
const TEXT_KEYWORD = "parameters";

const SAMPLER_NAMES = { dpm_solver: "DPM++ 2M", ddim: "DDIM", euler: "Euler" } as const;

/** A PNG that says how it was made. */
export async function withSettings(png: Blob, settings: Settings): Promise<Blob> {
  return addText(new Uint8Array(await png.arrayBuffer()), [
    { keyword: TEXT_KEYWORD, text: toParameters(settings) },
    { keyword: JSON_KEYWORD, text: JSON.stringify(settings) },
  ]);
}

/** The settings in a PNG; undefined when it has none. */
export async function settingsOf(file: Blob): Promise<Partial<Settings> | undefined> {
  const texts = readText(new Uint8Array(await file.arrayBuffer()));
  const exact = texts.find(({ keyword }) => keyword === JSON_KEYWORD);
  const text = texts.find(({ keyword }) => keyword === TEXT_KEYWORD);
  const found = (exact && parseJson(exact.text)) ?? (text && fromParameters(text.text));
  return found && Object.keys(found).length > 0 ? found : undefined;
}

/** Prompt, a line for the negative one, a line of "Name: value" pairs. */
export function toParameters(settings: Settings): string {
  const { prompt, negativePrompt, steps, sampler, guidanceScale, seed, width, height, model } = settings;
  const pairs = [
    `Steps: ${steps}`,
    sampler && `Sampler: ${SAMPLER_NAMES[sampler]}`,
    `CFG scale: ${guidanceScale}`,
    `Seed: ${seed}`,
    `Size: ${width}x${height}`,
    `Model: ${model}`,
  ];
  const negative = negativePrompt ? [`Negative prompt: ${negativePrompt}`] : [];
  return [prompt, ...negative, pairs.filter(Boolean).join(", ")].join("\n");
}

/** The other way. Pairs that are not known here, other tools have many, are passed over. */
export function fromParameters(text: string): Partial<Settings> | undefined {
  const lines = text.split("\n");
  const last = lines.findLastIndex((line) => /^Steps: \d/.test(line));
  if (last < 0) return undefined;
  const pairs = new Map(
    [...lines[last]!.slice(0, 2000).matchAll(/([A-Za-z ]{1,30}): ([^,]{1,100})(?:, |$)/g)].map(([, key, value]) => [
      key!.trim(),
      value!,
    ]),
  );
  const negative = lines.findIndex((line) => line.startsWith("Negative prompt: "));
  const [width, height] = (pairs.get("Size") ?? "").split("x");
  const sampler = Object.entries(SAMPLER_NAMES).find(([, name]) => pairs.get("Sampler")?.startsWith(name));
  return cleanSettings({
    prompt: lines.slice(0, negative < 0 ? last : negative).join("\n"),
    negativePrompt: negative < 0 ? "" : lines.slice(negative, last).join("\n").slice("Negative prompt: ".length),
    steps: pairs.get("Steps"),
    guidanceScale: pairs.get("CFG scale"),
    seed: pairs.get("Seed"),
    model: pairs.get("Model"),
    sampler: sampler?.[0],
    width,
    height,
  });
}

function parseJson(text: string): Partial<Settings> | undefined {
  try {
    return cleanSettings(JSON.parse(text));
  } catch {
    return undefined; // not ours after all
  }
}
