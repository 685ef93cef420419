/** `scanvas convert --calibrate`: what a conversion does to pictures, against f32 of the same input, in a real page. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ScanvasError } from "../../src/errors.ts";
import type { WireTensor } from "../headless/page.ts";
import type { HeadlessSession } from "../headless/session.ts";
import { inPage, openSession } from "../headless/session.ts";
import { convert } from "./convert.ts";

/** Differences of one prompt: |got - f32| / |f32|, and the picture's peak signal to noise ratio in dB. */
export interface Calibration {
  prompt: string;
  embeddings: number;
  /** Of all steps' noise, from the embeddings and latents of f32: the transformer alone. */
  eps: number;
  latents: number;
  psnr: number;
}

/** What one prompt gives; the first three are what the transformer was asked. */
interface Sample {
  embeds: WireTensor;
  /** At the beginning of every step, [STEPS, C, h, w]. */
  starts: WireTensor;
  timesteps: number[];
  eps: Float32Array;
  latents: Float32Array;
  image: Float32Array;
}

const STEPS = 4;
const SEED = 0;

/** Prompts of a file, one a line. @throws InvalidArgumentError when there are none */
export async function readPrompts(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new ScanvasError("InvalidArgumentError", `calibrate: ${path} cannot be read`, { cause });
  });
  const prompts = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  if (!prompts.length) {
    throw new ScanvasError("InvalidArgumentError", `calibrate: ${path} is empty, expected a prompt on each line`);
  }
  return prompts;
}

/**
 * Runs `prompts` on the converted directory `out` and on an f32 conversion of `input`, which is made for it and removed again:
 * `STEPS` steps at the model's own size, one seed.
 * @throws what the engine throws, so for a model without text encoder or VAE
 */
export async function calibrate(
  input: string,
  out: string,
  prompts: string[],
  say: (line: string) => void,
): Promise<Calibration[]> {
  const full = await mkdtemp(join(tmpdir(), "scanvas-f32-"));
  try {
    say("calibrate: converting to f32 for comparison");
    await convert(input, full, { dtype: "f32" });
    const want = await runAll(full, prompts, say);
    const got = await runAll(out, prompts, say, want);
    return prompts.map((prompt, i) => ({
      prompt,
      embeddings: relative(floats(got[i].embeds), floats(want[i].embeds)),
      eps: relative(got[i].eps, want[i].eps),
      latents: relative(got[i].latents, want[i].latents),
      psnr: psnr(got[i].image, want[i].image),
    }));
  } finally {
    await rm(full, { recursive: true, force: true });
  }
}

/** `reference` gives what eps is measured on; the model's own when there is none. */
async function runAll(
  model: string,
  prompts: string[],
  say: (line: string) => void,
  reference?: Sample[],
): Promise<Sample[]> {
  const session = await openSession({ model, dtype: "f32", say });
  try {
    const samples: Sample[] = [];
    for (const [i, prompt] of prompts.entries()) samples.push(await run(session, prompt, reference?.[i]));
    return samples;
  } finally {
    await session.close();
  }
}

async function run({ page }: HeadlessSession, prompt: string, reference?: Sample): Promise<Sample> {
  const request = { prompt, seed: SEED, numInferenceSteps: STEPS, trace: true };
  const { trace } = await inPage(() => page.evaluate((r) => window.headless.generate(r), request));
  const { prompt_embeds: embeds, noise, latents, image } = trace!;
  const bytes = Buffer.from(trace!.timesteps.base64, "base64");
  const isInteger = trace!.timesteps.dtype === "I64";
  const timesteps = Array.from({ length: STEPS }, (_, i) =>
    isInteger ? Number(bytes.readBigInt64LE(8 * i)) : bytes.readFloatLE(4 * i),
  );
  const after = floats(latents);
  const size = after.length / STEPS;
  const starts = wire([STEPS, ...noise.shape.slice(1)], [floats(noise), after.subarray(0, -size)]);
  const asked = reference ?? { embeds, starts, timesteps };
  const [, tokens, width] = asked.embeds.shape;
  const inputs = {
    latent: asked.starts,
    embeds: wire([STEPS, tokens, width], Array<Float32Array>(STEPS).fill(floats(asked.embeds))),
    mask: wire([STEPS, tokens], [new Float32Array(STEPS * tokens).fill(1)]),
    t: asked.timesteps,
  };
  const eps = await inPage(() => page.evaluate(async (r) => (await window.headless.trace(r)).eps, inputs));
  return { embeds, starts, timesteps, eps: floats(eps), latents: after.subarray(-size), image: floats(image) };
}

const wire = (shape: number[], parts: readonly Float32Array[]): WireTensor => ({
  dtype: "F32",
  shape,
  base64: Buffer.concat(parts.map((part) => new Uint8Array(part.slice().buffer))).toString("base64"),
});

function floats({ base64 }: WireTensor): Float32Array {
  return new Float32Array(new Uint8Array(Buffer.from(base64, "base64")).buffer);
}

function relative(got: Float32Array, want: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < want.length; i++) {
    difference += (got[i] - want[i]) ** 2;
    norm += want[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

/** Of pictures in 0..1. */
function psnr(got: Float32Array, want: Float32Array): number {
  const error = want.reduce((sum, value, i) => sum + (got[i] - value) ** 2, 0) / want.length;
  return 10 * Math.log10(1 / error);
}

export function printCalibration(rows: Calibration[]): void {
  console.log(`against f32, ${STEPS} steps, seed ${SEED}: relative errors, and the picture's PSNR`);
  console.log("  embeddings  eps      latents  PSNR");
  const mean = (key: "embeddings" | "eps" | "latents" | "psnr"): number =>
    rows.reduce((sum, row) => sum + row[key], 0) / rows.length;
  const all = { embeddings: mean("embeddings"), eps: mean("eps"), latents: mean("latents"), psnr: mean("psnr") };
  for (const { prompt, embeddings, eps, latents, psnr } of [...rows, { prompt: "(mean)", ...all }]) {
    const [e, n, l] = [embeddings, eps, latents].map((value) => value.toExponential(1).padEnd(7));
    console.log(`  ${e}     ${n}  ${l}  ${psnr.toFixed(1).padStart(4)} dB  ${prompt}`);
  }
}
