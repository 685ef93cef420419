// Ten thousand damaged inputs for everything that reads what others wrote: a named error or a sound result, at once.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { readPromptPack, writePromptPack } from "../../src/encode/prompt_pack.ts";
import { ScanvasError } from "../../src/errors.ts";
import { fromHash, toHash } from "../../src/page/link.ts";
import { settingsOf, withSettings } from "../../src/page/parameters.ts";
import { addText, readText } from "../../src/page/png.ts";
import { cleanSettings, defaultSettings, LIMITS, SAMPLERS, type Settings } from "../../src/page/settings.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import type { Model } from "../../src/load.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { fileUrl, modelUrl } from "../../src/weights/fetch.ts";
import { checkManifest, parseManifest, SHARD_BYTES, type Manifest } from "../../src/weights/manifest.ts";
import { DTYPE_BYTES, readSafetensors, writeSafetensors } from "../../src/weights/safetensors.ts";
import type { GenerateRequest } from "../../src/worker/api.ts";
import { convert } from "../../tools/convert/convert.ts";
import { GOLDEN, scratch } from "../weights/fixtures.ts";
import { damageBytes, damageJson, draws, pick, ROUNDS, SEED, VALUES, wildText, type Draw } from "./mutate.ts";

vi.setConfig({ testTimeout: 240_000 });

/** Milliseconds that one input may take, on a machine that is busy with other things. */
const PATIENCE = 10_000;

/**
 * Feeds `ROUNDS` inputs; `read` returns what came of one, or throws an error of ours. Both must happen, else the damage is too small or too
 * large to say anything.
 */
async function fuzz(salt: number, read: (draw: Draw) => unknown, both = true): Promise<void> {
  const draw = draws(salt);
  const ends = { accepted: 0, refused: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const began = performance.now();
    try {
      await read(draw);
      ends.accepted++;
    } catch (error) {
      if (!(error instanceof ScanvasError))
        throw new Error(`seed ${SEED}, round ${round}: ${String(error)}`, { cause: error });
      ends.refused++;
    }
    expect(performance.now() - began, `seed ${SEED}, round ${round}: milliseconds`).toBeLessThan(PATIENCE);
  }
  expect(ends.accepted, "accepted").toBeGreaterThan(both ? 20 : ROUNDS - 1);
  if (both) expect(ends.refused, "refused").toBeGreaterThan(20);
}

describe("ten thousand damaged", () => {
  it("safetensors headers", async () => {
    const tensors = [
      { name: "a", dtype: "F32" as const, shape: [2, 3], data: new Uint8Array(24) },
      { name: "b.weight", dtype: "F16" as const, shape: [4], data: new Uint8Array(8) },
      { name: "c", dtype: "U8" as const, shape: [0], data: new Uint8Array(0) },
    ];
    const good = writeSafetensors(tensors, { format: "pt", note: 'a "note"' });
    const length = Number(new DataView(good.buffer).getBigUint64(0, true));
    const json: unknown = JSON.parse(new TextDecoder().decode(good.subarray(8, 8 + length)));
    await fuzz(1, (draw) => {
      let file: Uint8Array = damageBytes(draw, good);
      if (draw() < 0.5) {
        const header = new TextEncoder().encode(JSON.stringify(damageJson(draw, json)));
        file = new Uint8Array([...new Uint8Array(8), ...header, ...good.subarray(8 + length)]);
        new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
      }
      const read = readSafetensors(file);
      // What the format promises, without the reader's own logic: every byte belongs to one tensor.
      const owners = new Uint8Array(file.length - read.dataStart);
      for (const { dtype, shape, begin, end } of read.tensors.values()) {
        expect(end - begin).toBe(shape.reduce((product, n) => product * n, 1) * DTYPE_BYTES[dtype]);
        for (let i = begin; i < end; i++) owners[i - read.dataStart]++;
      }
      expect(owners.every((count) => count === 1)).toBe(true);
    });
  });

  it("prompt packs", async () => {
    const encoded = { embeds: new Float32Array(6), ids: Int32Array.of(3, 1), truncated: false };
    const good = writePromptPack({ textId: "x", prompts: new Map([["a cat", encoded]]) });
    await fuzz(2, (draw) => {
      for (const { embeds, ids } of readPromptPack(damageBytes(draw, good), "pack").prompts.values()) {
        expect(embeds.length % ids.length).toBe(0);
      }
    });
  });

  describe("with a converted model", () => {
    let text: string;
    let manifest: Manifest;
    beforeAll(async () => {
      manifest = (await convert(join(GOLDEN, "pixart/pipeline"), await scratch())).manifest;
      // Few tensors are enough, and quick.
      for (const part of Object.values(manifest.components)) {
        const [shard] = part.shards;
        const [name, entry] = Object.entries(part.tensors)[0];
        part.tensors = { [name]: { ...entry, parts: [{ ...entry.parts[0] }] } };
        shard.bytes = entry.parts[0].offset + entry.parts[0].bytes;
        shard.chunks = ["0".repeat(64)];
        part.shards = [shard];
      }
      text = JSON.stringify(manifest);
      parseManifest(text);
    });

    it("manifests", async () => {
      await fuzz(3, (draw) => {
        const found =
          draw() < 0.3
            ? parseManifest(new TextDecoder().decode(damageBytes(draw, new TextEncoder().encode(text))))
            : checkManifest(damageJson(draw, manifest));
        expect(Object.keys(found.components).length).toBeGreaterThan(0);
        const base = modelUrl("https://example.org/models/mine/");
        for (const { shards, tensors } of Object.values(found.components)) {
          for (const { file, bytes } of shards) {
            expect(fileUrl(base, file).startsWith("https://example.org/models/mine/")).toBe(true);
            expect(bytes > 0 && bytes <= SHARD_BYTES).toBe(true);
          }
          for (const { parts } of Object.values(tensors)) {
            for (const part of parts) expect(part.offset + part.bytes).toBeLessThanOrEqual(shards[part.shard].bytes);
          }
        }
        expect(({} as Record<string, unknown>).beta_start, "no prototype was touched").toBeUndefined();
      });
    });

    it("shard names", async () => {
      const parts = [
        "..",
        ".",
        "/",
        "\\",
        "%2e",
        "%2f",
        "a",
        "vae",
        "model-1.safetensors",
        "\0",
        ":",
        "http:",
        "//",
        "@",
        "?",
        "#",
        " ",
      ];
      await fuzz(4, (draw) => {
        const file = Array.from({ length: 1 + Math.floor(draw() * 5) }, () => pick(draw, parts)).join("");
        const changed = JSON.parse(text) as Manifest;
        changed.components.vae!.shards[0].file = file;
        const found = checkManifest(changed).components.vae!.shards[0].file;
        const url = new URL(fileUrl(modelUrl("https://example.org/models/mine/"), found));
        expect([url.origin, url.pathname]).toEqual(["https://example.org", `/models/mine/${file}`]);
      });
    });
  });

  it("tokenizers", async () => {
    const read = (name: string): unknown => JSON.parse(readFileSync(join(GOLDEN, "text/pixart", name), "utf8"));
    const [file, config] = [read("tokenizer.json"), read("tokenizer_config.json")];
    await fuzz(5, (draw) => {
      const tokenizer = loadTokenizer(damageJson(draw, file), draw() < 0.2 ? damageJson(draw, config) : config);
      for (const prompt of ["a red cat", wildText(draw)]) {
        const { ids } = tokenizer.tokenize(prompt, 20);
        expect(ids.length).toBeLessThanOrEqual(20);
        for (const id of ids)
          expect(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize, `id ${id}`).toBe(true);
      }
    });
  });

  it("prompts: any text at all has ids in range", async () => {
    const read = (name: string): unknown => JSON.parse(readFileSync(join(GOLDEN, "text/pixart", name), "utf8"));
    const tokenizer = loadTokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
    await fuzz(
      6,
      (draw) => {
        const { ids } = tokenizer.tokenize(wildText(draw), 120);
        expect(ids.length).toBeGreaterThan(0);
        for (const id of ids) expect(id >= 0 && id < tokenizer.vocabSize).toBe(true);
      },
      false,
    );
    const began = performance.now();
    for (const text of [
      "a".repeat(1e6),
      " ".repeat(1e6),
      "a\u0301".repeat(5e5),
      "\ud800".repeat(1e6),
      "🐱".repeat(3e5),
      "\0".repeat(1e6),
    ])
      tokenizer.tokenize(text, 120);
    expect(performance.now() - began).toBeLessThan(2 * PATIENCE);
  });

  const CARD = {
    id: "m",
    url: "m/",
    title: "",
    about: "",
    examples: ["a cat"],
    bytes: 1,
    size: 64,
    steps: 4,
    guidanceScale: 3,
    licence: "",
  };
  const expectClean = (found: Partial<Settings>): void => {
    for (const [key, value] of Object.entries(found)) {
      expect(Object.keys(defaultSettings(CARD))).toContain(key);
      if (typeof value === "string") expect(value.length).toBeLessThanOrEqual(LIMITS.text);
    }
    for (const key of ["width", "height"] as const) {
      const pixels = found[key];
      if (pixels !== undefined)
        expect(pixels % 16 === 0 && pixels >= 16 && pixels <= 2048, `${key} ${pixels}`).toBe(true);
    }
    if (found.sampler !== undefined) expect(SAMPLERS).toContain(found.sampler);
    if (found.seed !== undefined) expect(Number.isSafeInteger(found.seed) && found.seed >= 0).toBe(true);
  };

  it("pictures with settings", async () => {
    const header = Uint8Array.from([
      137,
      80,
      78,
      71,
      13,
      10,
      26,
      10,
      0,
      0,
      0,
      13,
      73,
      72,
      68,
      82,
      ...new Uint8Array(17),
    ]);
    const end = Uint8Array.from([0, 0, 0, 0, 73, 69, 78, 68, 0xae, 0x42, 0x60, 0x82]);
    const settings = { ...defaultSettings(CARD), prompt: "größer 🐱", seed: 7 };
    const plain = new Blob([header, end]);
    const good = new Uint8Array(await (await withSettings(plain, settings)).arrayBuffer());
    expect(await settingsOf(new Blob([good]))).toMatchObject({ prompt: "größer 🐱", seed: 7 });
    await fuzz(
      7,
      async (draw) => {
        let file = damageBytes(draw, good);
        if (draw() < 0.5) {
          const text = draw() < 0.5 ? JSON.stringify(damageJson(draw, settings)) : wildText(draw);
          const keyword = pick(draw, ["scanvas", "parameters", "x"]);
          file = new Uint8Array(
            await addText(new Uint8Array(await plain.arrayBuffer()), [{ keyword, text }]).arrayBuffer(),
          );
        }
        for (const { keyword, text } of readText(file)) {
          expect(keyword.length).toBeGreaterThan(0);
          expect(text.length).toBeLessThanOrEqual(65_536);
        }
        expectClean((await settingsOf(new Blob([file]))) ?? {});
      },
      false,
    );
  });

  it("links", async () => {
    const good = toHash({ ...defaultSettings(CARD), seed: 7 });
    await fuzz(
      8,
      (draw) => {
        const hash =
          draw() < 0.5
            ? `#${wildText(draw)}`
            : new TextDecoder().decode(damageBytes(draw, new TextEncoder().encode(good)));
        expectClean(fromHash(hash) ?? {});
        expectClean(cleanSettings(damageJson(draw, defaultSettings(CARD))));
      },
      false,
    );
  });

  it("requests, as attributes and pages make them", async () => {
    const good = {
      prompt: "a",
      negativePrompt: "",
      height: 32,
      width: 32,
      numInferenceSteps: 2,
      guidanceScale: 3,
      seed: 5,
      numImages: 1,
    };
    // Only what the checks read; the signal ends each request that passes them before anything is computed.
    const denoiser = { config: { patchSize: 2, sampleSize: 16, inChannels: 4 } };
    const gpu = { lost: undefined, arena: { bytes: 0, peak: 0 }, withinMemory: () => undefined };
    const model = { gpu, manifest: { className: "PixArtAlphaPipeline", scheduler: {} }, prompts: {}, denoiser };
    const pipeline = LocalPipeline.of(model as unknown as Model);
    const signal = AbortSignal.abort();
    await fuzz(9, async (draw) => {
      const request = damageJson(draw, good) as Record<string, unknown>;
      if (draw() < 0.5)
        request[pick(draw, Object.keys(good))] = draw() < 0.3 ? Number(wildText(draw)) : pick(draw, VALUES);
      const error = await pipeline.generate(request as unknown as GenerateRequest, { signal }).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (!(error instanceof ScanvasError) || error.name !== "AbortError") throw error;
      const { height, width, seed } = { ...good, ...request } as typeof good;
      for (const pixels of [height ?? 128, width ?? 128])
        expect(pixels % 16 === 0 && pixels >= 16 && pixels <= 16384).toBe(true);
      expect(seed === null || seed === undefined || (Number.isSafeInteger(seed) && seed >= 0)).toBe(true);
    });
  });
});
