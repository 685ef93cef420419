/** What convert does about broken or changing inputs, interruptions and reruns. */
import { createHash } from "node:crypto";
import { cp, readFile, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ScanvasError } from "../../src/errors.ts";
import { checkManifest } from "../../src/weights/manifest.ts";
import { convert } from "../../tools/convert/convert.ts";
import type { Weights } from "./fixtures.ts";
import { GOLDEN, models, put, randomWeights, readConverted, readManifest, safetensors } from "./fixtures.ts";
import { scratch, WEIGHT_FILE, writeModel } from "./fixtures.ts";

const { config, tensors: shapes } = models.pixart;
const REFERENCE = join(GOLDEN, "pixart/pipeline");

/** Hash and time of every file. */
async function snapshot(directory: string): Promise<Map<string, { hash: string; modified: number }>> {
  const files = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const all = files.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const hash = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    return [path.slice(directory.length + 1), { hash, modified: (await stat(path)).mtimeMs }] as const;
  });
  return new Map((await Promise.all(all)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function hashes(directory: string): Promise<[string, string][]> {
  return [...(await snapshot(directory))].map(([name, { hash }]) => [name, hash]);
}

async function failure(run: Promise<unknown>): Promise<string> {
  const error = await run.then(
    () => expect.unreachable("it succeeded"),
    (cause: unknown) => cause as ScanvasError,
  );
  return `${error.name}: ${error.message}`;
}

describe("a rerun", () => {
  it("touches nothing", async () => {
    const out = await scratch();
    expect((await convert(REFERENCE, out)).written).toBeGreaterThan(3);
    const before = await snapshot(out);
    const kept: boolean[] = [];
    const second = await convert(REFERENCE, out, { onShard: (_file, _bytes, keep) => kept.push(keep) });
    expect([second.written, kept]).toEqual([0, [true, true, true]]);
    expect(await snapshot(out)).toEqual(before);
  });

  it("elsewhere gives the same bytes", async () => {
    const [a, b] = [await scratch(), await scratch()];
    await convert(REFERENCE, a);
    await convert(REFERENCE, b);
    expect(await hashes(a)).toEqual(await hashes(b));
  });

  it("after an interruption does only the rest", async () => {
    const [whole, out] = [await scratch(), await scratch()];
    await convert(REFERENCE, whole);
    const stop = (file: string) => {
      if (file.startsWith("transformer/")) throw new Error("killed");
    };
    await expect(convert(REFERENCE, out, { onShard: stop })).rejects.toThrow("killed");
    await put(out, "vae/model-00001.safetensors.part", "half a file");
    expect([...(await snapshot(out)).keys()]).not.toContain("manifest.json");
    const report: [string, boolean][] = [];
    await convert(REFERENCE, out, { onShard: (file, _bytes, kept) => report.push([file.split("/")[0], kept]) });
    expect(report).toEqual([
      ["text_encoder", true],
      ["transformer", true],
      ["vae", false],
    ]);
    expect(await hashes(out)).toEqual(await hashes(whole));
  });

  it.each([
    ["a flipped byte", (bytes: Buffer) => void (bytes[bytes.length - 5] ^= 1)],
    ["a missing end", (bytes: Buffer) => bytes.subarray(0, -1)],
  ])("mends an output with %s", async (_, damage) => {
    const out = await scratch();
    await convert(REFERENCE, out);
    const before = await hashes(out);
    const file = join(out, "vae/model-00001.safetensors");
    const bytes = await readFile(file);
    await writeFile(file, damage(bytes) ?? bytes);
    expect((await convert(REFERENCE, out)).written).toBeGreaterThan(0);
    expect(await hashes(out)).toEqual(before);
  });

  it("does it all again without its record, for another dtype, or for a changed input", async () => {
    const [model, out] = [await scratch(), await scratch()];
    await cp(REFERENCE, model, { recursive: true });
    await convert(model, out, { dtype: "f32" });
    await rm(join(out, ".convert.json"));
    expect((await convert(model, out, { dtype: "f32" })).written).toBeGreaterThanOrEqual(3);
    await convert(model, out, { dtype: "f16" });
    expect((await readManifest(out)).components.vae!.dtype).toBe("f16");
    const source = join(model, "transformer", WEIGHT_FILE.transformer);
    const bytes = await readFile(source);
    bytes.writeFloatLE(0.125, bytes.length - 4);
    await writeFile(source, bytes);
    await utimes(source, new Date(), new Date(Date.now() + 5000));
    const changed: string[] = [];
    await convert(model, out, { onShard: (file, _bytes, kept) => void (kept || changed.push(file)) });
    expect(changed).toEqual(["transformer/model-00001.safetensors"]);
  });

  it("removes shards that an earlier conversion left", async () => {
    const [model, out] = [await scratch(), await scratch()];
    await cp(REFERENCE, model, { recursive: true });
    await convert(model, out);
    await rm(join(model, "vae"), { recursive: true });
    await convert(model, out);
    expect([...(await snapshot(out)).keys()].filter((name) => name.startsWith("vae/"))).toEqual([]);
    expect(Object.keys((await readManifest(out)).components)).toEqual(["text_encoder", "transformer"]);
  });
});

describe("inputs", () => {
  const parts = (source: Weights): Weights[] => {
    const names = [...source.keys()];
    return [0, 1, 2].map((k) => new Map(names.filter((_, i) => i % 3 === k).map((name) => [name, source.get(name)!])));
  };
  const indexFor = (groups: Weights[]) => {
    const pairs = groups.flatMap((group, k) => [...group.keys()].map((name) => [name, `part-${k}.safetensors`]));
    return { metadata: {}, weight_map: Object.fromEntries(pairs) as Record<string, string> };
  };
  const INDEX = "diffusion_pytorch_model.safetensors.index.json";

  async function sharded(groups: Weights[], index: unknown = indexFor(groups)): Promise<string> {
    const model = await scratch();
    await put(model, "config.json", JSON.stringify(config));
    await put(model, INDEX, typeof index === "string" ? index : JSON.stringify(index));
    for (const [k, group] of groups.entries()) await put(model, `part-${k}.safetensors`, safetensors(group));
    return model;
  }

  it("in several files give the same as in one; a bare transformer directory is enough", async () => {
    const source = randomWeights(shapes);
    const [one, many] = [await scratch(), await scratch()];
    await convert(await writeModel("transformer", config, source), one);
    await convert(await sharded(parts(source)), many);
    expect(await readConverted(many, "transformer")).toEqual(await readConverted(one, "transformer"));
  });

  it("with a broken index are refused", async () => {
    const groups = parts(randomWeights(shapes));
    const convertIndex = async (index: unknown) => failure(convert(await sharded(groups, index), await scratch()));
    const good = indexFor(groups);
    const escape = { weight_map: { ...good.weight_map, "proj_out.bias": "../secret.safetensors" } };
    expect(await convertIndex(escape)).toMatch(/^FormatError: .*"\.\.\/secret\.safetensors" is not a plain file name/);
    const swapped = { weight_map: { ...good.weight_map, "proj_out.bias": "part-0.safetensors" } };
    const other = good.weight_map["proj_out.bias"] === "part-0.safetensors" ? "part-1" : "part-0";
    swapped.weight_map["proj_out.bias"] = `${other}.safetensors`;
    expect(await convertIndex(swapped)).toMatch(/FormatError: .* has no tensor "proj_out\.bias"/);
    expect(await convertIndex("{")).toMatch(/^FormatError: .* is not JSON/);
    expect(await convertIndex({})).toMatch(/^FormatError: .* has no weight_map/);
  });

  it("use a lone variant, and prefer the plain name to one", async () => {
    const model = await scratch();
    await put(model, "transformer/config.json", JSON.stringify(config));
    await put(
      model,
      "transformer/diffusion_pytorch_model.fp16.safetensors",
      safetensors(randomWeights(shapes, 1), "F16"),
    );
    const variant = await scratch();
    await convert(model, variant, { dtype: "f32" });
    await put(model, "transformer/diffusion_pytorch_model.safetensors", safetensors(randomWeights(shapes, 2)));
    const plain = await scratch();
    await convert(model, plain, { dtype: "f32" });
    const bias = async (out: string) => (await readConverted(out, "transformer")).get("proj_out.bias")!.values;
    expect(await bias(variant)).toEqual(randomWeights(shapes, 1).get("proj_out.bias")!.values);
    expect(await bias(plain)).toEqual(randomWeights(shapes, 2).get("proj_out.bias")!.values);
  });

  it.each<[string, (weights: Weights) => void, RegExp]>([
    [
      "lack a tensor",
      (weights) => void weights.delete("transformer_blocks.1.attn2.to_v.bias"),
      /^TensorError: transformer: no tensor "transformer_blocks\.1\.attn2\.to_v\.bias", expected F32, F16 or BF16 \[72\]/,
    ],
    [
      "have one of another shape",
      (weights) => void (weights.get("proj_out.weight")!.shape = [72, 32]),
      /^TensorError: transformer: tensor "proj_out\.weight": got F32 \[72, 32\], expected F32, F16 or BF16 \[32, 72\]/,
    ],
    [
      "hold a NaN",
      (weights) => void (weights.get("transformer_blocks.0.ff.net.2.weight")!.values[7] = NaN),
      /^NumericalError: tensor "transformer_blocks\.0\.ff\.net\.2\.weight": element 7 is NaN/,
    ],
    [
      "hold an infinity",
      (weights) => void (weights.get("pos_embed.proj.bias")!.values[0] = -Infinity),
      /^NumericalError: tensor "pos_embed\.proj\.bias": element 0 is -Infinity/,
    ],
  ])("that %s are refused by name", async (_, breakIt, message) => {
    const source = randomWeights(shapes);
    breakIt(source);
    const out = await scratch();
    expect(await failure(convert(await writeModel("transformer", config, source), out))).toMatch(message);
    expect(await readdir(out)).not.toContain("manifest.json");
  });

  it("that are not what they say are refused by name", async () => {
    const lfs = await scratch();
    await put(lfs, "config.json", JSON.stringify(config));
    expect(await failure(convert(lfs, await scratch()))).toMatch(
      /^FormatError: .* no single safetensors file or index/,
    );
    await put(lfs, "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n");
    expect(await failure(convert(lfs, await scratch()))).toMatch(/^FormatError: .* is a Git LFS pointer/);
    const whole = safetensors(randomWeights(shapes));
    await put(lfs, "model.safetensors", whole.subarray(0, whole.length - 100));
    expect(await failure(convert(lfs, await scratch()))).toMatch(/^TruncatedError: /);
    expect(await failure(convert(await scratch(), await scratch()))).toMatch(
      /^InvalidArgumentError: .* not a pipeline dir/,
    );
    expect(await failure(convert(lfs, lfs))).toMatch(/^InvalidArgumentError: .*--out is the input directory/);
    await put(lfs, "config.json", "[1");
    expect(await failure(convert(lfs, await scratch()))).toMatch(/^FormatError: .*config\.json is not JSON/);
  });

  it("with a text encoder need a tokenizer.json, and a known pipeline class", async () => {
    const model = await scratch();
    await cp(REFERENCE, model, { recursive: true });
    await put(model, "model_index.json", JSON.stringify({ _class_name: "FluxPipeline" }));
    expect(await failure(convert(model, await scratch()))).toMatch(
      /^ModelConfigError: .* "FluxPipeline", expected T2MD/,
    );
    await rm(join(model, "tokenizer"), { recursive: true });
    expect(await failure(convert(model, await scratch()))).toMatch(/^FormatError: .* no tokenizer\/tokenizer\.json/);
  });

  it("name their licence in the model card", async () => {
    const model = await writeModel("transformer", config, randomWeights(shapes));
    const out = await scratch();
    expect((await convert(model, out)).manifest.licence).toBe("unknown");
    await put(model, "README.md", "---\ntags: [a]\nlicense: openrail++\n---\n# Model\n");
    expect((await convert(model, out)).manifest.licence).toBe("openrail++");
    expect((await convert(model, out, { licence: "MIT", source: "here" })).manifest).toMatchObject({
      licence: "MIT",
      source: "here",
    });
    expect(checkManifest(await readManifest(out)).licence).toBe("MIT");
  });
});
