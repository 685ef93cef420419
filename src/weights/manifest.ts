/**
 * manifest.json of a converted model: what the files are, where each tensor lies and which bytes are the right ones. It is data
 * only: no code, no URLs, every number bounded, every file name plain. `parseManifest` is the border; behind it, it is trusted.
 */
import { ScanvasError } from "../errors.ts";
import type { TensorSpec } from "./safetensors.ts";
import { tensorBytes } from "./safetensors.ts";

/**
 * Storage of one tensor. Q8 and Q4 are matrices [rows, depth] quantised in blocks of 32 along the depth; each row is whole in
 * itself: depth/4 (Q8) or depth/8 (Q4) words of quants, then ceil(depth/64) words of f16 scales (src/numbers/quant.ts).
 */
export type WeightDtype = "F32" | "F16" | "Q8" | "Q4";
/** What the large matrices of a component are stored as; small and sensitive tensors are F32 whatever this says. */
export type ComponentDtype = "f32" | "f16" | "q8" | "q4";
export type ComponentName = "transformer" | "text_encoder" | "vae";
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** A file with its size in bytes and its SHA-256 in lower-case hex. `file` is relative to the manifest. */
export interface FileEntry {
  file: string;
  bytes: number;
  sha256: string;
}

/** A safetensors file of at most `SHARD_BYTES`; `chunks` are the SHA-256 of its `CHUNK_BYTES` slices in order. */
export interface Shard {
  file: string;
  bytes: number;
  chunks: string[];
}

/** Whole rows of a tensor: bytes [offset, offset + bytes) of shard number `shard`. */
export interface TensorPart {
  shard: number;
  offset: number;
  bytes: number;
}

/**
 * One tensor in engine layout. It lies in one piece, or, when it does not fit a shard, split by rows into parts of consecutive
 * shards; in the files a part is called `partName(name, i)`.
 */
export interface TensorEntry {
  dtype: WeightDtype;
  shape: number[];
  /** Of all parts together. */
  bytes: number;
  parts: TensorPart[];
}

/** What a component needs of GPU memory, in bytes, so that a page can tell before it downloads anything. */
export interface ComponentMemory {
  /** All weights, as they lie in the shards and on the GPU. */
  weights: number;
}

/** `config` is the component's config.json; `tensors` is in the order in which they lie in the shards. */
export interface ComponentManifest {
  config: JsonObject;
  dtype: ComponentDtype;
  memory?: ComponentMemory;
  shards: Shard[];
  tensors: Record<string, TensorEntry>;
}

/**
 * `scheduler` is scheduler_config.json; Python's Infinity, -Infinity and NaN, which JSON has no word for, are stored as the
 * strings "Infinity", "-Infinity" and "NaN" there and in every `config`.
 */
export interface Manifest {
  format: "scanvas";
  version: 2;
  className: (typeof CLASS_NAMES)[number];
  source: string;
  licence: string;
  /** At least one. A model without a transformer can encode or decode, but not generate. */
  components: Partial<Record<ComponentName, ComponentManifest>>;
  scheduler?: JsonObject;
  /** What `generate` uses when the caller does not say: `_defaults` of model_index.json. */
  defaults?: { guidanceScale?: number; numInferenceSteps?: number };
  tokenizer?: FileEntry;
  tokenizerConfig?: FileEntry;
  /** How latents look, roughly: vae/preview.json. */
  preview?: { weights: number[][]; bias: number[] };
}

/** Pipelines the engine can run. */
export const CLASS_NAMES = ["T2MDPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline"] as const;
/** In the order in which a generation needs them. */
export const COMPONENTS: readonly ComponentName[] = ["text_encoder", "transformer", "vae"];
/** Bytes that are downloaded, verified, stored and held at once. */
export const CHUNK_BYTES = 8 * 2 ** 20;
/** Bytes a shard may have. */
export const SHARD_BYTES = 32 * 2 ** 20;
/** Bytes a manifest may have. */
export const MAX_MANIFEST_BYTES = 16 * 2 ** 20;

const FILE_NAME = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)?$/;
const TENSOR_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,255}$/;
const MAX_SHARDS = 4096;
const MAX_TENSORS = 65536;
const MAX_FILE_BYTES = 2 ** 28; // tokenizers
const MAX_TENSOR_BYTES = 2 ** 36;
const MAX_CHANNELS = 64; // of latents
const MAX_DIMENSION = 2 ** 31;

/**
 * @throws FormatError when the text is not a well-formed manifest; ModelConfigError when it is one of a format, version or
 * pipeline class that this engine does not know
 */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ScanvasError("FormatError", "manifest.json is not JSON", { cause });
  }
  return checkManifest(json);
}

/** The check behind `parseManifest`, for a manifest that is already an object. */
export function checkManifest(json: unknown): Manifest {
  const manifest = object(json, "manifest");
  if (manifest.format !== "scanvas" || manifest.version !== 2) {
    const got = `got format ${show(manifest.format)} version ${show(manifest.version)}`;
    throw new ScanvasError(
      "ModelConfigError",
      `manifest: ${got}, expected "scanvas" version 2; convert the model again`,
    );
  }
  if (!CLASS_NAMES.includes(manifest.className as never)) {
    const expected = CLASS_NAMES.join(", ");
    throw new ScanvasError("ModelConfigError", `manifest: className ${show(manifest.className)}, expected ${expected}`);
  }
  const known = ["format", "version", "className", "source", "licence", "components"];
  only(manifest, [...known, "scheduler", "defaults", "tokenizer", "tokenizerConfig", "preview"], "manifest");
  text(manifest.source, "source");
  text(manifest.licence, "licence");
  const components = object(manifest.components, "components");
  only(components, COMPONENTS, "components");
  if (!Object.keys(components).length) refuse("components is empty");
  const files = new Set<string>();
  for (const [name, component] of Object.entries(components)) checkComponent(component, `components.${name}`, files);
  if (manifest.scheduler !== undefined) checkConfig(object(manifest.scheduler, "scheduler"), "scheduler");
  if (manifest.defaults !== undefined) {
    const defaults = object(manifest.defaults, "defaults");
    only(defaults, ["guidanceScale", "numInferenceSteps"], "defaults");
    for (const [key, value] of Object.entries(defaults)) {
      if (typeof value !== "number" || !(value >= 0 && value <= 1000))
        refuse(`defaults.${key} is not a number up to 1000`);
    }
  }
  for (const key of ["tokenizer", "tokenizerConfig"] as const) {
    if (manifest[key] === undefined) continue;
    const entry = object(manifest[key], key);
    only(entry, ["file", "bytes", "sha256"], key);
    checkFile(entry, key, files);
  }
  if (manifest.preview !== undefined) checkPreview(object(manifest.preview, "preview"));
  return json as Manifest;
}

/** What a tensor, or some rows of it, is called and looks like in a safetensors file: Q8 and Q4 rows are plain words there. */
export function storedAs({ dtype, shape }: Pick<TensorEntry, "dtype" | "shape">): Omit<TensorSpec, "name"> {
  if (dtype === "F32" || dtype === "F16") return { dtype, shape };
  const [rows, depth] = shape as [number, number];
  return { dtype: "U32", shape: [rows, depth / (dtype === "Q8" ? 4 : 8) + Math.ceil(depth / 64)] };
}

/** The name of part `i` of a tensor in its file; a tensor in one piece keeps its own. */
export function partName(name: string, i: number, { parts }: { parts: { length: number } }): string {
  return parts.length === 1 ? name : `${name}.rows.${i}`;
}

/** Bytes to download for `names` (default: every component), shards only. */
export function downloadBytes(manifest: Manifest, names: readonly ComponentName[] = COMPONENTS): number {
  const shards = names.flatMap((name) => manifest.components[name]?.shards ?? []);
  return shards.reduce((sum, shard) => sum + shard.bytes, 0);
}

function checkComponent(value: unknown, where: string, files: Set<string>): void {
  const component = object(value, where);
  only(component, ["config", "dtype", "memory", "shards", "tensors"], where);
  checkConfig(object(component.config, `${where}.config`), `${where}.config`);
  if (component.memory !== undefined) {
    const memory = object(component.memory, `${where}.memory`);
    only(memory, ["weights"], `${where}.memory`);
    integer(memory.weights, 1, MAX_TENSOR_BYTES, `${where}.memory.weights`);
  }
  if (!["f32", "f16", "q8", "q4"].includes(component.dtype as string)) {
    throw new ScanvasError(
      "ModelConfigError",
      `manifest: ${where}.dtype ${show(component.dtype)}, expected f32, f16, q8 or q4`,
    );
  }
  const { shards } = component;
  if (!Array.isArray(shards) || shards.length < 1 || shards.length > MAX_SHARDS)
    refuse(`${where}.shards is not a list`);
  shards.forEach((entry, i) => checkShard(object(entry, `${where}.shards[${i}]`), `${where}.shards[${i}]`, files));
  const tensors = Object.entries(object(component.tensors, `${where}.tensors`));
  if (tensors.length > MAX_TENSORS) refuse(`${where}.tensors has ${tensors.length} entries`);
  const spans: [begin: number, end: number][][] = shards.map(() => []);
  for (const [name, entry] of tensors) {
    const path = `${where}.tensors[${show(name)}]`;
    if (!TENSOR_NAME.test(name) || name === "__proto__") refuse(`${path}: not a tensor name`);
    for (const { shard, offset, bytes } of checkTensor(object(entry, path), path, shards as Shard[]).parts)
      spans[shard].push([offset, offset + bytes]);
  }
  spans.forEach((list, i) => {
    list.sort((a, b) => a[0] - b[0]);
    const gap = list.some(([begin], k) => k > 0 && begin !== list[k - 1][1]);
    if (!list.length || gap || list.at(-1)![1] !== (shards as Shard[])[i].bytes) {
      refuse(`${where}: tensors do not fill shard ${i} without holes`);
    }
  });
}

function checkPreview(preview: Record<string, unknown>): void {
  only(preview, ["weights", "bias"], "preview");
  const colour = (value: unknown, where: string): void => {
    if (
      !Array.isArray(value) ||
      value.length !== 3 ||
      !value.every((one) => typeof one === "number" && Math.abs(one) <= 1e4)
    )
      refuse(`${where} is not three numbers up to 10000`);
  };
  const { weights } = preview;
  if (!Array.isArray(weights) || weights.length < 1 || weights.length > MAX_CHANNELS)
    refuse(`preview.weights is not a list of 1 to ${MAX_CHANNELS}`);
  weights.forEach((row, c) => colour(row, `preview.weights[${c}]`));
  colour(preview.bias, "preview.bias");
}

function checkShard(shard: Record<string, unknown>, where: string, files: Set<string>): void {
  only(shard, ["file", "bytes", "chunks"], where);
  checkName(shard.file, where, files);
  const count = Math.ceil(integer(shard.bytes, 1, SHARD_BYTES, `${where}.bytes`) / CHUNK_BYTES);
  const { chunks } = shard;
  if (!Array.isArray(chunks) || chunks.length !== count) refuse(`${where}.chunks: expected ${count} hashes`);
  chunks.forEach((hash, i) => checkHash(hash, `${where}.chunks[${i}]`));
}

function checkFile(entry: Record<string, unknown>, where: string, files: Set<string>): void {
  checkName(entry.file, where, files);
  checkHash(entry.sha256, `${where}.sha256`);
  integer(entry.bytes, 1, MAX_FILE_BYTES, `${where}.bytes`);
}

function checkName(file: unknown, where: string, files: Set<string>): void {
  if (typeof file !== "string" || file.length > 200 || !FILE_NAME.test(file) || file.split("/").some(isDots)) {
    refuse(`${where}.file ${show(file)} is not a plain relative file name`);
  }
  if (files.has(file)) refuse(`${where}.file "${file}" appears twice`);
  files.add(file);
}

function isDots(part: string): boolean {
  return part.includes("..") || part === ".";
}

function checkHash(value: unknown, where: string): void {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) refuse(`${where} is not a SHA-256 in hex`);
}

function checkTensor(entry: Record<string, unknown>, where: string, shards: Shard[]): TensorEntry {
  only(entry, ["dtype", "shape", "bytes", "parts"], where);
  const { dtype, shape, parts } = entry;
  if (typeof dtype !== "string" || !["F32", "F16", "Q8", "Q4"].includes(dtype)) refuse(`${where}.dtype ${show(dtype)}`);
  if (!Array.isArray(shape) || shape.length < 1 || shape.length > 4)
    refuse(`${where}.shape is not a list of 1 to 4 sizes`);
  shape.forEach((size, axis) => integer(size, 1, MAX_DIMENSION, `${where}.shape[${axis}]`));
  const quantised = dtype === "Q8" || dtype === "Q4";
  if (quantised && (shape.length !== 2 || (shape[1] as number) % 32))
    refuse(`${where}: ${dtype} needs [rows, depth], depth a multiple of 32`);
  const bytes = integer(entry.bytes, 1, MAX_TENSOR_BYTES, `${where}.bytes`);
  const needed = tensorBytes(storedAs({ dtype: dtype as WeightDtype, shape: shape as number[] }));
  if (bytes !== needed) refuse(`${where}.bytes is ${bytes}, shape x dtype needs ${needed}`);
  if (!Array.isArray(parts) || parts.length < 1 || parts.length > shards.length)
    refuse(`${where}.parts is not a list of 1 to ${shards.length}`);
  const row = needed / (shape[0] as number);
  let sum = 0;
  parts.forEach((value, i) => {
    const path = `${where}.parts[${i}]`;
    const part = object(value, path);
    only(part, ["shard", "offset", "bytes"], path);
    const shard = integer(part.shard, 0, shards.length - 1, `${path}.shard`);
    const size = integer(part.bytes, 1, SHARD_BYTES, `${path}.bytes`);
    const offset = integer(part.offset, 8, shards[shard].bytes - size, `${path}.offset`);
    if (offset % 4 || size % 4) refuse(`${path}: offset and bytes must be multiples of 4`);
    if (parts.length > 1 && size % row) refuse(`${path}: ${size} bytes are not whole rows of ${row}`);
    if (i > 0 && shard <= (parts[i - 1] as TensorPart).shard) refuse(`${path}: parts are not in the order of shards`);
    sum += size;
  });
  if (sum !== bytes) refuse(`${where}: its parts have ${sum} bytes, expected ${bytes}`);
  return entry as unknown as TensorEntry;
}

/** Configs are passed on as they are, so only their size is bounded: plain JSON, at most 4096 values, 8 levels. */
function checkConfig(config: Record<string, unknown>, where: string): void {
  let count = 0;
  const visit = (value: unknown, depth: number): void => {
    if (++count > 4096 || depth > 8) refuse(`${where} is too large or too deep`);
    if (typeof value === "number" && !Number.isFinite(value)) refuse(`${where} has a number that is not finite`);
    if (typeof value === "string" && value.length > 4096) refuse(`${where} has a string of ${value.length} characters`);
    if (typeof value !== "object" || value === null) return;
    for (const [key, entry] of Object.entries(value)) {
      if (key === "__proto__" || key.length > 256) refuse(`${where} has the key ${show(key)}`);
      visit(entry, depth + 1);
    }
  };
  visit(config, 0);
}

function refuse(what: string): never {
  throw new ScanvasError("FormatError", `manifest.json: ${what}`);
}

function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) refuse(`${where} is not an object`);
  return value as Record<string, unknown>;
}

function only(value: Record<string, unknown>, keys: readonly string[], where: string): void {
  for (const key of Object.keys(value)) if (!keys.includes(key)) refuse(`${where} has the unknown key ${show(key)}`);
}

function text(value: unknown, where: string): void {
  if (typeof value !== "string" || value.length > 1000) refuse(`${where} is not a short text`);
}

function integer(value: unknown, low: number, high: number, where: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < low || value > high) {
    refuse(`${where} is ${show(value)}, expected an integer of ${low} to ${high}`);
  }
  return value;
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "undefined").slice(0, 80);
}
