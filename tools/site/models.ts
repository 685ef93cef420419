/** The shipped models as the page finds them: converted folders, and `models.json`, the list that its model picker reads. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelCard } from "../../src/page/model_card.ts";
import { downloadBytes, type Manifest } from "../../src/weights/manifest.ts";
import { convert } from "../convert/convert.ts";

/** Latents are 8 times smaller than the picture. */
const VAE_FACTOR = 8;

/** What models/<name>/card.json says: the words about a model that no config holds. */
type Words = Pick<ModelCard, "title" | "about" | "examples">;

/** Converts every pipeline directory of `models` into `out`; what is there and still right is kept. */
export async function convertModels(models: string, out: string): Promise<ModelCard[]> {
  const cards: ModelCard[] = [];
  for (const entry of await readdir(models, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const words = JSON.parse(await readFile(join(models, entry.name, "card.json"), "utf8")) as Words;
    const { manifest } = await convert(join(models, entry.name), join(out, entry.name));
    cards.push({ id: entry.name, url: `${entry.name}/`, ...words, ...facts(manifest) });
  }
  return cards;
}

function facts(manifest: Manifest): Omit<ModelCard, "id" | "url" | keyof Words> {
  const { sample_size } = manifest.components.transformer!.config;
  return {
    bytes: downloadBytes(manifest),
    size: Number(sample_size) * VAE_FACTOR,
    steps: manifest.defaults?.numInferenceSteps ?? 20,
    guidanceScale: manifest.defaults?.guidanceScale ?? 4.5,
    licence: manifest.licence,
  };
}
