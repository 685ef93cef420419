import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ScanvasError } from "../../src/errors.ts";
import { fileUrl, modelUrl } from "../../src/weights/fetch.ts";
import type { DownloadProgress, StreamOptions } from "../../src/weights/load.ts";
import { prefetchWeights, streamWeights } from "../../src/weights/load.ts";
import type { Manifest, TensorEntry } from "../../src/weights/manifest.ts";
import { checkManifest, CHUNK_BYTES } from "../../src/weights/manifest.ts";
import { fetchManifest } from "../../src/weights/models.ts";
import { fetchFile } from "../../src/weights/obtain.ts";
import { Ring } from "../../src/weights/ring.ts";
import { convert } from "../../tools/convert/convert.ts";
import { FakeDirectory } from "./directory.ts";
import { dummyModel, type DummyModel, sha256, tensorHashes } from "./dummy.ts";
import { GOLDEN, readDense, scratch } from "./fixtures.ts";
import type { Fault, FaultServer } from "./server.ts";
import { always, faultServer, instead, stall, status } from "./server.ts";

const LFS = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1119480\n`;
const SHARD = "transformer/model-00001.safetensors";
const FAST = { retryDelay: 5 };

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
    const directory = new FakeDirectory();
    await collect({ store: directory.store() });
    expect(directory.pieces()).toEqual([manifest.components.transformer!.shards[0].chunks[0]]);
    const before = server.requests.length;
    const second = await collect({ store: directory.store() });
    expectAll(second);
    expect(second.progress.at(-1)!.loaded).toBe(second.progress.at(-1)!.total);
    expect(server.requests.length).toBe(before);
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

describe("faults", () => {
  it("wait as long as Retry-After says", async () => {
    server.faults.set(SHARD, [status(429, { "Retry-After": "1" })]);
    const started = performance.now();
    expectAll(await collect());
    expect(performance.now() - started).toBeGreaterThan(950);
  });

  it("of a line are waited for longer and longer", async () => {
    server.faults.set(SHARD, Array(5).fill(status(503)));
    const times: number[] = [];
    const timed: typeof fetch = (...args) => {
      times.push(performance.now());
      return fetch(...args);
    };
    expectAll(await collect({ fetch: timed, retryDelay: 40 }));
    const waits = times.slice(1).map((time, i) => time - times[i]);
    waits.forEach((wait, i) => expect(wait, `wait ${i}`).toBeGreaterThan(0.74 * 40 * 2 ** i));
  });

  it("by a redirect to an unencrypted address are refused", async () => {
    const redirecting: typeof fetch = async () => {
      const response = new Response("x");
      Object.defineProperty(response, "url", { value: "http://example.org/x" });
      return response;
    };
    const run = fetchManifest("https://example.org/", { ...FAST, fetch: redirecting });
    expect(await failure(run)).toBe(
      "NetworkError: https://example.org/manifest.json redirects to an unencrypted address",
    );
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
    for (const file of [
      "../x",
      "/etc/passwd",
      "%2e%2e/x",
      "//evil.org/x",
      "https://evil.org/x",
      "a/../../x",
      "..\\x",
    ]) {
      expect(() => fileUrl(new URL("https://a.org/m/"), file), file).toThrow(/lies outside the model's folder/);
    }
    expect(fileUrl(new URL("https://a.org/m/?t=1"), "vae/x.json")).toBe("https://a.org/m/vae/x.json?t=1");
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
    const directory = new FakeDirectory();
    server.faults.set(SHARD, [stall(0.5)]);
    const run = collect({ signal: stop.signal, store: directory.store(), onProgress: () => stop.abort() });
    expect(await failure(run)).toMatch(/^AbortError: /);
    expect(directory.pieces()).toEqual([]);
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
  let many: DummyModel;
  beforeAll(() => {
    many = dummyModel(Array<number>(12).fill(4096), { tensors: 4 });
  });
  beforeEach(() => {
    for (const [name, file] of many.files) server.files.set(name, file);
  });

  async function stream(options: StreamOptions = {}): Promise<{ hashes: Record<string, string>; order: string[] }> {
    const { tensors, progress } = await collect(options, many.manifest);
    expect(progress.at(-1)!.loaded).toBe(progress.at(-1)!.total);
    return {
      hashes: Object.fromEntries([...tensors].map(([name, bytes]) => [name, sha256(bytes)])),
      order: [...tensors.keys()],
    };
  }

  it("come in order, at most four requests and four buffers at a time", async () => {
    const slow = Array.from({ length: 12 }, (_, i): Fault => {
      return (_request, response, body) =>
        void setTimeout(() => response.end(body.subarray(0, body.length)), i === 0 ? 200 : 40);
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
    await streamWeights(server.url, many.manifest, "transformer", sink, FAST);
    expect(names).toEqual(Object.keys(many.manifest.components.transformer!.tensors));
    expect(server.most).toBe(4);
    expect(buffers.size).toBe(4);
  });

  it("fail at once when one of them is missing", async () => {
    const [first, , third] = many.manifest.components.transformer!.shards;
    server.files.delete(third.file);
    server.faults.set(first.file, [stall(0)]);
    expect(await failure(collect({}, many.manifest))).toMatch(/^NetworkError: .*model-00003\.safetensors: HTTP 404/);
    expect(server.requests.length).toBeLessThanOrEqual(5);
    await expect.poll(() => server.open).toBe(0);
  });

  it("share the four buffers of one ring, whatever ends a stream", async () => {
    const ring = new Ring();
    const buffers = new Set<ArrayBufferLike>();
    const sink = { tensor: (_n: string, _e: TensorEntry, bytes: Uint8Array) => void buffers.add(bytes.buffer) };
    const run = (options: StreamOptions = {}) =>
      streamWeights(server.url, many.manifest, "transformer", sink, { ...FAST, ring, ...options });
    await Promise.all([run(), run(), run()]);
    server.faults.set(many.manifest.components.transformer!.shards[5].file, [status(404)]);
    expect(await failure(run())).toMatch(/HTTP 404/);
    expect(await failure(run({ signal: AbortSignal.abort() }))).toMatch(/^AbortError/);
    expect(buffers.size).toBe(4);
    const lent = [1, 2, 3, 4].map(() => ring.tryTake());
    expect(new Set(lent.map((buffer) => buffer!.buffer))).toEqual(buffers); // all came back
    const stop = new AbortController();
    const waiting = failure(run({ signal: stop.signal }));
    stop.abort();
    expect(await waiting).toMatch(/^AbortError/);
  });

  it("are obtained only where the wanted tensors lie", async () => {
    const all = tensorHashes(many);
    const { hashes, order } = await stream({ tensors: new Set(["t7.2", "t3.0", "t3.1"]) });
    expect(order).toEqual(["t3.0", "t3.1", "t7.2"]);
    expect(hashes).toEqual(Object.fromEntries(order.map((name) => [name, all[name]])));
    expect(server.requests.map(({ path }) => path)).toEqual(
      [3, 7].map((shard) => many.manifest.components.transformer!.shards[shard].file),
    );
    expect(await failure(stream({ tensors: new Set(["t3.0", "nothing"]) }))).toMatch(
      /^InvalidArgumentError: .* has no tensor "nothing"/,
    );
  });

  it("are prefetched into the store; what is there is neither asked for nor read", async () => {
    const directory = new FakeDirectory();
    const store = directory.store();
    const reads: string[] = [];
    const watched = {
      ...store,
      read: (hash: string, target: Uint8Array) => (reads.push(hash), store.read(hash, target)),
    };
    await streamWeights(
      server.url,
      many.manifest,
      "transformer",
      { tensor: () => {} },
      {
        ...FAST,
        store,
        tensors: new Set(["t0.0", "t4.3"]),
      },
    );
    server.requests.length = 0;
    const loaded: number[] = [];
    const options = { ...FAST, store: watched, onProgress: (p: DownloadProgress) => loaded.push(p.loaded / p.total) };
    expect(await prefetchWeights(server.url, many.manifest, "transformer", options)).toBe(true);
    expect(server.requests.length).toBe(10);
    expect(loaded[0]).toBeCloseTo(2 / 12);
    expect(loaded.at(-1)).toBe(1);
    const {
      chunks: [first],
    } = many.manifest.components.transformer!.shards[0];
    expect(reads).not.toContain(first);
    reads.length = 0;
    expect(await prefetchWeights(server.url, many.manifest, "transformer", options)).toBe(true);
    expect([reads, server.requests.length]).toEqual([[], 10]);
    expect((await stream({ store })).hashes).toEqual(tensorHashes(many));
  });

  it("are not prefetched into a store that takes no more", async () => {
    const directory = new FakeDirectory();
    directory.room = 3.5 * 4500;
    const store = directory.store();
    expect(await prefetchWeights(server.url, many.manifest, "transformer", { ...FAST, store })).toBe(false);
    expect(directory.pieces().length).toBe(3);
    expect(server.requests.length).toBeLessThanOrEqual(8);
    expect(store.problem).toMatch(/^weights were not kept on this device: no room for \d+ bytes/);
    expect((await stream({ store })).hashes).toEqual(tensorHashes(many));
  });

  it("are hashed once a session when they are read from the store", async () => {
    const directory = new FakeDirectory();
    const verified = new Set<string>();
    await stream({ store: directory.store(), verified });
    expect(verified.size).toBe(0); // nothing was read yet
    await stream({ store: directory.store(), verified });
    expect([...verified].toSorted()).toEqual(directory.pieces());
    const digests: number[] = [];
    const digest = crypto.subtle.digest.bind(crypto.subtle);
    crypto.subtle.digest = (algorithm, data) => (digests.push(data.byteLength), digest(algorithm, data));
    try {
      await stream({ store: directory.store(), verified });
      expect(digests).toEqual([]);
      await stream({ store: directory.store() });
      expect(digests.length).toBe(12);
    } finally {
      crypto.subtle.digest = digest;
    }
  });

  it.each<[string, (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>]>([
    ["its first byte", (bytes) => bytes.with(0, bytes[0] ^ 1)],
    ["its last byte", (bytes) => bytes.with(bytes.length - 1, bytes.at(-1)! ^ 128)],
    ["nothing but zeros", (bytes) => new Uint8Array(bytes.length)],
    ["its end missing", (bytes) => bytes.slice(0, -1)],
    ["another piece's bytes", (bytes) => bytes.toReversed()],
  ])("a stored piece that is damaged is fetched again, and it alone: %s", async (_, damage) => {
    const directory = new FakeDirectory();
    await stream({ store: directory.store() });
    server.requests.length = 0;
    const [shard] = [many.manifest.components.transformer!.shards[7]];
    directory.files.set(shard.chunks[0], damage(directory.files.get(shard.chunks[0])!));
    expect((await stream({ store: directory.store() })).hashes).toEqual(tensorHashes(many));
    expect(server.requests.map(({ path }) => path)).toEqual([shard.file]);
    expect(sha256(directory.files.get(shard.chunks[0])!)).toBe(shard.chunks[0]);
  });

  it("pieces that were evicted are fetched again, and they alone", async () => {
    const directory = new FakeDirectory();
    await stream({ store: directory.store() });
    const { sent } = server;
    const gone = [2, 5, 11].map((shard) => many.manifest.components.transformer!.shards[shard]);
    for (const { chunks } of gone) directory.files.delete(chunks[0]);
    expect((await stream({ store: directory.store() })).hashes).toEqual(tensorHashes(many));
    expect(server.sent - sent).toBe(gone.reduce((sum, { bytes }) => sum + bytes, 0));
  });

  it.each([
    ["nothing", () => 0, 0],
    ["half", (bytes: number) => bytes / 2, 6],
    ["all but one byte", (bytes: number) => bytes - 1, 11],
  ])("load although the storage has room for %s", async (_, room, kept) => {
    for (const sync of [true, false]) {
      const directory = new FakeDirectory();
      directory.sync = sync;
      directory.room = room(many.manifest.components.transformer!.shards.reduce((sum, { bytes }) => sum + bytes, 0));
      const store = directory.store();
      expect((await stream({ store })).hashes).toEqual(tensorHashes(many));
      expect(store.problem).toMatch(/^weights were not kept on this device: no room for \d+ bytes/);
      for (const [name, bytes] of directory.files) expect(sha256(bytes)).toBe(name);
      expect(directory.pieces().length).toBe(kept);
      server.requests.length = 0;
      expect((await stream({ store: directory.store() })).hashes).toEqual(tensorHashes(many));
      expect(server.requests.length).toBe(12 - kept);
    }
  });

  it("load although the store fails at everything", async () => {
    const broken = new FakeDirectory();
    broken.getFileHandle = broken.removeEntry = async () => {
      throw new DOMException("the site's data were cleared", "NotFoundError");
    };
    const store = broken.store();
    expect((await stream({ store })).hashes).toEqual(tensorHashes(many));
    expect(store.problem).toMatch(/the site's data were cleared/);
  });
});

describe("a shard of more than one chunk", () => {
  it("is verified and passed on in chunks; of a wrong one nothing is", async () => {
    const large = dummyModel([2.5 * CHUNK_BYTES], { tensors: 4 });
    for (const [name, file] of large.files) server.files.set(name, file);
    const directory = new FakeDirectory();
    const { tensors } = await collect({ store: directory.store() }, large.manifest);
    const hashes = Object.fromEntries([...tensors].map(([name, bytes]) => [name, sha256(bytes)]));
    expect(hashes).toEqual(tensorHashes(large));
    const [{ file, chunks }] = large.manifest.components.transformer!.shards;
    expect(directory.pieces()).toEqual(chunks.toSorted());

    const { subarray } = large.files.get(file)!;
    const source = large.files.get(file)!;
    server.files.set(file, {
      length: source.length,
      subarray(from, to) {
        const bytes = subarray.call(source, from, to);
        if (from <= CHUNK_BYTES + 5 && to > CHUNK_BYTES + 5) bytes[CHUNK_BYTES + 5 - from] ^= 1;
        return bytes;
      },
    });
    const seen: string[] = [];
    const sink = {
      tensor: (name: string, _entry: TensorEntry, _bytes: Uint8Array, begin: number) =>
        void seen.push(`${name} ${begin}`),
    };
    expect(await failure(streamWeights(server.url, large.manifest, "transformer", sink, FAST))).toMatch(
      /^IntegrityError/,
    );
    expect(["", "t0.0 0,t0.1 0"]).toContain(seen.join()); // of the first chunk, when it was there before the failure

    server.requests.length = 0;
    await streamWeights(server.url, large.manifest, "transformer", sink, { ...FAST, tensors: new Set(["t0.0"]) });
    expect(server.requests.map(({ range }) => range)).toEqual([`bytes=0-${CHUNK_BYTES - 1}`]);
  });
});
