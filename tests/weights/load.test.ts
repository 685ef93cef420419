import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ScanvasError } from "../../src/errors.ts";
import { fetchFile, fetchManifest, modelUrl } from "../../src/weights/fetch.ts";
import type { DownloadProgress, StreamOptions } from "../../src/weights/load.ts";
import { streamWeights } from "../../src/weights/load.ts";
import type { Manifest, Shard, TensorEntry } from "../../src/weights/manifest.ts";
import { checkManifest, CHUNK_BYTES } from "../../src/weights/manifest.ts";
import { writeSafetensors } from "../../src/weights/safetensors.ts";
import type { WeightStore } from "../../src/weights/store.ts";
import { convert } from "../../tools/convert/convert.ts";
import { GOLDEN, random, readDense, scratch } from "./fixtures.ts";
import type { Fault, FaultServer } from "./server.ts";
import { cut, faultServer, ignoreRange, instead, short, stall, status, whole } from "./server.ts";

const LFS = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1119480\n`;
const SHARD = "transformer/model-00001.safetensors";
const FAST = { retryDelay: 5 };
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let good: Map<string, Uint8Array>;
let manifest: Manifest;
let server: FaultServer;

beforeAll(async () => {
  const out = await scratch();
  ({ manifest } = await convert(join(GOLDEN, "pixart/pipeline"), out));
  const names = ["manifest.json", manifest.tokenizer!.file, SHARD, "vae/model-00001.safetensors"];
  good = new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(out, name))] as const)));
});

beforeEach(async () => {
  server = await faultServer(new Map(good));
});

/** A store in memory that remembers what it was told. */
function memoryStore(): WeightStore & { kept: Map<string, Uint8Array> } {
  const kept = new Map<string, Uint8Array>();
  return {
    kept,
    problem: undefined,
    async read(hash, target) {
      const bytes = kept.get(hash);
      if (bytes?.length !== target.length) return false;
      target.set(bytes);
      return true;
    },
    async write(hash, bytes) {
      kept.set(hash, bytes.slice());
      return true;
    },
    async remove(hash) {
      kept.delete(hash);
    },
    prune: async () => 0,
  };
}

interface Collected {
  tensors: Map<string, Uint8Array>;
  progress: DownloadProgress[];
}

async function collect(options: StreamOptions = {}, base = manifest): Promise<Collected> {
  const tensors = new Map<string, Uint8Array>();
  const progress: DownloadProgress[] = [];
  const sink = {
    tensor(name: string, entry: TensorEntry, bytes: Uint8Array, begin: number) {
      if (!tensors.has(name)) tensors.set(name, new Uint8Array(entry.bytes));
      tensors.get(name)!.set(bytes, begin);
    },
  };
  const all = { ...FAST, onProgress: (p: DownloadProgress) => progress.push(p), ...options };
  await streamWeights(server.url, base, "transformer", sink, all);
  return { tensors, progress };
}

async function failure(run: Promise<unknown>): Promise<string> {
  const error = await run.then(
    () => expect.unreachable("it succeeded"),
    (cause: unknown) => cause as ScanvasError,
  );
  return `${error.name}: ${error.message}`;
}

function expectAll({ tensors }: Collected): void {
  const file = good.get(SHARD)!;
  expect([...tensors.keys()]).toEqual(Object.keys(manifest.components.transformer!.tensors));
  for (const [name, { parts, bytes }] of Object.entries(manifest.components.transformer!.tensors)) {
    const { offset } = parts[0];
    expect(Buffer.from(tensors.get(name)!).equals(file.subarray(offset, offset + bytes)), name).toBe(true);
  }
}

/** The shard with one bit wrong. */
function flipped(): Uint8Array {
  const bytes = new Uint8Array(good.get(SHARD)!);
  bytes[700_001] ^= 4;
  return bytes;
}

describe("a model on a good server", () => {
  it("arrives whole and in order, with progress that ends at the total", async () => {
    const collected = await collect();
    expectAll(collected);
    const total = good.get(SHARD)!.length;
    expect(collected.progress.at(-1)).toEqual({ stage: "download", component: "transformer", loaded: total, total });
    const loaded = collected.progress.map((entry) => entry.loaded);
    expect(loaded).toEqual(loaded.toSorted((a, b) => a - b));
    expect(readDense(good.get(SHARD)!).size).toBe(collected.tensors.size);
  });

  it("is fetched once, then comes from the store", async () => {
    const store = memoryStore();
    await collect({ store });
    expect([...store.kept.keys()]).toEqual([manifest.components.transformer!.shards[0].chunks[0]]);
    const before = server.requests.length;
    const second = await collect({ store });
    expectAll(second);
    expect(second.progress.at(-1)!.loaded).toBe(second.progress.at(-1)!.total);
    expect(server.requests.length).toBe(before);
  });

  it.each<[string, (bytes: Uint8Array) => Uint8Array]>([
    ["first byte", (bytes) => bytes.with(0, bytes[0] ^ 1)],
    ["last byte", (bytes) => bytes.with(bytes.length - 1, bytes.at(-1)! ^ 128)],
    ["zeros", (bytes) => new Uint8Array(bytes.length)],
    ["missing end", (bytes) => bytes.slice(0, -1)],
  ])("is fetched again when the stored copy is damaged: %s", async (_, damage) => {
    const store = memoryStore();
    const hash = manifest.components.transformer!.shards[0].chunks[0];
    store.kept.set(hash, damage(new Uint8Array(good.get(SHARD)!)));
    expectAll(await collect({ store }));
    expect(sha256(store.kept.get(hash)!)).toBe(hash);
  });

  it("loads although the store fails at everything", async () => {
    const broken = { read: async () => false, write: async () => false, remove: async () => {}, prune: async () => 0 };
    expectAll(await collect({ store: { ...broken, problem: "full" } }));
  });

  it("gives its manifest and tokenizer", async () => {
    expect(await fetchManifest(server.url, FAST)).toEqual(manifest);
    expect(await fetchManifest(`${server.url}manifest.json`, FAST)).toEqual(manifest);
    const pinned = { ...FAST, integrity: sha256(good.get("manifest.json")!) };
    expect(await fetchManifest(server.url, pinned)).toEqual(manifest);
    const tokenizer = await fetchFile(server.url, manifest.tokenizer!, FAST);
    expect(Buffer.from(tokenizer).equals(good.get("tokenizer/tokenizer.json")!)).toBe(true);
  });
});

describe("faults that pass", () => {
  it.each([
    ["429 twice", [status(429), status(429)]],
    ["a server error", [status(503)]],
    ["a reset connection", [cut(1000)]],
    ["a reset before anything", [cut(0)]],
    ["a body that ends early", [short(300_000)]],
    ["a web cache that holds other bytes", [instead(new Uint8Array(1119480))]],
    ["a longer file", [instead(new Uint8Array(1200000))]],
    ["a cut, then a range that is refused", [cut(400_000), status(416)]],
    ["cuts at every third", [cut(400_000), cut(400_000)]],
    ["a cut, then a server that ignores Range", [cut(400_000), ignoreRange]],
  ])("are lived through: %s", async (_, faults) => {
    server.faults.set(SHARD, [...faults]);
    const store = memoryStore();
    const collected = await collect({ store });
    expectAll(collected);
    expect(server.faults.get(SHARD)).toEqual([]);
    const { loaded, total } = collected.progress.at(-1)!;
    expect(loaded).toBe(total);
    for (const [hash, bytes] of store.kept) expect(sha256(bytes)).toBe(hash);
  });

  it("resume where they stopped: nearly nothing is sent twice", async () => {
    server.faults.set(SHARD, [cut(300_000), cut(300_000), cut(300_000)]);
    expectAll(await collect());
    expect(server.sent).toBeLessThan(1.1 * good.get(SHARD)!.length);
    const ranges = server.requests.map(({ range }) => range);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[1]).toMatch(/^bytes=\d{4,}-1119479$/);
  });

  it("start over when the file changed in between", async () => {
    server.files.set(SHARD, flipped());
    const mended: Fault = (request, response) => {
      server.files.set(SHARD, good.get(SHARD)!); // the first half is of the other version
      whole(request, response, good.get(SHARD)!);
    };
    server.faults.set(SHARD, [cut(800_000), mended]);
    expectAll(await collect());
    expect(server.requests.map(({ range }) => range !== undefined)).toEqual([false, true, false]);
  });

  it("wait as long as Retry-After says", async () => {
    server.faults.set(SHARD, [status(429, { "Retry-After": "1" })]);
    const started = performance.now();
    expectAll(await collect());
    expect(performance.now() - started).toBeGreaterThan(950);
  });

  it("are cut when nothing comes for a while", async () => {
    server.faults.set(SHARD, [stall(500_000)]);
    expectAll(await collect({ idleTimeout: 100 }));
    expect(server.requests.length).toBe(2);
  });
});

describe("faults that stay", () => {
  const always = (fault: Parameters<FaultServer["faults"]["set"]>[1][number]) =>
    Array.from({ length: 40 }, () => fault);

  it.each<[string, () => ReturnType<typeof status>, RegExp, number]>([
    ["404", () => status(404), /^NetworkError: .*model-00001\.safetensors: HTTP 404/, 1],
    ["403", () => status(403), /^NetworkError: .* HTTP 403/, 1],
    ["500", () => status(500), /^NetworkError: .* HTTP 500/, 3],
    ["429", () => status(429), /^NetworkError: .* HTTP 429/, 3],
    ["a web page", () => instead("<!DOCTYPE html><p>x", "text/html; charset=utf-8"), /^FormatError: got a web page/, 1],
    ["a web page under a false flag", () => instead("\n<!doctype HTML><p>x"), /^FormatError: got a web page/, 1],
    ["an LFS pointer", () => instead(LFS), /^FormatError: .* is a Git LFS pointer/, 1],
    ["a truncated body", () => short(1000), /^TruncatedError: .* ended after 1000 of 1119480 bytes/, 3],
    ["no body", () => instead(""), /^TruncatedError: .* ended after 0 of/, 3],
    ["another file", () => instead(flipped()), /^IntegrityError: .* got SHA-256 [0-9a-f]{64}, expected/, 2],
    [
      "a longer file",
      () => instead(Buffer.concat([good.get(SHARD)!, Buffer.from("x")])),
      /^IntegrityError: .* longer than/,
      2,
    ],
    ["a dead line", () => cut(0), /^NetworkError: .*check the connection/, 3],
    ["a stalled line", () => stall(0), /^NetworkError: .*no byte for 60 ms/, 3],
  ])("are named: %s", async (_, fault, message, requests) => {
    server.faults.set(SHARD, always(fault()));
    const store = memoryStore();
    const seen: string[] = [];
    const sink = { tensor: (name: string) => void seen.push(name) };
    const run = streamWeights(server.url, manifest, "transformer", sink, { ...FAST, store, idleTimeout: 60 });
    expect(await failure(run)).toMatch(message);
    expect([seen, store.kept.size]).toEqual([[], 0]);
    expect(server.requests.length).toBeGreaterThanOrEqual(requests);
    expect(server.requests.length).toBeLessThanOrEqual(requests + 1);
    // and once the server is mended, the same call works
    server.faults.clear();
    expectAll(await collect({ store }));
  });

  it("of the manifest are named", async () => {
    const manifestFault = async (fault: ReturnType<typeof status>, integrity?: string) => {
      server.faults.set("manifest.json", always(fault));
      return failure(fetchManifest(server.url, { ...FAST, ...(integrity && { integrity }) }));
    };
    expect(await manifestFault(status(404))).toMatch(/^NetworkError: .*manifest\.json: HTTP 404/);
    expect(await manifestFault(instead("<html>", "text/html"))).toMatch(/^FormatError: got a web page/);
    expect(await manifestFault(instead("<!doctype html>"))).toMatch(/^FormatError: got a web page/);
    expect(await manifestFault(instead(LFS))).toMatch(/^FormatError: .* Git LFS pointer/);
    expect(await manifestFault(instead("{"))).toMatch(/^FormatError: .* not JSON/);
    expect(await manifestFault(instead('{"format":"scanvas","version":9}'))).toMatch(/^ModelConfigError: .* version 9/);
    expect(await manifestFault(instead(Buffer.alloc(17 * 2 ** 20, " ")))).toMatch(/^FormatError: .* is over 16777216/);
    const good64 = "0".repeat(64);
    expect(await manifestFault(instead(good.get("manifest.json")!), good64)).toMatch(
      /^IntegrityError: .* expected 0000/,
    );
  });

  it("of the address are named", async () => {
    for (const url of ["", "model", "file:///etc/", "javascript:alert(1)", "data:,x"]) {
      expect(() => modelUrl(url)).toThrow(/not an http\(s\) address/);
    }
    expect(modelUrl("https://a.org/m").href).toBe("https://a.org/m/");
    expect(modelUrl("https://a.org/m/?token=1#x").href).toBe("https://a.org/m/?token=1");
    const run = fetchManifest("http://127.0.0.1:9/", FAST);
    expect(await failure(run)).toMatch(/^NetworkError: /);
    const { text_encoder: _gone, ...components } = manifest.components;
    const partial = { ...manifest, components } as Manifest;
    const missing = streamWeights(server.url, partial, "text_encoder", { tensor: () => {} });
    expect(await failure(missing)).toMatch(/^InvalidArgumentError: .* has no text_encoder/);
  });

  it("of a header that is not the manifest's are named", async () => {
    const other = structuredClone(manifest);
    const entries = other.components.transformer!.tensors;
    const [a, b] = ["transformer_blocks.0.attn1.to_qkv.bias", "transformer_blocks.1.attn1.to_qkv.bias"];
    [entries[a], entries[b]] = [entries[b], entries[a]];
    checkManifest(other);
    expect(await failure(collect({}, other))).toMatch(/^FormatError: .* and manifest\.json disagree: tensor "/);
  });

  it("of the sink end the load", async () => {
    const sink = {
      tensor: () => {
        throw new Error("no room on the GPU");
      },
    };
    await expect(streamWeights(server.url, manifest, "transformer", sink, FAST)).rejects.toThrow("no room on the GPU");
  });
});

describe("cancelling", () => {
  it("before the start asks for nothing", async () => {
    expect(await failure(collect({ signal: AbortSignal.abort() }))).toMatch(/^AbortError: /);
    expect(server.requests).toEqual([]);
  });

  it("half-way stores nothing and frees the connection", async () => {
    const stop = new AbortController();
    const store = memoryStore();
    server.faults.set(SHARD, [stall(500_000)]);
    const run = collect({ signal: stop.signal, store, onProgress: () => stop.abort() });
    expect(await failure(run)).toMatch(/^AbortError: /);
    expect(store.kept.size).toBe(0);
    await expect.poll(() => server.open).toBe(0);
  });

  it("during a wait before a retry is at once", async () => {
    server.faults.set(SHARD, [status(429, { "Retry-After": "30" })]);
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    const started = performance.now();
    expect(await failure(collect({ signal: stop.signal }))).toMatch(/^AbortError: /);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it("between tensors stops there", async () => {
    const stop = new AbortController();
    let count = 0;
    const sink = { tensor: () => void (++count === 3 && stop.abort()) };
    const run = streamWeights(server.url, manifest, "transformer", sink, { ...FAST, signal: stop.signal });
    expect(await failure(run)).toMatch(/^AbortError: /);
    expect(count).toBe(3);
  });
});

describe("many shards", () => {
  /** 12 shards of one tensor [64] each, and one of 2.5 chunks. */
  function manyShards(large: boolean): Manifest {
    const draw = random(1);
    const shards: Shard[] = [];
    const tensors: Record<string, TensorEntry> = {};
    const sizes = large ? [(2.5 * CHUNK_BYTES) / 4] : Array<number>(12).fill(64);
    for (const [shard, length] of sizes.entries()) {
      const values = Float32Array.from({ length: 64 }, draw);
      const data = new Uint8Array(length * 4);
      for (let at = 0; at < data.length; at += 2 ** 20) data.set(new Uint8Array(values.buffer), at);
      const file = writeSafetensors([{ name: `t${shard}`, dtype: "F32", shape: [length], data }]);
      const name = `transformer/model-${shard}.safetensors`;
      server.files.set(name, file);
      tensors[`t${shard}`] = {
        dtype: "F32",
        shape: [length],
        bytes: data.length,
        parts: [{ shard, offset: file.length - data.length, bytes: data.length }],
      };
      const hashes = [];
      for (let at = 0; at < file.length; at += CHUNK_BYTES) hashes.push(sha256(file.subarray(at, at + CHUNK_BYTES)));
      shards.push({ file: name, bytes: file.length, chunks: hashes });
    }
    const transformer = { config: {}, dtype: "f32" as const, shards, tensors };
    return checkManifest({ ...manifest, components: { transformer } });
  }

  it("come in order, at most four requests and four buffers at a time", async () => {
    const many = manyShards(false);
    const slow = Array.from({ length: 12 }, (_, i): Fault => {
      return (_request, response, body) => void setTimeout(() => response.end(body), i === 0 ? 200 : 40);
    });
    server.faults.set("*", slow);
    const names: string[] = [];
    const buffers = new Set<ArrayBufferLike>();
    const sink = {
      tensor(name: string, _entry: TensorEntry, bytes: Uint8Array) {
        names.push(name);
        buffers.add(bytes.buffer);
      },
    };
    await streamWeights(server.url, many, "transformer", sink, FAST);
    expect(names).toEqual(Object.keys(many.components.transformer!.tensors));
    expect(server.most).toBe(4);
    expect(buffers.size).toBe(4);
  });

  it("fail at once when one of them is missing", async () => {
    const many = manyShards(false);
    server.files.delete("transformer/model-2.safetensors");
    server.faults.set("transformer/model-0.safetensors", [stall(0)]);
    expect(await failure(collect({}, many))).toMatch(/^NetworkError: .*model-2\.safetensors: HTTP 404/);
    expect(server.requests.length).toBeLessThanOrEqual(5);
    await expect.poll(() => server.open).toBe(0);
  });

  it.each([
    ["a server with ranges", []],
    ["a server that ignores ranges", [ignoreRange, ignoreRange, ignoreRange]],
  ])("of more than one chunk are verified and passed on in chunks: %s", async (_, faults) => {
    const large = manyShards(true);
    server.faults.set("*", [...faults]);
    const store = memoryStore();
    const { tensors } = await collect({ store }, large);
    const file = server.files.get("transformer/model-0.safetensors")!;
    const { offset } = large.components.transformer!.tensors.t0.parts[0];
    expect(sha256(tensors.get("t0")!)).toBe(sha256(file.subarray(offset)));
    expect([...store.kept.keys()].toSorted()).toEqual(large.components.transformer!.shards[0].chunks.toSorted());
    // one flipped byte in the middle chunk: what came before is good, what is bad goes nowhere
    file[CHUNK_BYTES + 5] ^= 1;
    const begins: number[] = [];
    const sink = {
      tensor: (_name: string, _entry: TensorEntry, _bytes: Uint8Array, begin: number) => void begins.push(begin),
    };
    const run = streamWeights(server.url, large, "transformer", sink, FAST);
    expect(await failure(run)).toMatch(/^IntegrityError/);
    expect(begins.length).toBeLessThanOrEqual(1);
  });
});
