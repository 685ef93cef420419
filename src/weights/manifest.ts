/**
 * manifest.json of a converted model: what the files are, where each tensor lies and which bytes are the right ones. It is data
 * only: no code, no URLs, every number bounded, every file name plain. `parseManifest` is the border; behind it, it is trusted.
 */
import { ScanvasError } from "../errors.ts";
import { tensorBytes } from "./safetensors.ts";

export type WeightDtype = "F16" | "F32";
export type ComponentName = "transformer" | "text_encoder" | "vae";
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** A file with its size in bytes and its SHA-256 in lower-case hex. `file` is relative to the manifest. */
export interface FileEntry {
  file: string;
  bytes: number;
  sha256: string;
}

/**
 * A safetensors file. Files over `PIECE_BYTES` (one tensor that alone is larger) carry the SHA-256 of each `PIECE_BYTES` slice
 * in `pieces`, so that they too are verified and passed on without being held whole.
 */
export interface Shard extends FileEntry {
  pieces?: string[];
}

/** One tensor in engine layout: bytes [offset, offset + bytes) of shard number `shard`. */
export interface TensorEntry {
  dtype: WeightDtype;
  shape: number[];
  shard: number;
  offset: number;
  bytes: number;
}

/** `config` is the component's config.json; `tensors` is in the order in which they lie in the shards. */
export interface ComponentManifest {
  config: JsonObject;
  dtype: "f16" | "f32";
  shards: Shard[];
  tensors: Record<string, TensorEntry>;
}

/**
 * `scheduler` is scheduler_config.json; Python's Infinity, -Infinity and NaN, which JSON has no word for, are stored as the
 * strings "Infinity", "-Infinity" and "NaN" there and in every `config`.
 */
export interface Manifest {
  format: "scanvas";
  version: 1;
  className: (typeof CLASS_NAMES)[number];
  source: string;
  licence: string;
  components: { transformer: ComponentManifest } & Partial<Record<ComponentName, ComponentManifest>>;
  scheduler?: JsonObject;
  /** What `generate` uses when the caller does not say: `_defaults` of model_index.json. */
  defaults?: { guidanceScale?: number; numInferenceSteps?: number };
  tokenizer?: FileEntry;
  tokenizerConfig?: FileEntry;
}

/** Pipelines the engine can run. */
export const CLASS_NAMES = ["T2MDPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline"] as const;
/** In the order in which a generation needs them. */
export const COMPONENTS: readonly ComponentName[] = ["text_encoder", "transformer", "vae"];
/** Bytes that are downloaded, verified and held at once; also the largest size of a shard of several tensors. */
export const PIECE_BYTES = 32 * 2 ** 20;
/** Bytes a manifest may have. */
export const MAX_MANIFEST_BYTES = 16 * 2 ** 20;

const FILE_NAME = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)?$/;
const TENSOR_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,255}$/;
const MAX_SHARDS = 4096;
const MAX_TENSORS = 65536;
const MAX_SHARD_BYTES = 2 ** 32;
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
  if (manifest.format !== "scanvas" || manifest.version !== 1) {
    const got = `got format ${show(manifest.format)} version ${show(manifest.version)}`;
    throw new ScanvasError(
      "ModelConfigError",
      `manifest: ${got}, expected "scanvas" version 1; convert the model again`,
    );
  }
  if (!CLASS_NAMES.includes(manifest.className as never)) {
    const expected = CLASS_NAMES.join(", ");
    throw new ScanvasError("ModelConfigError", `manifest: className ${show(manifest.className)}, expected ${expected}`);
  }
  const known = ["format", "version", "className", "source", "licence", "components"];
  only(manifest, [...known, "scheduler", "defaults", "tokenizer", "tokenizerConfig"], "manifest");
  text(manifest.source, "source");
  text(manifest.licence, "licence");
  const components = object(manifest.components, "components");
  only(components, COMPONENTS, "components");
  if (!Object.hasOwn(components, "transformer")) refuse("components has no transformer");
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
  return json as Manifest;
}

/** Bytes to download for `names` (default: every component), shards only. */
export function downloadBytes(manifest: Manifest, names: readonly ComponentName[] = COMPONENTS): number {
  const shards = names.flatMap((name) => manifest.components[name]?.shards ?? []);
  return shards.reduce((sum, shard) => sum + shard.bytes, 0);
}

function checkComponent(value: unknown, where: string, files: Set<string>): void {
  const component = object(value, where);
  only(component, ["config", "dtype", "shards", "tensors"], where);
  checkConfig(object(component.config, `${where}.config`), `${where}.config`);
  if (component.dtype !== "f16" && component.dtype !== "f32") {
    throw new ScanvasError(
      "ModelConfigError",
      `manifest: ${where}.dtype ${show(component.dtype)}, expected f16 or f32`,
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
    const tensor = checkTensor(object(entry, path), path, shards as Shard[]);
    spans[tensor.shard].push([tensor.offset, tensor.offset + tensor.bytes]);
  }
  spans.forEach((list, i) => {
    list.sort((a, b) => a[0] - b[0]);
    const gap = list.some(([begin], k) => k > 0 && begin !== list[k - 1][1]);
    if (!list.length || gap || list.at(-1)![1] !== (shards as Shard[])[i].bytes) {
      refuse(`${where}: tensors do not fill shard ${i} without holes`);
    }
  });
}

function checkShard(shard: Record<string, unknown>, where: string, files: Set<string>): void {
  only(shard, ["file", "bytes", "sha256", "pieces"], where);
  const bytes = checkFile(shard, where, files);
  const { pieces } = shard;
  if (bytes > PIECE_BYTES) {
    const count = Math.ceil(bytes / PIECE_BYTES);
    if (!Array.isArray(pieces) || pieces.length !== count) refuse(`${where}.pieces: expected ${count} hashes`);
    pieces.forEach((hash, i) => checkHash(hash, `${where}.pieces[${i}]`));
  } else if (pieces !== undefined) refuse(`${where}.pieces: the shard is one piece`);
}

function checkFile(entry: Record<string, unknown>, where: string, files: Set<string>): number {
  const { file } = entry;
  if (typeof file !== "string" || file.length > 200 || !FILE_NAME.test(file) || file.split("/").some(isDots)) {
    refuse(`${where}.file ${show(file)} is not a plain relative file name`);
  }
  if (files.has(file)) refuse(`${where}.file "${file}" appears twice`);
  files.add(file);
  checkHash(entry.sha256, `${where}.sha256`);
  return integer(entry.bytes, 1, MAX_SHARD_BYTES, `${where}.bytes`);
}

function isDots(part: string): boolean {
  return part.includes("..") || part === ".";
}

function checkHash(value: unknown, where: string): void {
  if (typeof value !== "string" || !/^[0-9a-f]{64}$/.test(value)) refuse(`${where} is not a SHA-256 in hex`);
}

function checkTensor(entry: Record<string, unknown>, where: string, shards: Shard[]): TensorEntry {
  only(entry, ["dtype", "shape", "shard", "offset", "bytes"], where);
  const { dtype, shape } = entry;
  if (dtype !== "F16" && dtype !== "F32") refuse(`${where}.dtype ${show(dtype)}`);
  if (!Array.isArray(shape) || shape.length < 1 || shape.length > 4)
    refuse(`${where}.shape is not a list of 1 to 4 sizes`);
  shape.forEach((size, axis) => integer(size, 1, MAX_DIMENSION, `${where}.shape[${axis}]`));
  const shard = integer(entry.shard, 0, shards.length - 1, `${where}.shard`);
  const bytes = integer(entry.bytes, 1, MAX_SHARD_BYTES, `${where}.bytes`);
  const offset = integer(entry.offset, 8, shards[shard].bytes - bytes, `${where}.offset`);
  const needed = tensorBytes({ dtype, shape: shape as number[] });
  if (bytes !== needed) refuse(`${where}.bytes is ${bytes}, shape x dtype needs ${needed}`);
  if (offset % 4 || bytes % 4) refuse(`${where}: offset and bytes must be multiples of 4`);
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
