/**
 * Full-size models with made-up weights, for measuring speed and memory: as a pipeline directory, or converted at once, without
 * the full form ever being there. The same seed gives the same numbers in every form.
 */
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { COMPONENTS } from "../../src/weights/manifest.ts";
import { tensorBytes } from "../../src/weights/safetensors.ts";
import type { StoredDtype } from "../convert/encode.ts";
import type { Source } from "../convert/layout.ts";
import { expectedTensors } from "../convert/layout.ts";
import type { Pipeline } from "../convert/pipeline.ts";
import { writeFiles } from "../convert/pool.ts";
import type { FilePlan, Piece } from "../convert/shards.ts";
import { planFile } from "../convert/shards.ts";
import type { Components } from "./configs.ts";
import { scheduler } from "./configs.ts";
import type { SyntheticSpec } from "./source.ts";

export type PipelineDtype = "F32" | "F16" | "BF16";

export interface SynthOptions {
  dtype: PipelineDtype;
  threads?: number;
  onFile?: (file: string, bytes: number) => void;
  /** Bytes of one weight file at most, if its tensors allow; 2 GB by default. */
  fileBytes?: number;
}

/** No T5 tokenizer is made up: the shipped one's ids are a small part of a large vocabulary. */
const TOKENIZER = fileURLToPath(new URL("../../models/shapes-and-things/tokenizer/", import.meta.url));

/** What `convert` takes: components whose weights exist only while they are read. */
export function syntheticPipeline(components: Components, seed: number): Pipeline<SyntheticSpec> {
  const parts = COMPONENTS.flatMap((name) => {
    const config = components[name];
    return config ? [{ name, config, source: { component: name, config, seed } }] : [];
  });
  const pixart = components.transformer?._class_name === "PixArtTransformer2DModel";
  return {
    className: pixart ? "PixArtAlphaPipeline" : "T2MDPipeline",
    source: `scanvas synth, seed ${seed}`,
    licence: "CC0-1.0",
    components: parts,
    ...(components.transformer && { scheduler }),
    ...(components.text_encoder && {
      tokenizer: { json: join(TOKENIZER, "tokenizer.json"), config: join(TOKENIZER, "tokenizer_config.json") },
    }),
  };
}

/** Writes a pipeline directory as diffusers and transformers would, the VAE with its decoder only. Returns bytes of weights. */
export async function synth(pipeline: Pipeline<SyntheticSpec>, out: string, options: SynthOptions): Promise<number> {
  await mkdir(out, { recursive: true });
  let bytes = 0;
  for (const { name, config, source } of pipeline.components) {
    await mkdir(join(out, name), { recursive: true });
    await writeJson(join(out, name, "config.json"), config);
    bytes += await writeComponent(name, source, out, options);
  }
  const { json, config } = pipeline.tokenizer ?? {};
  if (json && config) {
    await mkdir(join(out, "tokenizer"), { recursive: true });
    await copyFile(json, join(out, "tokenizer/tokenizer.json"));
    await copyFile(config, join(out, "tokenizer/tokenizer_config.json"));
  }
  if (pipeline.scheduler) {
    await mkdir(join(out, "scheduler"), { recursive: true });
    await writeJson(join(out, "scheduler/scheduler_config.json"), pipeline.scheduler);
  }
  await writeFile(
    join(out, "README.md"),
    `---\nlicense: ${pipeline.licence.toLowerCase()}\n---\nRandom weights: ${pipeline.source}.\n`,
  );
  await writeJson(join(out, "model_index.json"), { _class_name: pipeline.className }); // last: it makes the directory one
  return bytes;
}

async function writeComponent(name: ComponentName, spec: SyntheticSpec, out: string, options: SynthOptions) {
  const { dtype, onFile, fileBytes = 2e9, threads } = options;
  const groups = groupTensors(expectedTensors(name, spec.config), dtype, fileBytes);
  const stem = name === "text_encoder" ? "model" : "diffusion_pytorch_model";
  const number = (i: number): string => String(i).padStart(5, "0");
  const plans = groups.map((group, i) => {
    const part = groups.length > 1 ? `-${number(i + 1)}-of-${number(groups.length)}` : "";
    return planFile(`${name}/${stem}${part}.safetensors`, group, specOf, { format: "pt" });
  });
  const tasks = plans.map((plan) => ({ plan, path: join(out, plan.file) }));
  for await (const { shard } of writeFiles(spec, tasks, { threads })) onFile?.(shard.file, shard.bytes);
  const total_size = plans.reduce((sum, { bytes, header }) => sum + bytes - header.length, 0);
  if (plans.length > 1) {
    const index = { metadata: { total_size }, weight_map: weightMap(plans) };
    await writeJson(join(out, name, `${stem}.safetensors.index.json`), index);
  }
  return total_size;
}

/** Whole tensors, in order, in files of at most `fileBytes` where that is possible. */
function groupTensors(sources: Source[], dtype: PipelineDtype, fileBytes: number): Piece<StoredDtype>[][] {
  const groups: Piece<StoredDtype>[][] = [];
  let used = Infinity;
  for (const source of sources) {
    const bytes = tensorBytes({ dtype, shape: source.shape });
    if (used + bytes > fileBytes) {
      groups.push([]);
      used = 0;
    }
    groups.at(-1)!.push(asItIs(source, dtype));
    used += bytes;
  }
  return groups;
}

function asItIs(source: Source, dtype: PipelineDtype): Piece<StoredDtype> {
  const { name, shape } = source;
  const recipe = { kind: "rows" as const, sources: [source], channels: 1, taps: 1, stride: 1, row: 1 };
  return { output: { name, shape, dtype: "weight", recipe }, dtype, from: 0, to: shape[0], part: 0, parts: 1 };
}

function specOf({ output: { name, shape }, dtype }: Piece<StoredDtype>) {
  return { name, shape, dtype: dtype as PipelineDtype };
}

function weightMap(plans: FilePlan<StoredDtype>[]): Record<string, string> {
  const pairs = plans.flatMap(({ file, pieces }) =>
    pieces.map(({ output }) => [output.name, file.split("/")[1]] as const),
  );
  return Object.fromEntries(pairs);
}

async function writeJson(path: string, value: JsonObject): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}
