/**
 * `node --import tsx tools/fit_preview.ts <pipeline directory>`: writes vae/preview.json, the linear map from a latent pixel to the
 * colour of its 8 x 8 pixels, by least squares over pictures that the model itself makes.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { PreviewFit } from "../src/model/preview.ts";
import { openSession } from "./headless/session.ts";

const FACTOR = 8;
const STEPS = 8;

/** Solves a x = b for each column of b, [n, n] and [n, m], by elimination with pivots. */
function solve(a: number[][], b: number[][]): number[][] {
  const n = a.length;
  const rows = a.map((row, i) => [...row, ...b[i]!]);
  for (let k = 0; k < n; k++) {
    const pivot = rows
      .slice(k)
      .reduce((best, row, i) => (Math.abs(row[k]!) > Math.abs(rows[best]![k]!) ? k + i : best), k);
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = rows[i]![k]! / rows[k]![k]!;
      rows[i] = rows[i]!.map((value, j) => value - factor * rows[k]![j]!);
    }
  }
  return rows.map((row, i) => row.slice(n).map((value) => value / row[i]!));
}

/** Mean of each FACTOR x FACTOR block of plane [height, width]. */
function blockMean(plane: Float32Array, width: number, x: number, y: number): number {
  let sum = 0;
  for (let dy = 0; dy < FACTOR; dy++) {
    for (let dx = 0; dx < FACTOR; dx++) sum += plane[(y * FACTOR + dy) * width + x * FACTOR + dx]!;
  }
  return sum / FACTOR ** 2;
}

const directory = resolve(process.argv[2] ?? "models/shapes-and-things");
const { examples } = JSON.parse(await readFile(join(directory, "card.json"), "utf8")) as { examples: string[] };
const session = await openSession({ model: directory, dtype: "f16", say: console.error });
const inputs: number[][] = []; // [1, latent...]
const colours: number[][] = [];
try {
  for (let n = 0; n < 3 * examples.length; n++) {
    const prompt = examples[n % examples.length]!;
    const { trace } = await session.page.evaluate((request) => window.headless.generate(request), {
      prompt,
      seed: n,
      numInferenceSteps: STEPS,
      trace: true,
    });
    const floats = (name: string) =>
      new Float32Array(Uint8Array.from(Buffer.from(trace![name]!.base64, "base64")).buffer);
    const [, , height, width] = trace!.image!.shape as [number, number, number, number];
    const channels = trace!.latents!.shape[2]!;
    const pixels = (height / FACTOR) * (width / FACTOR);
    const latents = floats("latents").slice(-channels * pixels); // of the last step
    const image = floats("image");
    for (let y = 0; y < height / FACTOR; y++) {
      for (let x = 0; x < width / FACTOR; x++) {
        const at = y * (width / FACTOR) + x;
        inputs.push([1, ...Array.from({ length: channels }, (_, c) => latents[c * pixels + at]!)]);
        colours.push([0, 1, 2].map((c) => blockMean(image.subarray(c * height * width), width, x, y)));
      }
    }
    console.error(`${n + 1} of ${3 * examples.length}: ${prompt}`);
  }
} finally {
  await session.close();
}

const terms = inputs[0]!.map((_, i) => i);
const normal = terms.map((i) => terms.map((j) => inputs.reduce((sum, row) => sum + row[i]! * row[j]!, 0)));
const right = terms.map((i) =>
  [0, 1, 2].map((c) => inputs.reduce((sum, row, k) => sum + row[i]! * colours[k]![c]!, 0)),
);
const [bias, ...weights] = solve(normal, right).map((row) => row.map((value) => Number(value.toFixed(4))));
const fit: PreviewFit = { weights, bias: bias! };
const error = inputs.reduce(
  (sum, row, k) =>
    sum +
    [0, 1, 2].reduce((part, c) => {
      const value = row.slice(1).reduce((v, x, i) => v + x * weights[i]![c]!, bias![c]!);
      return part + (value - colours[k]![c]!) ** 2 / 3;
    }, 0),
  0,
);
console.error(`${inputs.length} pixels, root mean square error ${Math.sqrt(error / inputs.length).toFixed(3)} of 1`);
await writeFile(join(directory, "vae/preview.json"), `${JSON.stringify(fit)}\n`);
