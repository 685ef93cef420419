// Many pictures in one page of real Chromium, with aborts, disposals and loads between them: nothing is kept, nothing hangs, no picture is
// wrong. SCANVAS_SOAK says how many; `npm run soak` makes 200.
import type { Page } from "playwright";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { GenerateRequest } from "../../src/index.ts";
import { convert } from "../../tools/convert/convert.ts";
import { openHeap } from "../../tools/headless/heap.ts";
import { openPage } from "../../tools/headless/session.ts";
import { serveDirectory, type DirectoryServer } from "../../tools/serve.ts";
import { scratch } from "../weights/fixtures.ts";
import { draws, pick } from "./mutate.ts";

const PICTURES = Number(process.env.SCANVAS_SOAK ?? 40);
/** Pictures between two measurements of memory. */
const INTERVAL = 5;
/** Bytes of JavaScript that a picture may seem to leave behind, as code warms up. One that is kept is 16 KiB in floats, on average. */
const NOISE = 12 << 10;

// Few enough that most pictures are made again and compared.
const SIZES = [
  { height: 32, width: 32 },
  { height: 16, width: 48 },
  { height: 48, width: 48 },
];
const PROMPTS = ["a red cat", "a blue dog"];
/** What memory is measured after: GPU bytes are those of the last size. */
const SAME: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 1, seed: 1 };

let page: Page;
let closePage: () => Promise<void>;
let server: DirectoryServer;
const said: string[] = [];

beforeAll(async () => {
  const folder = await scratch();
  await convert("tests/golden/pixart/pipeline", folder, { dtype: "f32" });
  server = await serveDirectory(folder);
  ({ page, close: closePage } = await openPage("tests/faults/soak.html", (line) => void said.push(line), {
    fresh: true,
  }));
  await page.waitForFunction(() => "soak" in window);
});
afterAll(async () => {
  await closePage?.();
  await server?.close();
});

/** Least squares: how much more each x brings. */
function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [mx, my] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  const covariance = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return covariance / points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

it("makes the same pictures to the end, settles everything and keeps nothing", async () => {
  const draw = draws(0);
  const heap = await openHeap(page);
  const load = async (): Promise<void> => {
    expect(await page.evaluate((url) => window.soak.load(url), server.url)).toBe("");
  };
  const first = new Map<string, string>();
  const picture = async (request: GenerateRequest): Promise<void> => {
    const hash = await page.evaluate((one) => window.soak.picture(one), request);
    const key = JSON.stringify(request);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(hash, key).toBe(first.get(key) ?? hash);
    first.set(key, hash);
  };
  const counts = { pictures: 0, repeated: 0, aborts: 0, finished: 0, disposals: 0 };
  const gpu: number[] = [];
  const live: [picture: number, bytes: number][] = [];
  const began = performance.now();

  await load();
  for (let n = 1; n <= PICTURES; n++) {
    const request = {
      prompt: pick(draw, PROMPTS),
      ...pick(draw, SIZES),
      numInferenceSteps: 1 + Math.floor(draw() * 2),
      seed: 1,
    };
    if (draw() < 0.3) {
      const end = await page.evaluate(([one, nth]) => window.soak.abort(one, nth), [
        { ...request, seed: 9 },
        1 + Math.floor(draw() * 8),
      ] as const);
      expect(["AbortError", ""]).toContain(end);
      counts[end ? "aborts" : "finished"]++;
    }
    // In the first half alone: what a new worker warms up would be taken for growth.
    if (n % 40 === 15 && n <= PICTURES / 2) {
      const ends = await page.evaluate((one) => window.soak.dispose(one), request);
      expect(ends).toEqual(["DisposedError", "DisposedError", "", ""]);
      counts.disposals++;
      await load();
    }
    if (first.has(JSON.stringify(request))) counts.repeated++;
    await picture(request);
    counts.pictures++;
    if (n % INTERVAL === 0) {
      await picture(SAME);
      gpu.push(await page.evaluate(() => window.soak.gpuBytes()));
      live.push([n, await heap.live()]);
    }
  }
  const growth = slope(live.slice(live.length / 2));
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(
    `${JSON.stringify(counts)} in ${seconds} s; ${first.size} different requests; GPU ${[...new Set(gpu)].join(" and ")} bytes; ` +
      `JavaScript ${live.map(([, bytes]) => (bytes / 2 ** 20).toFixed(2)).join(" ")} MiB, ${(growth / 1024).toFixed(1)} KiB a picture in the second half`,
  );
  expect(new Set(gpu).size, gpu.join()).toBe(1);
  expect(growth, live.join(" ")).toBeLessThan(NOISE);
  expect(counts.repeated).toBeGreaterThan(0);
  expect(counts.aborts).toBeGreaterThan(0);
  expect(await page.evaluate(() => window.soak.open())).toBe(0);
  expect(said, "the console").toEqual([]);
  await heap.close();
}, 3_600_000);
