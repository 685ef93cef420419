import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { Manifest } from "../../src/weights/manifest.ts";
import { checkManifest, downloadBytes, parseManifest, CHUNK_BYTES } from "../../src/weights/manifest.ts";
import { convert } from "../../tools/convert/convert.ts";
import { parsePythonJson } from "../../tools/convert/json.ts";
import { GOLDEN, scratch } from "./fixtures.ts";

let text: string;
beforeAll(async () => {
  text = JSON.stringify((await convert(join(GOLDEN, "pixart/pipeline"), await scratch())).manifest);
});

// any: these tests write what the types forbid
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Loose = any;

const NAME = "transformer_blocks.0.ff.net.2.weight";

describe("a converted model's manifest", () => {
  it("passes", () => {
    const manifest = parseManifest(text);
    expect(manifest.components.vae?.dtype).toBe("f16");
    const { transformer, vae } = manifest.components;
    expect(downloadBytes(manifest, ["transformer"])).toBe(transformer!.shards[0].bytes);
    expect(downloadBytes(manifest)).toBeGreaterThan(transformer!.shards[0].bytes + vae!.shards[0].bytes);
  });

  it.each<[string, string, (manifest: Loose) => void]>([
    ["another format", "ModelConfigError", (m) => (m.format = "onnx")],
    ["a later version", "ModelConfigError", (m) => (m.version = 3)],
    ["an earlier version", "ModelConfigError", (m) => (m.version = 1)],
    ["no version", "ModelConfigError", (m) => delete m.version],
    ["an unknown class", "ModelConfigError", (m) => (m.className = "StableDiffusionPipeline")],
    ["an unknown dtype", "ModelConfigError", (m) => (m.components.vae.dtype = "q2")],
    ["an unknown key", "FormatError", (m) => (m.script = "https://example.org/x.js")],
    ["an unknown component", "FormatError", (m) => (m.components.unet = m.components.vae)],
    ["a preview without bias", "FormatError", (m) => (m.preview = { weights: [[1, 0, 0]] })],
    ["a preview of words", "FormatError", (m) => (m.preview = { weights: [["1", 0, 0]], bias: [0, 0, 0] })],
    [
      "a preview of too many channels",
      "FormatError",
      (m) => (m.preview = { weights: Array(65).fill([0, 0, 0]), bias: [0, 0, 0] }),
    ],
    ["a preview without end", "FormatError", (m) => (m.preview = { weights: [[0, 0, 1e5]], bias: [0, 0, 0] })],
    ["no components", "FormatError", (m) => (m.components = {})],
    ["no source", "FormatError", (m) => delete m.source],
    ["a licence that is no text", "FormatError", (m) => (m.licence = { spdx: "MIT" })],
    ["components in a list", "FormatError", (m) => (m.components = [])],
    ["no shards", "FormatError", (m) => (m.components.vae.shards = [])],
    ["a bad hash", "FormatError", (m) => (m.components.vae.shards[0].chunks[0] = "A".repeat(64))],
    ["a short hash", "FormatError", (m) => (m.components.vae.shards[0].chunks[0] = "ab")],
    ["negative bytes", "FormatError", (m) => (m.components.vae.shards[0].bytes = -1)],
    ["bytes as text", "FormatError", (m) => (m.components.vae.shards[0].bytes = "12")],
    ["too few bytes", "FormatError", (m) => (m.components.vae.shards[0].bytes -= 4)],
    ["too many bytes", "FormatError", (m) => (m.components.vae.shards[0].bytes += 4)],
    ["too large a shard", "FormatError", (m) => (m.components.vae.shards[0].bytes = 2 ** 33)],
    ["a shard with too few hashes", "FormatError", (m) => (m.components.vae.shards[0].bytes = CHUNK_BYTES + 4)],
    ["a shard with too many hashes", "FormatError", (m) => m.components.vae.shards[0].chunks.push("0".repeat(64))],
    ["the same file twice", "FormatError", (m) => m.components.vae.shards.push(m.components.vae.shards[0])],
    [
      "another component's file",
      "FormatError",
      (m) => (m.components.vae.shards[0].file = m.components.transformer.shards[0].file),
    ],
    ["a shard without tensors", "FormatError", (m) => m.components.vae.shards.push({ ...m.tokenizer, file: "vae/b" })],
    ["a tensor name with a slash", "FormatError", (m) => (m.components.vae.tensors["a/b"] = {})],
    ["a shape of zero", "FormatError", (m) => (m.components.transformer.tensors[NAME].shape = [0, 72])],
    ["a shape of fractions", "FormatError", (m) => (m.components.transformer.tensors[NAME].shape = [1.5, 2])],
    ["a huge shape", "FormatError", (m) => (m.components.transformer.tensors[NAME].shape = [2 ** 52, 72])],
    ["no shape", "FormatError", (m) => (m.components.transformer.tensors[NAME].shape = [])],
    ["a shape that does not fit", "FormatError", (m) => (m.components.transformer.tensors[NAME].shape = [71, 288])],
    ["an unknown tensor dtype", "FormatError", (m) => (m.components.transformer.tensors[NAME].dtype = "I8")],
    ["a shard that is not there", "FormatError", (m) => (m.components.transformer.tensors[NAME].parts[0].shard = 1)],
    ["an offset in the header", "FormatError", (m) => (m.components.transformer.tensors[NAME].parts[0].offset = 8)],
    ["an offset beyond the end", "FormatError", (m) => (m.components.transformer.tensors[NAME].parts[0].offset = 1e9)],
    ["an odd offset", "FormatError", (m) => (m.components.transformer.tensors[NAME].parts[0].offset += 1)],
    ["no parts", "FormatError", (m) => (m.components.transformer.tensors[NAME].parts = [])],
    ["parts of half", "FormatError", (m) => (m.components.transformer.tensors[NAME].parts[0].bytes /= 2)],
    ["a quantised vector", "FormatError", (m) => (m.components.transformer.tensors[NAME].dtype = "Q8")],
    ["a missing tensor", "FormatError", (m) => delete m.components.transformer.tensors[NAME]],
    ["a config that is a list", "FormatError", (m) => (m.components.vae.config = [])],
    ["a deep config", "FormatError", (m) => (m.scheduler = JSON.parse('{"a":'.repeat(20) + "1" + "}".repeat(20)))],
    ["a large config", "FormatError", (m) => (m.scheduler.list = Array(5000).fill(1))],
    ["a config with __proto__", "FormatError", (m) => (m.scheduler = JSON.parse('{"__proto__": {"beta_start": 1}}'))],
    ["a tokenizer without a size", "FormatError", (m) => delete m.tokenizer.bytes],
  ])("with %s is a %s", (_, name, change) => {
    const manifest = JSON.parse(text) as Loose;
    change(manifest);
    expect(() => checkManifest(manifest)).toThrow(expect.objectContaining({ name }) as Error);
  });

  it("does not let __proto__ in as a tensor", () => {
    const hostile = text.replace(JSON.stringify(NAME), '"__proto__"');
    expect(hostile).not.toBe(text);
    expect(() => parseManifest(hostile)).toThrow(/"__proto__".*not a tensor name/);
  });

  it.each([
    [
      "",
      "../x",
      "a/../b",
      "..",
      "/etc/passwd",
      "a//b",
      "a/b/c",
      "./a",
      "a/.",
      "a\\b",
      "C:\\x",
      "a b",
      "a%2e%2e/b",
      "a?b",
      "a#b",
    ],
    [
      "http://example.org/a",
      "//example.org/a",
      "javascript:alert(1)",
      "data:,x",
      "file:///x",
      "a/",
      "/",
      "a\0",
      "a\n",
      "é",
      "~/a",
    ],
    ["x".repeat(201), "a..b", "%2e%2e/a", "a:b", "..%2f", "a/..b", null, 5, ["a"], {}],
  ])("takes only plain file names: not %j", (...names) => {
    for (const file of names) {
      const manifest = JSON.parse(text) as Loose;
      manifest.components.vae.shards[0].file = file;
      expect(() => checkManifest(manifest), String(file)).toThrow(/is not a plain relative file name/);
    }
    const manifest = JSON.parse(text) as Loose;
    manifest.components.vae.shards[0].file = "vae-2/model_00001.fp16.safetensors";
    expect((checkManifest(manifest) as Manifest).components.vae!.shards[0].file).toMatch(/^vae-2/);
  });

  it("must be JSON", () => {
    expect(() => parseManifest("<!doctype html>")).toThrow(/not JSON/);
    expect(() => parseManifest("null")).toThrow(/manifest is not an object/);
  });
});

describe("Python's JSON", () => {
  it("turns Infinity and NaN into strings, and leaves text alone", () => {
    const json = parsePythonJson('{"a": -Infinity, "b": [NaN, Infinity, 1], "c": "NaN \\" Infinity"}', "x");
    expect(json).toEqual({ a: "-Infinity", b: ["NaN", "Infinity", 1], c: 'NaN " Infinity' });
    expect(() => parsePythonJson("{a: 1}", "x.json")).toThrow(/x\.json is not JSON/);
  });
});
