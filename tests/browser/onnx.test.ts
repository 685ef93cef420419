// The ONNX text encoder in real Chromium: on the GPU and on the CPU, in the page and in a worker, with and without storage.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Page } from "playwright";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { OnnxSource } from "../../src/encode/onnx.ts";
import { openPage } from "../../tools/headless/session.ts";
import { serveDirectory, type DirectoryServer } from "../../tools/serve.ts";
import { readGolden, relativeError } from "../model/weights.ts";
import { PIXART, readCases } from "../pipeline/golden.ts";
import { convert } from "../../tools/convert/convert.ts";
import { scratch } from "../weights/fixtures.ts";
import { always, faultServer, cut, instead, status, type FaultServer } from "../weights/server.ts";

const ONNX = "tests/golden/onnx";
const model = readFileSync(`${ONNX}/text_encoder.onnx`);
const sha256 = createHash("sha256").update(model).digest("hex");

let page: Page;
let closePage: () => Promise<void>;
let graphs: DirectoryServer;
let server: FaultServer;
const requested: string[] = [];
const said: string[] = [];

beforeAll(async () => {
  graphs = await serveDirectory(ONNX);
  ({ page, close: closePage } = await openPage("tests/browser/onnx.html", (line) => void said.push(line)));
  page.on("request", (request) => requested.push(request.url()));
  await page.waitForFunction(() => "encoders" in window);
}, 240_000);
afterAll(async () => {
  await closePage?.();
  await graphs?.close();
});
beforeEach(async () => {
  server = await faultServer(new Map([["model.onnx", new Uint8Array(model)]]));
});

const encode = (source: OnnxSource, options: object, lists: number[][], cycles: number) =>
  page.evaluate(([...args]) => window.encoders.encode(...args), [source, options, lists, cycles] as const);
const fails = (source: OnnxSource, options: object = {}) =>
  page.evaluate(([...args]) => window.encoders.fails(...args), [source, options] as const);

/** Prompts of diffusers' runs: ids without padding, and what transformers' T5 made of them. */
async function goldenPrompts(): Promise<{ ids: number[]; rows: Float32Array }[]> {
  const files = [
    { path: `${PIXART}/case.safetensors`, count: readCases(`${PIXART}/cases.json`).length },
    { path: "tests/golden/sampler/pipeline_case.safetensors", count: 9 },
  ];
  const prompts = [];
  for (const { path, count } of files) {
    const golden = await readGolden(path);
    for (let n = 0; n < count; n++) {
      const ids = golden(`${n}.ids`).integers!;
      const embeds = golden(`${n}.prompt_embeds`);
      prompts.push({ ids, rows: embeds.data.subarray(0, ids.length * embeds.shape[2]) });
    }
  }
  return prompts;
}

it("agrees with transformers on every prompt, again and again after a release", async () => {
  const prompts = await goldenPrompts();
  expect(Math.max(...prompts.map(({ ids }) => ids.length))).toBe(120); // positions past every bucket's bound
  for (const { provider, cycles } of [
    { provider: "wasm", cycles: 3 },
    { provider: "webgpu", cycles: 2 },
  ] as const) {
    const lists = prompts.map(({ ids }) => ids);
    const made = await encode({ onnx: `${graphs.url}text_encoder.onnx` }, { provider }, lists, cycles);
    expect(made).toMatchObject({ kind: "onnx", provider, width: 48 });
    expect(made.rows.length).toBe(cycles);
    for (const [cycle, results] of made.rows.entries()) {
      for (const [i, { rows }] of prompts.entries()) {
        expect(relativeError(results[i], rows), `${provider}, cycle ${cycle}, prompt ${i}`).toBeLessThan(1e-4);
      }
    }
  }
});

it("does so too in browsers whose WebAssembly cannot wait for promises", async () => {
  const [{ ids, rows }] = await goldenPrompts();
  const other = await page.context().newPage();
  const urls: string[] = [];
  other.on("request", (request) => urls.push(request.url()));
  await other.addInitScript(() => Reflect.deleteProperty(WebAssembly, "Suspending"));
  await other.goto(page.url());
  await other.waitForFunction(() => "encoders" in window);
  const made = await other.evaluate(([...args]) => window.encoders.encode(...args), [
    { onnx: `${graphs.url}text_encoder.onnx` },
    { provider: "webgpu" as const },
    [ids],
    2,
  ] as const);
  for (const [row] of made.rows) expect(relativeError(row, rows)).toBeLessThan(1e-4);
  expect(urls.filter((url) => url.endsWith(".wasm"))).toEqual([expect.stringContaining("asyncify")]);
  await other.close();
});

it("makes the pictures of our own encoder, and keeps no session meanwhile", async () => {
  const folder = await scratch();
  await convert(`${PIXART}/pipeline`, folder, { dtype: "f32" });
  const models = await serveDirectory(folder);
  try {
    const request = { height: 32, width: 32, numInferenceSteps: 2, guidanceScale: 3, seed: 1 };
    const requests = ["a red cat", "a blue dog", "a blue dog"].map((prompt) => ({ ...request, prompt }));
    const make = (textEncoder?: { onnx: string; provider: "wasm" }) =>
      page.evaluate(([...args]) => window.pictures(...args), [models.url, textEncoder, requests] as const);
    const theirs = await make({ onnx: `${graphs.url}text_encoder.onnx`, provider: "wasm" });
    const ours = await make();
    expect(ours[0].sessions).toEqual({ made: 0, open: 0, openAtLastSubmit: 0 });
    // One to begin with, one more for a new prompt, none for a known one; each is gone before the picture.
    expect(theirs.map(({ sessions }) => sessions)).toEqual(
      [1, 2, 2].map((made) => ({ made, open: 0, openAtLastSubmit: 0 })),
    );
    for (const [i, { pixels }] of theirs.entries()) {
      const worst = Math.max(...pixels.map((value, at) => Math.abs(value - ours[i].pixels[at])));
      expect(worst, `picture ${i}`).toBeLessThanOrEqual(1);
    }
    expect(ours[1].pixels).not.toEqual(ours[0].pixels);
  } finally {
    await models.close();
  }
});

it("says what to install when the runtime is not there, before anything is downloaded", async () => {
  const other = await page.context().newPage();
  await other.route("**/onnxruntime-web/**", (route) => route.fulfill({ status: 404, body: "not found" }));
  await other.goto(page.url());
  await other.waitForFunction(() => "encoders" in window);
  const { name, message } = await other.evaluate(
    (onnx) => window.encoders.fails({ onnx }, {}),
    `${server.url}model.onnx`,
  );
  expect([name, message]).toEqual(["ModelConfigError", expect.stringContaining("npm install onnxruntime-web")]);
  expect(server.requests).toEqual([]);
  await other.close();
});

it("leaves a software adapter for the CPU, and gives no reason to complain on the console", async () => {
  const software = await page.evaluate(async () => (await navigator.gpu.requestAdapter())!.info.isFallbackAdapter);
  const { provider } = await encode({ onnx: `${graphs.url}text_encoder.onnx` }, {}, [[5, 1]], 1);
  expect(provider).toBe(software ? "wasm" : "webgpu");
  expect(said).toEqual([]);
});

it("gives int32 ids and an attention mask to a graph that wants them, and reads its f16", async () => {
  const ids = [7, 0, 38];
  const { rows, width } = await encode({ onnx: `${graphs.url}f16_masked.onnx` }, { provider: "wasm" }, [ids], 1);
  expect(width).toBe(8);
  expect(rows[0][0]).toEqual(ids.flatMap((id) => Array.from({ length: 8 }, (_, j) => id + j / 8)));
});

it("reads weights that the model keeps in another file", async () => {
  const source = { onnx: `${graphs.url}external.onnx` };
  const externalData = `${graphs.url}external.data`;
  const { rows } = await encode({ ...source, externalData }, { provider: "wasm" }, [[4]], 2);
  const row = Array.from({ length: 8 }, (_, j) => 4 + j / 8);
  expect(rows).toEqual([[row], [row]]);
  const { name, message } = await fails(source, { provider: "wasm" });
  expect([name, message]).toEqual(["ModelConfigError", expect.stringContaining("as externalData")]);
});

it("refuses NaN and Inf, and everything once it is disposed", async () => {
  const [bad, disposed] = await page.evaluate(
    (onnx) => window.encoders.failsOn({ onnx }, { provider: "wasm" }, [3, 39]),
    `${graphs.url}f16_masked.onnx`,
  );
  expect(bad).toMatchObject({ name: "NumericalError", message: expect.stringContaining("f16_masked.onnx") as string });
  expect(disposed.name).toBe("DisposedError");
});

it.each([
  ["tokens", "its inputs are tokens int64 [1, n], expected input_ids"],
  ["decoder", "decoder_input_ids int64 [1, n], expected input_ids, and attention_mask or nothing"],
  ["float_ids", "input_ids float32 [1, n], expected int32 or int64 [1, n]"],
  ["flat", "its output is embeddings float16 [n, 8], expected float32 or float16 [1, n, width]"],
  ["open_width", "its output is embeddings float16 [1, n, width], expected"],
])("refuses the graph %s and says what it found", async (name, what) => {
  const { name: kind, message } = await fails({ onnx: `${graphs.url}${name}.onnx` }, { provider: "wasm" });
  expect([kind, message]).toEqual(["ModelConfigError", expect.stringContaining(what)]);
});

it("settles at once when it is aborted; what was asked next is right", async () => {
  const [{ ids, rows }] = await goldenPrompts();
  const many = Array.from({ length: 400 }, (_, i) => (i * 7) % 39);
  const source = { onnx: `${graphs.url}text_encoder.onnx` };
  const ended = await page.evaluate(
    ([...args]) => window.encoders.abort(...args),
    [source, { provider: "webgpu" as const }, many, ids] as const, // on the CPU a run leaves no time for an abort
  );
  expect([ended.long.name, ended.early.name]).toEqual(["AbortError", "AbortError"]);
  expect(ended.order).toEqual(["aborted", "encoded"]);
  expect(relativeError(ended.rows, rows)).toBeLessThan(1e-4);
});

describe("files", () => {
  const source = (more: object = {}) => ({ onnx: `${server.url}model.onnx`, ...more });
  const LFS = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1119480\n`;

  it("names what it got instead of a model", async () => {
    expect(await fails({ onnx: `${server.url}nowhere.onnx` })).toMatchObject({ name: "NetworkError" });
    server.faults.set("model.onnx", [instead("<!doctype html><p>Sign in", "text/html")]);
    expect(await fails(source())).toMatchObject({ name: "FormatError" });
    server.faults.set("model.onnx", [instead(LFS, "application/octet-stream")]);
    expect((await fails(source())).message).toContain("Git LFS pointer");
    server.faults.set("model.onnx", [instead("no protobuf at all, only words", "application/octet-stream")]);
    expect(await fails(source(), { provider: "wasm" })).toMatchObject({ name: "FormatError" });
    expect(await fails(source({ sha256: "0".repeat(64) }))).toMatchObject({ name: "IntegrityError" });
    const noWasm = page.evaluate(
      (onnx) => window.inWorker("fails", { onnx }, { wasmPaths: "/nowhere/" }),
      source().onnx,
    );
    expect(await noWasm).toMatchObject({
      name: "NetworkError",
      message: expect.stringContaining("wasmPaths") as string,
    });
  });

  it.each(["page", "worker"])("resumes a broken transfer and keeps the file, in the %s", async (where) => {
    await page.evaluate(() => window.encoders.forget());
    const run = (more: object): Promise<unknown> =>
      page.evaluate(
        ([where, source]) => {
          const args = [source, { provider: "wasm", kept: true }, [[5, 1]], 1] as const;
          return where === "page" ? window.encoders.encode(...args) : window.inWorker("encode", ...args);
        },
        [where, source(more)] as const,
      );
    server.faults.set("model.onnx", [status(503), cut(1 / 3)]);
    const first = await run({ sha256 });
    const ranges = server.requests.filter(({ method }) => method === "GET").map(({ range }) => range);
    expect(ranges).toEqual([undefined, undefined, expect.stringMatching(/^bytes=[1-9]\d+-$/)]);
    const before = server.requests.length;
    expect(await run({ sha256 })).toEqual(first);
    expect(server.requests.length, "a kept file with a hash costs no request").toBe(before);

    await run({});
    expect(await run({})).toEqual(first);
    server.faults.set("model.onnx", always(status(503)));
    expect(await run({}), "a server in trouble does not matter").toEqual(first);
  });

  it("resumes over visits, and does without storage where there is none to be had", async () => {
    await page.evaluate(() => window.encoders.forget());
    const options = { provider: "wasm", kept: true };
    server.faults.set("model.onnx", [cut(1 / 2), ...always(status(503))]);
    expect((await fails(source({ sha256 }), options)).name).toBe("NetworkError");
    server.faults.clear();
    const before = server.requests.length;
    const { rows } = await encode(source({ sha256 }), options, [[5, 1]], 1);
    expect(server.requests.slice(before).map(({ range }) => range)).toEqual([
      expect.stringMatching(/^bytes=[1-9]\d+-$/),
    ]);

    await page.evaluate(() => window.encoders.forget());
    const blocked = page.evaluate((one) => window.inWorker("encodeBlocked", one, [5, 1]), source({ sha256 }));
    expect(await blocked).toMatchObject({ rows });
  });
});

it("costs nothing unless it is asked for: the runtime is not even in the worker's modules", async () => {
  const context = page.context();
  const other = await context.newPage();
  const urls: string[] = [];
  other.on("request", (request) => urls.push(request.url()));
  await other.goto(new URL("page.html", page.url()).href);
  await other.waitForFunction(() => "scenarios" in window);
  const ending = await other.evaluate((url) => window.scenarios.loadFails(`${url}nowhere/`, undefined), graphs.url);
  expect(ending.name).toBe("NetworkError"); // the worker has started
  expect(urls.some((url) => url.includes("worker.ts"))).toBe(true);
  expect(urls.filter((url) => url.includes("onnxruntime"))).toEqual([]);
  expect(requested.some((url) => url.includes("onnxruntime"))).toBe(true); // as it was asked for here
  await other.close();
});
