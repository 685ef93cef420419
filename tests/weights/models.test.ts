/** What is kept of which model: offline loads, new versions, removal. */
import { beforeEach, describe, expect, it } from "vitest";
import type { ScanvasError } from "../../src/errors.ts";
import { prefetchWeights, streamWeights } from "../../src/weights/load.ts";
import type { Manifest } from "../../src/weights/manifest.ts";
import { commitModel, fetchManifest } from "../../src/weights/models.ts";
import { fetchFile } from "../../src/weights/obtain.ts";
import { listModels, persist, removeModel, storageEstimate } from "../../src/weights/storage.ts";
import { downloadSize } from "../../src/weights/size.ts";
import { FakeDirectory } from "./directory.ts";
import { dummyModel, type DummyModel, sha256, type Source, tensorHashes } from "./dummy.ts";
import { always, cut, faultServer, type FaultServer, instead, stall, status } from "./server.ts";

const FAST = { retryDelay: 2 };
const SIZES = Array<number>(6).fill(8192);
const first = dummyModel(SIZES);
const second = exchangeShard(first, 3);

let server: FaultServer;
let directory: FakeDirectory;
beforeEach(async () => {
  server = await faultServer(new Map(first.files));
  directory = new FakeDirectory();
});

/** The next version of a model: one shard and the tokenizer are other ones. */
function exchangeShard(model: DummyModel, shard: number): DummyModel {
  const other = dummyModel(SIZES, { seed: 2 });
  const manifest = structuredClone(model.manifest);
  const { file } = manifest.components.transformer!.shards[shard];
  manifest.components.transformer!.shards[shard] = other.manifest.components.transformer!.shards[shard];
  manifest.tokenizer = other.manifest.tokenizer;
  const files = new Map<string, Source>(model.files);
  for (const name of [file, "tokenizer/tokenizer.json"]) files.set(name, other.files.get(name)!);
  files.set("manifest.json", Buffer.from(JSON.stringify(manifest)));
  return { manifest, files, bytes: [...files.values()].reduce((sum, { length }) => sum + length, 0) };
}

const serve = (model: DummyModel): void => {
  for (const [name, file] of model.files) server.files.set(name, file);
};

/** Any fetch fails as it does without a network, and is counted. */
let refused = 0;
const offline: typeof fetch = async () => {
  refused++;
  throw new TypeError("Failed to fetch");
};

interface Loaded {
  manifest: Manifest;
  hashes: Record<string, string>;
  complete: boolean;
}

/** What an engine does, with tensors as hashes. */
async function load(
  options: { fetch?: typeof fetch; integrity?: string; url?: string; idleTimeout?: number } = {},
): Promise<Loaded> {
  const { url = server.url, ...rest } = options;
  const store = directory.store();
  const all = { ...FAST, ...rest, store };
  const manifest = await fetchManifest(url, all);
  await fetchFile(url, manifest.tokenizer!, all);
  const hashes: Record<string, string> = {};
  const sink = { tensor: (name: string, _: unknown, bytes: Uint8Array) => void (hashes[name] = sha256(bytes)) };
  await streamWeights(url, manifest, "transformer", sink, all);
  return { manifest, hashes, complete: await commitModel(url, store) };
}

async function failure(run: Promise<unknown>): Promise<string> {
  const error = await run.then(
    () => expect.unreachable("it succeeded"),
    (cause: unknown) => cause as ScanvasError,
  );
  return `${error.name}: ${error.message}`;
}

const versionOf = ({ hashes }: Loaded): number =>
  JSON.stringify(hashes) === JSON.stringify(tensorHashes(first))
    ? 1
    : JSON.stringify(hashes) === JSON.stringify(tensorHashes(second))
      ? 2
      : 0;

describe("a model that was loaded once", () => {
  beforeEach(async () => {
    expect((await load()).complete).toBe(true);
    server.requests.length = refused = 0;
  });

  it("asks for its manifest alone when it is loaded again", async () => {
    expect(versionOf(await load())).toBe(1);
    expect(server.requests.map(({ path }) => path)).toEqual(["manifest.json"]);
  });

  it("loads without a network, with one vain request", async () => {
    const loaded = await load({ fetch: offline });
    expect([versionOf(loaded), loaded.manifest, loaded.complete]).toEqual([1, first.manifest, true]);
    expect(refused).toBe(1);
    expect(server.requests).toEqual([]);
  });

  it("loads without a request when its manifest is pinned", async () => {
    const integrity = sha256(first.files.get("manifest.json")!.subarray(0, Infinity));
    expect(versionOf(await load({ fetch: offline, integrity }))).toBe(1);
    expect(refused).toBe(0);
    expect(await failure(load({ fetch: offline, integrity: "0".repeat(64) }))).toMatch(/^NetworkError/);
    expect(await failure(load({ integrity: "0".repeat(64) }))).toMatch(/^IntegrityError/);
  });

  it.each([
    ["cut lines", () => always(cut(0))],
    ["silence", () => always(stall(0))],
  ])("loads past %s", async (_, faults) => {
    server.faults.set("*", faults());
    expect(versionOf(await load({ idleTimeout: 200 }))).toBe(1);
    expect(server.requests.length).toBe(1);
  });

  it.each([
    ["404", () => always(status(404)), /^NetworkError: .* HTTP 404/],
    ["500", () => always(status(500)), /^NetworkError: .* HTTP 500/],
    ["a web page", () => [instead("<html>", "text/html")], /^FormatError: got a web page/],
    ["no JSON", () => [instead("{")], /^FormatError: .* not JSON/],
  ])("is not taken from the store when the host answers with %s", async (_, faults, message) => {
    server.faults.set("manifest.json", faults());
    expect(await failure(load())).toMatch(message);
    server.faults.clear();
    expect(versionOf(await load())).toBe(1);
  });

  it("is another one under another address, or in parts when pieces are gone", async () => {
    expect(await failure(load({ fetch: offline, url: `${server.url}other/` }))).toMatch(/^NetworkError/);
    directory.files.delete(first.manifest.components.transformer!.shards[2].chunks[0]);
    expect(await failure(load({ fetch: offline }))).toMatch(/^NetworkError: .*model-00003/);
  });

  it("is asked for again when its stored manifest or record is damaged", async () => {
    for (const [name, bytes] of directory.files) {
      if (directory.pieces().includes(name) && bytes[0] !== 0x7b) continue; // 0x7b: {
      directory.files.set(name, bytes.with(bytes.length >> 1, 0));
    }
    expect(await failure(load({ fetch: offline }))).toMatch(/^NetworkError/);
    expect(versionOf(await load())).toBe(1);
    expect((await load({ fetch: offline })).complete).toBe(true);
  });

  it("keeps its address when the query changes, as in signed ones", async () => {
    await load({ url: `${server.url}?signature=1` });
    expect((await listModels(directory.store())).map(({ url }) => url)).toEqual([server.url]);
    expect(versionOf(await load({ fetch: offline, url: `${server.url}manifest.json?signature=2` }))).toBe(1);
  });
});

describe("a new version", () => {
  beforeEach(async () => {
    await load();
    serve(second);
  });

  it("takes the place of the old one when it is there, and fetches only what changed", async () => {
    server.requests.length = 0;
    expect(versionOf(await load())).toBe(2);
    expect(server.requests.map(({ path }) => path)).toEqual([
      "manifest.json",
      "tokenizer/tokenizer.json",
      second.manifest.components.transformer!.shards[3].file,
    ]);
    expect((await listModels(directory.store())).length).toBe(1);
    const pieces = [...second.files.values()].map((file) => sha256(file.subarray(0, file.length)));
    expect(directory.pieces()).toEqual(pieces.toSorted());
    expect(versionOf(await load({ fetch: offline }))).toBe(2);
  });

  it("leaves the old one whole while it is not all there", async () => {
    server.faults.set(second.manifest.components.transformer!.shards[3].file, always(cut(0.2)));
    expect(await failure(load())).toMatch(/^NetworkError/);
    const models = await listModels(directory.store());
    expect(models.map(({ complete }) => complete)).toEqual([false, true]);
    expect(versionOf(await load({ fetch: offline }))).toBe(1);
    server.faults.clear();
    expect(versionOf(await load())).toBe(2);
    expect((await listModels(directory.store())).map(({ complete }) => complete)).toEqual([true]);
  });

  it("leaves the old one when there is no room for both", async () => {
    directory.room = directory.used() + 4000;
    const loaded = await load();
    expect([versionOf(loaded), loaded.complete]).toEqual([2, false]);
    expect(versionOf(await load({ fetch: offline }))).toBe(1);
  });

  it("may be the old one again", async () => {
    await load();
    serve(first);
    expect(versionOf(await load())).toBe(1);
    expect(versionOf(await load({ fetch: offline }))).toBe(1);
    expect((await listModels(directory.store())).length).toBe(1);
  });
});

describe("the storage panel", () => {
  it("tells what is there of a model that is under way, and of a whole one", async () => {
    const store = directory.store();
    expect(await listModels(store)).toEqual([]);
    await fetchManifest(server.url, { ...FAST, store });
    const size = first.files.get("manifest.json")!.length;
    const [begun] = await listModels(store);
    expect(begun).toMatchObject({ url: server.url, bytes: first.bytes, present: size, complete: false });
    expect(begun).toMatchObject({ className: "PixArtAlphaPipeline", source: "random numbers", licence: "CC0-1.0" });
    expect(Math.abs(Date.now() - begun.date.getTime())).toBeLessThan(60_000);
    await prefetchWeights(server.url, first.manifest, "transformer", { ...FAST, store });
    await fetchFile(server.url, first.manifest.tokenizer!, { ...FAST, store });
    expect(await listModels(store)).toMatchObject([{ present: first.bytes, complete: true }]);
  });

  it("removes a model, and of two that share pieces only what is its own", async () => {
    const store = directory.store();
    await load();
    for (const [name, file] of second.files) server.files.set(`next/${name}`, file);
    await load({ url: `${server.url}next/` });
    expect((await listModels(store)).map(({ url }) => url)).toEqual([`${server.url}next/`, server.url]);
    expect(await removeModel(`${server.url}manifest.json`, store)).toBe(true);
    expect(await removeModel(server.url, store)).toBe(false);
    expect(await listModels(store)).toMatchObject([{ url: `${server.url}next/`, complete: true }]);
    expect(directory.pieces().length).toBe(second.files.size);
    await removeModel(`${server.url}next/`, store);
    expect(directory.files.size).toBe(0);
  });

  it("says nothing is there where there is no storage", async () => {
    expect(await listModels()).toEqual([]);
    expect(await removeModel("https://example.org/")).toBe(false);
    expect(await removeModel("not an address", directory.store())).toBe(false);
    expect(await storageEstimate()).toEqual({ usage: 0, quota: 0, persisted: false });
    expect(await persist()).toBe(false);
  });
});

describe("the size of a download", () => {
  const manifestBytes = first.files.get("manifest.json")!.length;
  const size = (options: { fetch?: typeof fetch; integrity?: string; promptPack?: string } = {}) =>
    downloadSize(server.url, { ...FAST, ...options, store: directory.store() });

  it("counts the pieces that are not stored, and keeps nothing", async () => {
    const bytes = first.bytes - manifestBytes;
    expect(await size()).toEqual({ total: bytes, missing: bytes });
    expect(await listModels(directory.store())).toEqual([]);
    await load();
    expect(await size()).toEqual({ total: bytes, missing: 0 });

    serve(second);
    const changed = [second.manifest.components.transformer!.shards[3], second.manifest.tokenizer!];
    const total = second.bytes - second.files.get("manifest.json")!.length;
    expect(await size()).toEqual({ total, missing: changed[0].bytes + changed[1].bytes });
  });

  it("leaves out the text encoder and its tokenizer where a prompt pack stands in for them", async () => {
    const shards = first.manifest.components.transformer!.shards.map((shard) => ({
      ...shard,
      file: shard.file.replace("transformer", "text_encoder"),
    }));
    const components = {
      ...first.manifest.components,
      text_encoder: { ...first.manifest.components.transformer!, shards },
    };
    server.files.set("manifest.json", Buffer.from(JSON.stringify({ ...first.manifest, components })));
    const bytes = first.manifest.components.transformer!.shards.reduce((sum, shard) => sum + shard.bytes, 0);
    expect(await size({ promptPack: "pack.safetensors" })).toEqual({ total: bytes, missing: bytes });
    expect((await size()).total).toBeGreaterThan(bytes);
  });

  it("is nothing without a network for a model that is all there, and unknown for others", async () => {
    expect(await failure(size({ fetch: offline }))).toMatch(/^NetworkError: /);
    await load();
    expect(await size({ fetch: offline })).toEqual({ total: first.bytes - manifestBytes, missing: 0 });
  });

  it("is refused for a manifest that is not the pinned one", async () => {
    const hex = sha256(new Uint8Array(await (await fetch(`${server.url}manifest.json`)).arrayBuffer()));
    const base64 = Buffer.from(hex, "hex").toString("base64");
    for (const integrity of [hex, hex.toUpperCase(), `sha256-${base64}`]) {
      expect((await size({ integrity })).total).toBe(first.bytes - manifestBytes);
    }
    expect(await failure(size({ integrity: "0".repeat(64) }))).toMatch(/^IntegrityError: /);
    for (const integrity of ["", "sha256-", `sha384-${base64}`, hex.slice(1)]) {
      expect(await failure(size({ integrity }))).toMatch(/^InvalidArgumentError: integrity is /);
    }
  });
});
