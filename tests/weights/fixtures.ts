/** Small models of any config for the tests of conversion and loading: seeded values, any dtype, one file or several. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll } from "vitest";
import { decodeFloats, toF16 } from "../../src/numbers/half.ts";
import type { ComponentName, JsonObject, Manifest } from "../../src/weights/manifest.ts";
import { parseManifest } from "../../src/weights/manifest.ts";
import type { SafetensorsDtype } from "../../src/weights/safetensors.ts";
import { readSafetensors, writeSafetensors } from "../../src/weights/safetensors.ts";

export interface Golden {
  component: ComponentName;
  config: JsonObject;
  tensors: Record<string, number[]>;
}

export const GOLDEN = new URL("../golden/", import.meta.url).pathname;

/** State dicts of diffusers and transformers, written by tests/golden/weights/make.py. */
export const models = JSON.parse(await readFile(join(GOLDEN, "weights/tensors.json"), "utf8")) as Record<
  string,
  Golden
>;

const directories: string[] = [];
afterAll(async () => {
  await Promise.all(directories.map((directory) => rm(directory, { recursive: true, force: true })));
});

/** A directory that is gone after the test file. */
export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "scanvas-"));
  directories.push(directory);
  return directory;
}

/** Uniform numbers in [0, 1) (mulberry32). */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tensor as plain numbers. */
export interface Dense {
  shape: number[];
  values: Float32Array;
}
export type Weights = Map<string, Dense>;

/** Values in -1..1 that f16 and bf16 hold exactly: multiples of 1/128. */
export function randomWeights(shapes: Record<string, number[]>, seed = 1): Weights {
  const draw = random(seed);
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const values = Float32Array.from({ length: size(shape) }, () => Math.floor(draw() * 257 - 128) / 128);
      return [name, { shape, values }];
    }),
  );
}

export function size(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Bytes of `values` as F32, F16 or BF16 (values that BF16 cannot hold are cut off). */
export function encode(values: Float32Array, dtype: SafetensorsDtype): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.slice().buffer);
  const bits = new Uint32Array(values.slice().buffer);
  const halves = Uint16Array.from(values, (value, i) => (dtype === "F16" ? toF16(value) : bits[i] >>> 16));
  return new Uint8Array(halves.buffer);
}

export function safetensors(weights: Weights, dtype: SafetensorsDtype = "F32"): Uint8Array {
  const tensors = [...weights].map(([name, { shape, values }]) => ({
    name,
    dtype,
    shape,
    data: encode(values, dtype),
  }));
  return writeSafetensors(tensors);
}

/** Writes `text` or bytes at `directory`/`file`, making folders. */
export async function put(directory: string, file: string, data: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(directory, file)), { recursive: true });
  await writeFile(join(directory, file), data);
}

export const WEIGHT_FILE: Record<ComponentName, string> = {
  transformer: "diffusion_pytorch_model.safetensors",
  vae: "diffusion_pytorch_model.safetensors",
  text_encoder: "model.safetensors",
};

/** A pipeline directory with one component, or a transformer beside it when the component cannot stand alone. */
export async function writeModel(
  component: ComponentName,
  config: JsonObject,
  weights: Weights,
  dtype: SafetensorsDtype = "F32",
): Promise<string> {
  const directory = await scratch();
  if (component !== "transformer") {
    const { config: small, tensors } = models.pixart;
    await put(directory, "transformer/config.json", JSON.stringify(small));
    await put(directory, `transformer/${WEIGHT_FILE.transformer}`, safetensors(randomWeights(tensors)));
  }
  if (component === "text_encoder") await put(directory, "tokenizer/tokenizer.json", "{}");
  await put(directory, `${component}/config.json`, JSON.stringify(config));
  await put(directory, `${component}/${WEIGHT_FILE[component]}`, safetensors(weights, dtype));
  return directory;
}

export async function readManifest(directory: string): Promise<Manifest> {
  return parseManifest(await readFile(join(directory, "manifest.json"), "utf8"));
}

/** All tensors of a converted component, read through the files' own headers. */
export async function readConverted(directory: string, component: ComponentName): Promise<Weights> {
  const manifest = await readManifest(directory);
  const all: Weights = new Map();
  for (const { file } of manifest.components[component]!.shards) {
    for (const [name, tensor] of readDense(await readFile(join(directory, file)))) all.set(name, tensor);
  }
  return all;
}

/** All tensors of a safetensors file. */
export function readDense(file: Uint8Array): Weights {
  const { tensors } = readSafetensors(file);
  return new Map(
    [...tensors].map(([name, { dtype, shape, begin, end }]) => {
      const values = new Float32Array(size(shape));
      decodeFloats(file.subarray(begin, end), dtype, values);
      return [name, { shape, values }];
    }),
  );
}
