// What only a browser can do: a GPU process that really dies, tabs that share the GPU, a tab that is killed, a worker that hangs.
import type { BrowserContext, CDPSession, Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GenerateRequest } from "../../src/index.ts";
import { convert } from "../../tools/convert/convert.ts";
import { openPage } from "../../tools/headless/session.ts";
import { serveDirectory, type DirectoryServer } from "../../tools/serve.ts";
import { PIXART } from "../pipeline/golden.ts";
import { scratch } from "../weights/fixtures.ts";

/** Without these Chromium offers no GPU any more after the second crash. */
const FORGIVING = ["--disable-domain-blocking-for-3d-apis", "--disable-gpu-process-crash-limit"];
/** An address in a local network. */
const LAN = "10.11.12.13";
const STEPS = 4;
const REQUEST: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: STEPS, seed: 5 };
const LONG: GenerateRequest = { ...REQUEST, numInferenceSteps: 900 };
/** As often as SCANVAS_CRASH_ROUNDS says, every crash of the list below. */
const ROUNDS = Number(process.env.SCANVAS_CRASH_ROUNDS ?? 1);

let page: Page;
let context: BrowserContext;
let server: DirectoryServer;
let closePage: () => Promise<void>;
let crashGpu: () => Promise<unknown>;
let expected: { hash: string; bytes: number; files: string[]; unhandled: string[] };

const ready = async (where: Page): Promise<void> => void (await where.waitForFunction(() => "faults" in window));

/** The browser's own connection to DevTools outlives every crash. */
async function crasher(where: Page): Promise<() => Promise<unknown>> {
  const cdp: CDPSession = await where.context().newCDPSession(where);
  return () => cdp.send("Browser.crashGpuProcess" as never).catch(() => undefined);
}

/** Another tab on the same page. */
async function openTab(): Promise<Page> {
  const tab = await context.newPage();
  await tab.goto(page.url());
  await ready(tab);
  return tab;
}

async function stateOf(where: Page): Promise<typeof expected> {
  return {
    hash: await where.evaluate((request) => window.faults.picture(request), REQUEST),
    bytes: await where.evaluate(() => window.faults.memory()),
    files: await where.evaluate(() => window.faults.files()),
    unhandled: await where.evaluate(() => window.faults.unhandled()),
  };
}

/** The next picture is right to the bit; GPU memory and storage are as if nothing had been; no rejection was left unhandled. */
async function expectBaseline(where = page): Promise<void> {
  expect(await stateOf(where)).toEqual(expected);
}

/** Begins a picture in `where`, and waits until it is at one of its first steps. */
async function beginLong(where: Page): Promise<void> {
  await where.evaluate((request) => window.faults.begin(request), LONG);
  await expect.poll(() => where.evaluate(() => window.faults.at())).toMatch(/denoise [1-9]/);
}

beforeAll(async () => {
  const folder = await scratch();
  await convert(`${PIXART}/pipeline`, folder, { dtype: "f32" });
  server = await serveDirectory(folder);
  ({ page, close: closePage } = await openPage("tests/faults/page.html", () => undefined, {
    fresh: true,
    flags: [...FORGIVING, `--host-resolver-rules=MAP ${LAN} 127.0.0.1`],
  }));
  context = page.context();
  crashGpu = await crasher(page);
  await page.exposeFunction("crashGpu", crashGpu);
  await ready(page);
  await page.evaluate((url) => window.faults.load(url, { recoveries: 1000 }), server.url);
  expected = await stateOf(page);
});
afterAll(async () => {
  await closePage?.();
  await server?.close();
});

describe("a GPU process that dies", () => {
  const MOMENTS = [
    { stage: "encode", step: 0 },
    { stage: "encode", step: 1 },
    { stage: "compile", step: 0 },
    ...Array.from({ length: STEPS + 1 }, (_, step) => ({ stage: "denoise", step })),
    { stage: "decode", step: 0 },
  ];

  it("at any step of a picture, again and again, changes none of them", async () => {
    for (let round = 0; round < ROUNDS; round++) {
      for (const moment of MOMENTS) {
        const outcome = await page.evaluate((args) => window.faults.disturbed(...args), [REQUEST, moment] as const);
        expect(outcome, `round ${round}, ${moment.stage} ${moment.step}`).toEqual({
          hash: expected.hash,
          crashed: true,
        });
      }
      await crashGpu(); // while nothing runs
      await expectBaseline();
    }
  });

  it("while the tab is frozen costs nothing: the picture goes on when it wakes", async () => {
    const cdp = await context.browser()!.newBrowserCDPSession();
    const { processInfo } = await cdp.send("SystemInfo.getProcessInfo");
    const tabs = processInfo.filter(({ type }) => type === "renderer");
    const step = async (): Promise<number> => Number((await page.evaluate(() => window.faults.at())).split(" ")[1]);
    await beginLong(page);
    const before = await step();
    for (const { id } of tabs) process.kill(id, "SIGSTOP");
    await crashGpu();
    await new Promise((resolve) => setTimeout(resolve, 2000)); // asleep
    for (const { id } of tabs) process.kill(id, "SIGCONT");
    await expect.poll(step).toBeGreaterThan(before + 10);
    await page.evaluate(() => window.faults.abort());
    expect(await page.evaluate(() => window.faults.ended())).toMatchObject({ name: "AbortError" });
    await expectBaseline();
  });
});

describe("a GPU process that the browser does not start again", () => {
  it("is an error that says so, and the page lives on", async () => {
    const { page: plain, close } = await openPage("tests/faults/page.html", () => undefined, { fresh: true });
    try {
      const crash = await crasher(plain);
      await ready(plain);
      await plain.evaluate((url) => window.faults.load(url, { recoveries: 1000 }), server.url);
      const startsAgain = async (): Promise<boolean> => {
        await crash();
        return plain.evaluate(() => window.faults.offersGpu());
      };
      await expect.poll(startsAgain).toBe(false);
      for (let time = 0; time < 2; time++) {
        const message = expect.stringMatching(/could not be had again: .*no adapter/) as string;
        const ending = await plain.evaluate((request) => window.faults.fails(request), REQUEST);
        expect(ending).toMatchObject({ name: "DeviceLostError", message });
      }
      expect(await plain.evaluate(() => window.faults.unhandled())).toEqual([]);
    } finally {
      await close();
    }
  });
});

describe("tabs that share a GPU", () => {
  it("take turns: an idle one parks, a busy one is waited for or ended, a dead one is no obstacle", async () => {
    const other = await openTab();
    await other.evaluate((url) => window.faults.load(url, { recoveries: 1000 }), server.url);
    await expect.poll(() => page.evaluate(() => window.faults.memory())).toBe(0);
    await expectBaseline();
    await expect.poll(() => other.evaluate(() => window.faults.memory())).toBe(0);

    await beginLong(page);
    await other.evaluate((request) => window.faults.begin(request), REQUEST);
    await expect.poll(() => other.evaluate(() => window.faults.at())).toBe("wait 0");
    const second = await other.evaluate((request) => window.faults.abortedWait(request), REQUEST);
    expect(second.name, "a second call, while the first still waits").toBe("AbortError");
    const hash = await other.evaluate((request) => window.faults.picture(request, { takeOver: true }), REQUEST);
    expect(hash, "a third call, which takes the GPU over").toBe(expected.hash);
    expect(await other.evaluate(() => window.faults.ended()), "the first one").toMatchObject({ name: "" });
    expect(await page.evaluate(() => window.faults.ended())).toMatchObject({
      name: "TakenOverError",
      recoverable: true,
    });
    await expect.poll(() => page.evaluate(() => window.faults.memory())).toBe(0);

    await beginLong(other);
    await other.close();
    await expectBaseline();
  });
});

describe("a worker at work", () => {
  it("that fails or hangs is given up; a new one makes the picture", async () => {
    const tab = await context.newPage();
    await tab.clock.install();
    await tab.goto(page.url());
    await ready(tab);
    for (const fate of ["fail", "hang"] as const) {
      await tab.evaluate((url) => window.faults.loadMortal(url), server.url);
      await tab.evaluate((request) => window.faults.begin(request), LONG);
      await expect.poll(() => tab.evaluate(() => window.faults.at())).toBe("compile 0");
      await tab.evaluate((fate) => window.faults.tell(fate), fate);
      if (fate === "hang") await tab.clock.runFor(40_000); // in which it does not answer
      expect(await tab.evaluate(() => window.faults.ended())).toMatchObject({
        name: "WorkerCrashedError",
        recoverable: false,
        message: expect.stringMatching(fate === "hang" ? /no sign of life/ : /told to fail/) as string,
      });
      expect(await tab.evaluate((request) => window.faults.fails(request), REQUEST)).toMatchObject({
        name: "WorkerCrashedError",
      });
    }
    await tab.evaluate((url) => window.faults.load(url), server.url);
    await expectBaseline(tab);
    await tab.close();
  });
});

describe("an adapter", () => {
  it("of software is told, in words and as such", async () => {
    const { adapter } = await page.evaluate((url) => window.faults.load(url, { recoveries: 1000 }), server.url);
    expect(adapter).toMatchObject({ architecture: "swiftshader", isSoftware: true });
  });

  it("that an insecure page cannot have is an error that says why", async () => {
    const tab = await context.newPage();
    await tab.goto(Object.assign(new URL(page.url()), { hostname: LAN }).href);
    await ready(tab);
    expect(await tab.evaluate(() => isSecureContext)).toBe(false);
    expect(await tab.evaluate((url) => window.faults.loadFails(url), server.url)).toMatchObject({
      name: "WebGPUUnavailableError",
      message: expect.stringMatching(/need a secure context.*serve it over https/) as string,
    });
    await tab.close();
  });
});

describe("a tab", () => {
  it("that the system killed at work loads at the low tier the next time, and says why; one that was left does not", async () => {
    for (const end of ["left", "killed"]) {
      const tab = await openTab();
      expect((await tab.evaluate((url) => window.faults.load(url), server.url)).tier, end).toBe("normal");
      await tab.evaluate((request) => window.faults.begin(request), LONG);
      await expect.poll(() => tab.evaluate(() => window.faults.at())).toBe("compile 0");
      if (end === "left") await tab.goto("about:blank");
      else {
        const crashed = tab.waitForEvent("crash");
        const cdp = await context.newCDPSession(tab);
        cdp.send("Page.crash").catch(() => undefined); // never answered
        await crashed;
      }
      await tab.close();
    }
    const next = await openTab();
    expect(await next.evaluate((url) => window.faults.load(url), server.url)).toMatchObject({
      tier: "low",
      textEncoder: "streamed",
      tierReason: expect.stringMatching(/was closed by the system/) as string,
    });
    expect((await stateOf(next)).hash).toBe(expected.hash);
    await next.evaluate(() => localStorage.clear());
    await next.close();
  });

  it("that loses its GPU more often than it may loads at the low tier the next time", async () => {
    const tab = await openTab();
    expect((await tab.evaluate((url) => window.faults.load(url, { recoveries: 0 }), server.url)).tier).toBe("normal");
    await beginLong(tab);
    await crashGpu();
    expect(await tab.evaluate(() => window.faults.ended())).toMatchObject({ name: "DeviceLostError" });
    await tab.close();
    const next = await openTab();
    expect(await next.evaluate((url) => window.faults.load(url), server.url)).toMatchObject({
      tier: "low",
      tierReason: expect.stringMatching(/the GPU was lost/) as string,
    });
    await next.evaluate(() => localStorage.clear());
    await next.close();
    await expectBaseline();
  });
});
