// The public API in a page of real Chromium: queue, cancelling, dying workers. What pictures look like is tests/pipeline's matter.
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { GenerateRequest } from "../../src/index.ts";
import { convert } from "../../tools/convert/convert.ts";
import { openPage } from "../../tools/headless/session.ts";
import { serveDirectory, type DirectoryServer } from "../../tools/serve.ts";
import { scratch } from "../weights/fixtures.ts";

const REQUEST: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 2, seed: 5 };
let page: Page;
let closePage: () => Promise<void>;
let server: DirectoryServer;
let expected: number[];
const said: string[] = [];

beforeAll(async () => {
  const folder = await scratch();
  await convert("tests/golden/pixart/pipeline", folder, { dtype: "f32" });
  server = await serveDirectory(folder);
  ({ page, close: closePage } = await openPage("tests/browser/page.html", (line) => void said.push(line)));
  await page.waitForFunction(() => "scenarios" in window);
  const info = await page.evaluate((url) => window.scenarios.load(url, { limits: "default" }), server.url);
  expect(info).toMatchObject({ className: "PixArtAlphaPipeline", height: 128, width: 128, textTokens: 120 });
  expected = await page.evaluate((request) => window.scenarios.pixels(request), REQUEST);
}, 240_000);
afterAll(async () => {
  await closePage?.();
  await server?.close();
});
const expectUsable = async (): Promise<void> => {
  expect(await page.evaluate((request) => window.scenarios.pixels(request), REQUEST)).toEqual(expected);
};

it("makes a picture that a PNG keeps to the bit", async () => {
  const png = await page.evaluate((request) => window.scenarios.png(request), REQUEST);
  expect(png).toEqual({ type: "image/png", width: 32, height: 32, same: true });
  expect(new Set(expected).size).toBeGreaterThan(10);
});

it.each([
  { stage: "encode", step: 0 },
  { stage: "denoise", step: 1 },
])("stops when the signal is aborted at $stage $step, and goes on", async ({ stage, step }) => {
  const request = { ...REQUEST, prompt: `a red cat at ${stage}`, numInferenceSteps: 20 };
  const { name, ours, after } = await page.evaluate(
    ([request, stage, step]) => window.scenarios.cancel(request, stage, step),
    [request, stage, step] as const,
  );
  expect([name, ours]).toEqual(["AbortError", true]);
  expect(after.length, `progress after the abort: ${after}`).toBeLessThanOrEqual(2); // what was on its way
  await expectUsable();
});

it("runs what is asked at once one after the other, in order; one cancelled while it waits settles first", async () => {
  const requests = [5, 6, 7].map((seed) => ({ ...REQUEST, seed }));
  const { pictures, waiting, order } = await page.evaluate(
    ([requests, cancelled]) => window.scenarios.concurrent(requests, cancelled),
    [requests, { ...REQUEST, seed: 8 }] as const,
  );
  expect(waiting.name).toBe("AbortError");
  expect(order).toEqual(["cancelled", "job 0", "job 1", "job 2"]);
  expect(pictures[0]).toEqual(expected);
  for (const [i, request] of requests.entries()) {
    expect(await page.evaluate((one) => window.scenarios.pixels(one), request), `job ${i}`).toEqual(pictures[i]);
  }
  expect(pictures[1]).not.toEqual(pictures[0]);
  expect(pictures[2]).not.toEqual(pictures[1]);
});

it("gives errors of the worker their name and class in the page", async () => {
  const refused = (request: unknown) => page.evaluate((one) => window.scenarios.refused(one), request);
  expect(await refused({ ...REQUEST, height: 100 })).toMatchObject({
    name: "InvalidArgumentError",
    ours: true,
    message: "generate: height is 100, expected a multiple of 16 from 16 to 16384 pixels",
  });
  expect(await refused({ ...REQUEST, height: 16384, width: 16384 })).toMatchObject({ name: "LimitError", ours: true });
  await expectUsable();
});

it("says so when a model is not there, is no address, or is cancelled while it loads", async () => {
  const fails = (url: string) => page.evaluate((one) => window.scenarios.loadFails(one, undefined), url);
  expect(await fails(`${server.url}nowhere/`)).toMatchObject({ name: "NetworkError", ours: true });
  expect(await fails("http://")).toMatchObject({ name: "InvalidArgumentError", ours: true });
  const cancelled = await page.evaluate((url) => window.scenarios.cancelLoad(url), server.url);
  expect(cancelled).toMatchObject({ name: "AbortError", ours: true });
});

it("calls a worker dead whose script is not there, soon", async () => {
  await page.route("**/no-such-worker.js", (route) => route.fulfill({ status: 404, body: "not found" }));
  const ending = await page.evaluate((url) => window.scenarios.loadFails(url, "/no-such-worker.js"), server.url);
  expect(ending).toMatchObject({ name: "WorkerCrashedError", ours: true });
  expect(ending.milliseconds).toBeLessThan(10_000); // well before a silent worker is given up
});

it("settles what runs when the worker dies, and all that comes after", async () => {
  const endings = await page.evaluate(([url, request]) => window.scenarios.crash(url, request), [
    server.url,
    REQUEST,
  ] as const);
  for (const ending of endings) {
    expect(ending).toMatchObject({ name: "WorkerCrashedError", ours: true });
    expect(ending.message).toContain("out of memory");
  }
});

it("settles what runs and what waits when it is disposed", async () => {
  await expectUsable();
  const { before, jobs } = await page.evaluate((one) => window.scenarios.dispose(one), {
    ...REQUEST,
    numInferenceSteps: 500,
  });
  expect(before).toBeGreaterThan(1e6);
  expect(jobs.map(({ name, ours }) => [name, ours])).toEqual(Array(3).fill(["DisposedError", true]));
});
