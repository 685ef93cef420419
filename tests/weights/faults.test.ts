/**
 * Every fault at the first, a middle and the last chunk of a model. However a load ends, nothing wrong was stored or delivered and
 * the next load from the same store gives the right tensors; one that ends well took at most 1.1 times the model's bytes.
 */
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ScanvasError } from "../../src/errors.ts";
import { streamWeights } from "../../src/weights/load.ts";
import type { Manifest, TensorEntry } from "../../src/weights/manifest.ts";
import { CHUNK_BYTES } from "../../src/weights/manifest.ts";
import { FakeDirectory } from "./directory.ts";
import { dummyModel, type DummyModel, RandomFile, sha256, type Source, tensorHashes } from "./dummy.ts";
import {
  always,
  cut,
  etagOf,
  type Fault,
  type FaultServer,
  faultServer,
  flipped,
  gzipped,
  ignoreRange,
  instead,
  miscounted,
  short,
  stall,
  status,
  whole,
} from "./server.ts";

const LFS = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1119480\n`;
const PAGE = "<!DOCTYPE html><title>Not found</title>";
const FAST = { retryDelay: 2, idleTimeout: 10_000 };
const inASecond = () => ({ "Retry-After": new Date(Date.now() + 1000).toUTCString() });

/** What the server does, one answer after the other, and how the load ends. */
interface Row {
  name: string;
  faults: () => Fault[];
  error?: RegExp;
  /** In ms: short where a stall is waited for, else so long that a busy machine is not taken for one. */
  idleTimeout?: number;
}

const ROWS: Row[] = [
  { name: "a connection cut at the start", faults: () => [cut(0)] },
  { name: "a connection cut half-way", faults: () => [cut(0.5)] },
  { name: "cuts at every third", faults: () => [cut(0.33), cut(0.5), cut(0.5)] },
  { name: "twelve cuts", faults: () => Array.from({ length: 12 }, () => cut(0.1)) },
  { name: "a dead line", faults: () => always(cut(0)), error: /^NetworkError: .*check the connection/ },
  { name: "a short body", faults: () => [short(0.6)] },
  { name: "no body", faults: () => always(short(0)), error: /^TruncatedError: .* ended after \d+ of \d+ bytes/ },
  { name: "a stall", faults: () => [stall(0.4)], idleTimeout: 1000 },
  {
    name: "a stall for ever",
    faults: () => always(stall(0)),
    idleTimeout: 250,
    error: /^NetworkError: .*no byte for 250 ms/,
  },
  { name: "wrong bytes once", faults: () => [flipped] },
  { name: "wrong bytes always", faults: () => always(flipped), error: /^IntegrityError: .* got SHA-256 \w{64}, exp/ },
  {
    name: "a web page",
    faults: () => [instead(PAGE, "text/html; charset=utf-8")],
    error: /^FormatError: got a web page/,
  },
  {
    name: "a web page named weights",
    faults: () => always(instead(PAGE)),
    error: /^FormatError: got a web page/,
  },
  { name: "an LFS pointer", faults: () => always(instead(LFS)), error: /^FormatError: .* is a Git LFS pointer/ },
  { name: "a cut, then a range ignored", faults: () => [cut(0.3), ignoreRange] },
  { name: "a range ignored", faults: () => [ignoreRange] },
  { name: "a cut, then 416", faults: () => [cut(0.3), status(416)] },
  { name: "416 always", faults: () => always(status(416)), error: /^TruncatedError: .* ended after 0 of/ },
  { name: "403 once", faults: () => [status(403)] },
  { name: "401 once, half-way", faults: () => [cut(0.5), status(401)] },
  { name: "403 always", faults: () => always(status(403)), error: /^NetworkError: .* HTTP 403/ },
  { name: "404", faults: () => [status(404)], error: /^NetworkError: .*\.safetensors: HTTP 404/ },
  { name: "408", faults: () => [status(408)] },
  { name: "429 with seconds", faults: () => [status(429, { "Retry-After": "1" })] },
  { name: "429 with a date", faults: () => [status(429, inASecond)] },
  { name: "429 always", faults: () => always(status(429)), error: /^NetworkError: .* HTTP 429/ },
  { name: "500", faults: () => [status(500)] },
  { name: "503 three times", faults: () => [status(503), status(503), status(503)] },
  { name: "gzip", faults: () => [gzipped] },
  { name: "a Content-Length too large", faults: () => [miscounted(1000)] },
  { name: "a Content-Length too small", faults: () => [miscounted(-1000)] },
];

let server: FaultServer;
let directory: FakeDirectory;
let worst = 0;

interface Outcome {
  tensors: Record<string, string>;
  loaded: number[];
  error: string | undefined;
}

async function load(manifest: Manifest, idleTimeout = FAST.idleTimeout): Promise<Outcome> {
  const buffers = new Map<string, Uint8Array>();
  const loaded: number[] = [];
  const sink = {
    tensor(name: string, entry: TensorEntry, bytes: Uint8Array, begin: number) {
      if (!buffers.has(name)) buffers.set(name, new Uint8Array(entry.bytes));
      buffers.get(name)!.set(bytes, begin);
    },
  };
  const error = await streamWeights(server.url, manifest, "transformer", sink, {
    ...FAST,
    idleTimeout,
    store: directory.store(),
    onProgress: (progress) => loaded.push(progress.loaded / progress.total),
  }).then(
    () => undefined,
    ({ name, message }: ScanvasError) => `${name}: ${message}`,
  );
  return { tensors: Object.fromEntries([...buffers].map(([name, bytes]) => [name, sha256(bytes)])), loaded, error };
}

function expectSound(model: DummyModel): void {
  const chunks = model.manifest.components.transformer!.shards.flatMap((shard) => shard.chunks);
  for (const [name, bytes] of directory.files) expect([chunks.includes(name), sha256(bytes)]).toEqual([true, name]);
}

/** One load with `faults` at bytes `begin` of `file`, then one without. */
async function suffer(
  model: DummyModel,
  hashes: Record<string, string>,
  key: string,
  row: Row,
  lost: number,
): Promise<void> {
  server.faults.set(key, row.faults());
  const first = await load(model.manifest, row.idleTimeout);
  expectSound(model);
  expect(Math.max(0, ...first.loaded)).toBeLessThanOrEqual(1);
  expect(first.loaded).toEqual(first.loaded.toSorted((a, b) => a - b));
  if (row.error) {
    expect(first.error).toMatch(row.error);
    for (const [name, hash] of Object.entries(first.tensors)) {
      if (hash === hashes[name]) continue;
      expect(model.manifest.components.transformer!.tensors[name].bytes).toBeGreaterThan(CHUNK_BYTES); // begun, not whole
    }
  } else {
    expect(first.error).toBeUndefined();
    expect(first.tensors).toEqual(hashes);
    expect(first.loaded.at(-1)).toBe(1);
    const bytes = [...model.files].reduce((sum, [name, { length }]) => sum + (name.includes("model-") ? length : 0), 0);
    const ratio = (server.sent - lost) / bytes;
    worst = Math.max(worst, ratio);
    expect(ratio, "bytes sent / bytes of the model").toBeLessThanOrEqual(1.1);
  }
  server.faults.clear();
  const second = await load(model.manifest);
  expect([second.error, second.tensors]).toEqual([undefined, hashes]);
  expect(directory.pieces().length).toBe(
    new Set(model.manifest.components.transformer!.shards.flatMap((s) => s.chunks)).size,
  );
  await expect.poll(() => server.open).toBe(0);
}

describe("sixteen small shards", () => {
  let model: DummyModel;
  let hashes: Record<string, string>;
  beforeAll(() => {
    model = dummyModel(Array<number>(16).fill(2 ** 16));
    hashes = tensorHashes(model);
  });
  beforeEach(async () => {
    server = await faultServer(new Map(model.files));
    directory = new FakeDirectory();
  });

  describe.each(ROWS)("$name", (row) => {
    it.each([
      ["first", 0],
      ["middle", 7],
      ["last", 15],
    ])("at the %s", async (_, shard) => {
      await suffer(model, hashes, model.manifest.components.transformer!.shards[shard].file, row, 0);
    });
  });

  it("every answer is cut half-way", async () => {
    const row = { name: "", faults: () => Array.from({ length: 16 }, () => cut(0.5)) };
    await suffer(model, hashes, "*", row, 0);
  });

  it("a file that changes for another in the middle of it is named, and stays out of the store", async () => {
    const { file, bytes } = model.manifest.components.transformer!.shards[7];
    const other = new RandomFile((model.files.get(file) as RandomFile).header, bytes, 99);
    const exchange: Fault = (request, response, body) => {
      server.files.set(file, other);
      return cut(0.5)(request, response, body);
    };
    server.faults.set(file, [exchange]);
    const { error } = await load(model.manifest);
    expect(error).toMatch(/^IntegrityError: .* the file was changed or damaged/);
    const asked = server.requests.filter(({ path }) => path === file);
    expect(asked[1].ifRange).toBe(etagOf(model.files.get(file)!)); // which the new file does not match
    expectSound(model);
    server.files.set(file, model.files.get(file)!);
    expect((await load(model.manifest)).tensors).toEqual(hashes);
  });

  it("another ETag for the same bytes does no harm", async () => {
    const { file } = model.manifest.components.transformer!.shards[7];
    const twin: Fault = (request, response, body) => {
      server.files.set(file, { length: body.length, subarray: (a, b) => body.subarray(a, b) } satisfies Source);
      delete request.headers["if-range"];
      return whole({ ...request, headers: {} } as typeof request, response, body);
    };
    await suffer(model, hashes, file, { name: "", faults: () => [cut(0.5), twin] }, 0);
  });

  it("a refused address is made anew", async () => {
    const { file } = model.manifest.components.transformer!.shards[7];
    server.faults.set(file, [status(403)]);
    const asked: string[] = [];
    const seen: string[] = [];
    await streamWeights(
      server.url,
      model.manifest,
      "transformer",
      { tensor: (name) => void seen.push(name) },
      {
        ...FAST,
        resolveUrl: (url) => {
          asked.push(url);
          return `${url}?signature=new`;
        },
      },
    );
    expect(asked).toEqual([`${server.url}${file}`]);
    expect(seen).toEqual(Object.keys(hashes));
  });
});

describe("a shard of two chunks and a half", () => {
  let model: DummyModel;
  let hashes: Record<string, string>;
  beforeAll(() => {
    model = dummyModel([2.5 * CHUNK_BYTES]);
    hashes = tensorHashes(model);
  });
  beforeEach(async () => {
    server = await faultServer(new Map(model.files));
    directory = new FakeDirectory();
  });

  const names = [
    "a connection cut half-way",
    "cuts at every third",
    "a short body",
    "a stall",
    "wrong bytes once",
    "wrong bytes always",
    "a web page",
    "a range ignored",
    "a cut, then a range ignored",
    "a cut, then 416",
    "403 once",
    "404",
    "503 three times",
    "a Content-Length too large",
    "a Content-Length too small",
  ];
  // what has to be sent again because it was wrong or refused, and what a socket swallows before it is closed
  const SOCKET = 4 * 2 ** 20;
  const LOST: Record<string, number> = {
    "wrong bytes once": CHUNK_BYTES,
    "a cut, then 416": 0.3 * CHUNK_BYTES,
    "a range ignored": SOCKET,
    "a cut, then a range ignored": SOCKET,
  };

  describe.each(ROWS.filter(({ name }) => names.includes(name)))("$name", (row) => {
    it.each([
      ["first", 0],
      ["middle", 1],
      ["last", 2],
    ])("at the %s", async (_, chunk) => {
      const key = `${model.manifest.components.transformer!.shards[0].file}@${chunk * CHUNK_BYTES}`;
      await suffer(model, hashes, key, row, LOST[row.name] ?? 0);
    });
  });

  it("comes once from a host that knows no ranges", async () => {
    await suffer(model, hashes, "*", { name: "", faults: () => always(ignoreRange) }, 0);
    expect(server.requests.length).toBe(1);
  });

  it("comes from a host that knows no ranges although the line is cut", async () => {
    const half =
      (n: number): Fault =>
      (_request, response, body) => {
        const { length } = body;
        return cut(n)({ headers: {} } as never, response, { length, subarray: (a, b) => body.subarray(a, b) });
      };
    server.faults.set("*", [half(0.5), ...always(ignoreRange)]);
    const { error, tensors } = await load(model.manifest);
    expect([error, tensors]).toEqual([undefined, hashes]);
    expect(server.requests.length).toBe(2); // HTTP without ranges can but start over
  });

  it("is asked for in ranges, the first of them ahead", async () => {
    await suffer(model, hashes, "none", { name: "", faults: () => [] }, 0);
    const M = CHUNK_BYTES;
    expect(server.requests.map(({ range }) => range)).toEqual([
      `bytes=0-${M - 1}`,
      `bytes=${M}-${2 * M - 1}`,
      `bytes=${2 * M}-${model.manifest.components.transformer!.shards[0].bytes - 1}`,
    ]);
  });
});

it("no load took more than 1.1 times its model, and the count counts", () => {
  expect(worst).toBeGreaterThan(1);
  expect(worst).toBeLessThanOrEqual(1.1);
});
