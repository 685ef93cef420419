/** Reads what a pipeline directory (model contract, section 1) consists of, tensors aside. */
import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { ScanvasError } from "../../src/errors.ts";
import type { ComponentName, JsonObject, Manifest } from "../../src/weights/manifest.ts";
import { COMPONENTS } from "../../src/weights/manifest.ts";
import { parsePythonJson } from "./json.ts";
import type { SourceSpec } from "./open.ts";
import { exists } from "./source.ts";

export interface PipelineComponent<Spec = SourceSpec> {
  name: ComponentName;
  source: Spec;
  config: JsonObject;
}

/** `tokenizer` holds paths. */
export interface Pipeline<Spec = SourceSpec> {
  className: string;
  source: string;
  licence: string;
  components: PipelineComponent<Spec>[];
  scheduler?: JsonObject;
  defaults?: Manifest["defaults"];
  tokenizer?: { json?: string; config?: string };
  preview?: Manifest["preview"];
}

/**
 * Accepts a whole pipeline, some of its components, or a bare transformer directory (its config.json at the top).
 * @throws InvalidArgumentError when there is none, or nothing says which pipeline it is of; FormatError for a config that is not JSON
 */
export async function readPipeline(directory: string): Promise<Pipeline<string>> {
  const at = async (...parts: string[]) => {
    const path = join(directory, ...parts);
    return (await exists(path)) ? path : undefined;
  };
  const components: PipelineComponent<string>[] = [];
  for (const name of COMPONENTS) {
    const path = await at(name, "config.json");
    if (path) components.push({ name, source: join(directory, name), config: await readConfig(path) });
  }
  const bare = components.length ? undefined : await at("config.json");
  if (bare) components.push({ name: "transformer", source: directory, config: await readConfig(bare) });
  const transformer = components.find(({ name }) => name === "transformer");
  const index = await at("model_index.json");
  if (!components.length || !(index ?? transformer)) {
    const expected =
      "expected model_index.json and components, transformer/config.json, or config.json of a transformer";
    throw new ScanvasError("InvalidArgumentError", `${directory} is not a pipeline directory: ${expected}`);
  }
  const scheduler = await at("scheduler", "scheduler_config.json");
  const preview = await at("vae", "preview.json");
  const json = await at("tokenizer", "tokenizer.json");
  const config = await at("tokenizer", "tokenizer_config.json");
  if (!json && components.some(({ name }) => name === "text_encoder")) {
    const fix = "save it once with transformers: T5TokenizerFast.from_pretrained(dir).save_pretrained(dir)";
    throw new ScanvasError("FormatError", `${directory} has a text encoder but no tokenizer/tokenizer.json; ${fix}`);
  }
  const facts = index ? await readConfig(index) : undefined;
  return {
    className: facts ? String(facts._class_name) : classOf(transformer!.config),
    source: basename(resolve(directory)),
    licence: await licence(directory),
    components,
    ...(scheduler && { scheduler: await readConfig(scheduler) }),
    ...(facts?._defaults && { defaults: facts._defaults as Manifest["defaults"] }), // checked with the manifest
    ...(preview && { preview: (await readConfig(preview)) as unknown as Manifest["preview"] }), // so is this
    tokenizer: { ...(json && { json }), ...(config && { config }) },
  };
}

/** A transformer that came alone: its own class says which pipeline it belongs to. */
function classOf(config: JsonObject): string {
  return config._class_name === "T2MDTransformer2DModel" ? "T2MDPipeline" : "PixArtAlphaPipeline";
}

async function readConfig(path: string): Promise<JsonObject> {
  const json = parsePythonJson(await readFile(path, "utf8"), path);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new ScanvasError("FormatError", `${path} is not a JSON object`);
  }
  return json;
}

/** The `license:` line of the model card's front matter. */
async function licence(directory: string): Promise<string> {
  const card = await readFile(join(directory, "README.md"), "utf8").catch(() => "");
  const front = /^---\n([\s\S]*?)\n---/.exec(card)?.[1] ?? "";
  return /^license:\s*([\w.+-]+)\s*$/m.exec(front)?.[1] ?? "unknown";
}
