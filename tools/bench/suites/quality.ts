/** What precision costs: the final picture against the one that diffusers and PyTorch made in f32 from the same weights. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { GenerateRequest } from "../../../src/worker/api.ts";
import { readSafetensors } from "../../../src/weights/safetensors.ts";
import { convertedFolder } from "../../headless/session.ts";
import { serveDirectory } from "../../serve.ts";
import type { Host } from "../host.ts";
import { relativeError } from "../page/stats.ts";
import { fact, noResults, row, type Progress, type Results } from "../report.ts";
import { SHIPPED } from "./denoiser.ts";

/** As `--dtype` of convert; how far a picture may be from PyTorch's before it counts as another one, relative. */
const DTYPES = { f32: 1e-2, f16: 1e-2, q8: 0.3, q4: 1 } as const;
type Dtype = keyof typeof DTYPES;

interface Case {
  name: string;
  model: string;
  /** Under tests/golden. */
  golden: string;
  dtypes: readonly Dtype[];
}

const golden = fileURLToPath(new URL("../../../tests/golden/", import.meta.url));

const CASES: Case[] = [
  { name: "shapes-and-things", model: SHIPPED, golden: "shapes-and-things", dtypes: ["f32", "f16", "q8", "q4"] },
];
/** A network of random weights, small enough to take seconds. */
const QUICK: Case[] = [
  { name: "random PixArt", model: join(golden, "pixart/pipeline"), golden: "pixart", dtypes: ["f32", "f16"] },
];

/** Peak signal, 1, to noise, in dB. */
function psnr(image: ArrayLike<number>, reference: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < reference.length; i++) sum += (image[i]! - reference[i]!) ** 2;
  return -10 * Math.log10(sum / reference.length);
}

export async function quality(
  host: Host,
  { quick = false }: { quick?: boolean },
  { say, keep }: Progress,
): Promise<Results> {
  const results = noResults(host.environment);
  for (const { name, model, golden: folder, dtypes } of quick ? QUICK : CASES) {
    const { request, reference } = await readCase(join(golden, folder));
    for (const dtype of dtypes) {
      const server = await serveDirectory(await convertedFolder(model, dtype, say));
      try {
        const { image, timings, weightBytes } = await host.call("picture", server.url, request);
        const error = relativeError(image, reference);
        const tolerance = DTYPES[dtype];
        const check = { against: "PyTorch f32, relative", error, tolerance, passed: error <= tolerance };
        results.rows.push(row(name, dtype, [timings.total / 1e3], check));
        results.facts.push(
          fact(`${name}, ${dtype}: PSNR of the picture against PyTorch f32`, psnr(image, reference), "dB"),
          fact(`${name}, ${dtype}: weights in GPU memory`, weightBytes / 2 ** 20, "MiB"),
        );
        say(
          `${name} ${dtype}: ${psnr(image, reference).toFixed(1)} dB, ${(weightBytes / 2 ** 20).toFixed(1)} MiB of weights`,
        );
        await keep(results);
      } finally {
        await server.close();
      }
    }
  }
  results.notes.push(
    "q8 and q4 quantise the matrices of transformer and text encoder; the image decoder stays f16. Arithmetic is f32 in all of them.",
  );
  return results;
}

interface Call {
  prompt: string;
  negative_prompt: string;
  height: number;
  width: number;
  num_inference_steps: number;
  guidance_scale: number;
  seed: number;
}

/** The first case of a folder: case.safetensors, and its call in case.json or cases.json. */
async function readCase(folder: string): Promise<{ request: GenerateRequest; reference: Float32Array }> {
  const json = async (name: string): Promise<unknown> => JSON.parse(await readFile(join(folder, name), "utf8"));
  const calls = await json("cases.json")
    .catch(async () => ((await json("case.json")) as { calls: unknown }).calls)
    .then((list) => list as Call[]);
  const { prompt, negative_prompt, height, width, num_inference_steps, guidance_scale, seed } = calls[0]!;
  const path = join(folder, "case.safetensors");
  const file = new Uint8Array(await readFile(path));
  const { begin, end } = readSafetensors(file, path).tensors.get("0.image")!;
  return {
    request: {
      prompt,
      negativePrompt: negative_prompt,
      height,
      width,
      numInferenceSteps: num_inference_steps,
      guidanceScale: guidance_scale,
      seed,
    },
    reference: new Float32Array(file.slice(begin, end).buffer),
  };
}
