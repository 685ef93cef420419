/** Where embeddings come from: the encoder whole or block by block, a prompt pack, storage. On the reference pipeline. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readPromptPack, writePromptPack } from "../../src/encode/prompt_pack.ts";
import { Prompts } from "../../src/encode/prompts.ts";
import type { TextModel } from "../../src/encode/text_model.ts";
import { ScanvasError } from "../../src/errors.ts";
import { loadModel, type LoadOptions, type Model } from "../../src/load.ts";
import { LocalPipeline } from "../../src/pipeline.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import type { EmbeddingStore } from "../../src/weights/embeddings.ts";
import { convert } from "../../tools/convert/convert.ts";
import { serveDirectory } from "../../tools/serve.ts";
import { dawn } from "../kernels/gpu.ts";
import { PIXART } from "../pipeline/golden.ts";

let folder: string;
let server: Awaited<ReturnType<typeof serveDirectory>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scanvas-encode-"));
  await convert(`${PIXART}/pipeline`, folder, { dtype: "f16" });
  server = await serveDirectory(folder);
});
afterAll(() => server.close());

const load = (options: LoadOptions = {}): Promise<Model> =>
  loadModel(server.url, { gpu: dawn(), limits: "default", store: false, ...options });

async function errorOf(run: Promise<unknown>): Promise<ScanvasError> {
  const error: unknown = await run.then(
    () => expect.unreachable("it succeeded"),
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(ScanvasError);
  return error as ScanvasError;
}

const PROMPTS = ["a photo of a red cat", "", "two dogs on a green sofa, in the rain, at night"];

describe("a text encoder streamed block by block", () => {
  it("gives the same numbers as one that is resident, and leaves nothing behind", async () => {
    const [resident, streamed] = [
      await load({ textEncoder: "resident" }),
      await load({ textEncoder: "streamed", components: ["text_encoder"] }),
    ];
    expect([resident.prompts!.kind, streamed.prompts!.kind]).toEqual(["resident", "streamed"]);
    expect(streamed.gpu.arena.bytes, "no weights stay").toBe(0);
    for (const prompt of PROMPTS) {
      const [a, b] = [
        await resident.prompts!.encode(prompt, undefined),
        await streamed.prompts!.encode(prompt, undefined),
      ];
      expect(Array.from(b.ids)).toEqual(Array.from(a.ids));
      expect(b.embeds.length).toBe(a.embeds.length);
      expect(b.embeds.every((value, i) => value === a.embeds[i])).toBe(true);
      expect(streamed.gpu.arena.bytes).toBe(0);
    }
    resident.gpu.dispose();
    streamed.gpu.dispose();
  });

  it("makes the same picture, and gives the memory of the last one back before it encodes", async () => {
    const request = { prompt: PROMPTS[0]!, height: 32, width: 32, numInferenceSteps: 2, seed: 3 };
    const pictures = [];
    for (const textEncoder of ["resident", "streamed"] as const) {
      const pipeline = LocalPipeline.of(await load({ textEncoder }));
      await pipeline.generate({ ...request, prompt: "something else" });
      pictures.push((await pipeline.generate(request)).images[0]!.data);
      await pipeline.dispose();
    }
    expect(pictures[1]).toEqual(pictures[0]);
  });

  it("stops when it is cancelled between two blocks, and works again", async () => {
    const model = await load({ textEncoder: "streamed", components: ["text_encoder"] });
    const controller = new AbortController();
    const run = model.prompts!.encode("a blue bird", controller.signal);
    controller.abort();
    expect((await errorOf(run)).name).toBe("AbortError");
    expect(model.gpu.arena.bytes).toBe(0);
    expect((await model.prompts!.encode("a blue bird", undefined)).embeds.length).toBeGreaterThan(0);
    model.gpu.dispose();
  });
});

describe("a prompt pack", () => {
  let file: string;
  beforeAll(async () => {
    const maker = LocalPipeline.of(await load({ components: ["text_encoder"] }));
    await writeFile((file = join(folder, "pack.safetensors")), await maker.embed(PROMPTS));
    await maker.dispose();
  });

  it("stands in for the text encoder: same picture, only denoiser and image decoder downloaded", async () => {
    const request = { prompt: PROMPTS[0]!, height: 32, width: 32, numInferenceSteps: 2, seed: 3 };
    const whole = LocalPipeline.of(await load());
    const expected = (await whole.generate(request)).images[0]!.data;
    let bytes = 0;
    const promptPack = `${server.url}pack.safetensors`;
    const packed = LocalPipeline.of(await load({ promptPack, onProgress: ({ total }) => (bytes = total) }));
    const { components } = packed.model.manifest;
    const sum = (name: "transformer" | "vae") => components[name]!.shards.reduce((n, shard) => n + shard.bytes, 0);
    expect(bytes).toBe(sum("transformer") + sum("vae"));
    expect(packed.model.prompts!.kind).toBe("pack");
    expect(packed.model.gpu.arena.bytes).toBeLessThan(whole.model.gpu.arena.bytes);
    expect((await packed.generate(request)).images[0]!.data).toEqual(expected);
    expect((await packed.generate({ ...request, prompt: `  ${PROMPTS[0]!.toUpperCase()}` })).images[0]!.data).toEqual(
      expected,
    );
    const error = await errorOf(packed.generate({ ...request, prompt: "a prompt nobody thought of" }));
    expect(error.name).toBe("InvalidArgumentError");
    expect(error.message).toMatch(/"a prompt nobody thought of" is not in the prompt pack, which has 3 \("a photo/);
    await whole.dispose();
    await packed.dispose();
  });

  it("of another text encoder, or no pack at all, is refused before weights are fetched", async () => {
    const { prompts } = readPromptPack(
      new Uint8Array(await import("node:fs/promises").then((fs) => fs.readFile(file))),
      "x",
    );
    await writeFile(join(folder, "other.safetensors"), writePromptPack({ textId: "another", prompts }));
    const refused = await errorOf(load({ promptPack: `${server.url}other.safetensors` }));
    expect([refused.name, refused.message]).toEqual([
      "ModelConfigError",
      expect.stringContaining("made by another text encoder"),
    ]);
    const model = await errorOf(load({ promptPack: `${server.url}vae/model-00001.safetensors` }));
    expect([model.name, model.message]).toEqual(["FormatError", expect.stringContaining("is not a prompt pack")]);
    expect((await errorOf(load({ promptPack: `${server.url}nothing` }))).name).toBe("NetworkError");
  });

  it("comes back from its bytes as it was", () => {
    const prompts = new Map([
      ["ä", { embeds: Float32Array.of(1, 2, 3, 4, 5, 6), ids: Int32Array.of(7, 1), truncated: false }],
      ["", { embeds: Float32Array.of(0.5, -1, 2), ids: Int32Array.of(1), truncated: true }],
    ]);
    expect(readPromptPack(writePromptPack({ textId: "me", prompts }), "x")).toEqual({ textId: "me", prompts });
  });
});

describe("embeddings", () => {
  const tokenizer = {
    vocabSize: 9,
    tokenize: (text: string) => ({ ids: Int32Array.from(text, () => 1), truncated: false, text }),
  } satisfies Tokenizer;

  function counted() {
    const runs: number[] = [];
    const model: TextModel = {
      kind: "streamed",
      encode: async (ids) => {
        runs.push(ids.length);
        return Float32Array.from({ length: 2 * ids.length }, (_, i) => i);
      },
      dispose() {},
    };
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    const store: EmbeddingStore = {
      read: async (name) => files.get(name),
      write: async (name, bytes) => void files.set(name, bytes),
    };
    const make = (textId: string) => new Prompts({ maxTokens: 8, textId, encoder: { tokenizer, model }, store });
    return { runs, files, make };
  }

  it("are kept by encoder and prompt, in memory and in storage; damage costs one run", async () => {
    const { runs, files, make } = counted();
    const first = make("a");
    const once = await first.encode("cat", undefined);
    expect(await first.encode(" CAT ", undefined)).toBe(once);
    expect(await make("a").encode("cat", undefined)).toEqual(once);
    expect(runs).toEqual([3]);
    await make("b").encode("cat", undefined);
    expect(runs, "another encoder").toEqual([3, 3]);
    for (const name of files.keys()) files.set(name, new Uint8Array(20));
    expect(await make("a").encode("cat", undefined)).toEqual(once);
    expect(runs, "damaged files").toEqual([3, 3, 3]);
  });
});
