/** Where a suite runs: a page in headless Chromium, or this very process on Dawn. */
import { ScanvasError } from "../../src/errors.ts";
import { withEngine } from "../engine.ts";
import { CHROMIUM_FLAGS, inPage, openPage } from "../headless/session.ts";
import { DAWN_FLAGS, dawnGpu } from "../setup/dawn.ts";
import type { Page } from "playwright";
import { cpuSeconds, gpuProcess } from "./cpu.ts";
import type { Environment } from "./page/device.ts";
import type { PageApi } from "./page/main.ts";
import type * as NodePage from "./page/node.ts";

type EnginePage = typeof NodePage;
type Calls = Pick<PageApi, keyof PageApi>;

export interface Host {
  /** Calls a function of the page's `bench`; arguments and answer are plain data. */
  call<Name extends keyof Calls>(
    name: Name,
    ...args: Parameters<Calls[Name]>
  ): Promise<Awaited<ReturnType<Calls[Name]>>>;
  /** Undefined in Node. */
  readonly page: Page | undefined;
  readonly environment: Environment;
}

export type Runtime = "chromium" | "node";

export async function withHost<T>(
  runtime: Runtime,
  say: (line: string) => void,
  use: (host: Host) => Promise<T>,
): Promise<T> {
  return runtime === "node" ? inNode(use) : inChromium(say, use);
}

async function inChromium<T>(say: (line: string) => void, use: (host: Host) => Promise<T>): Promise<T> {
  const { page, close } = await openPage("tools/bench/page/page.html", say, { fresh: true });
  try {
    await page.waitForFunction(() => "bench" in window, undefined, { timeout: 120_000 });
    const call = ((name: string, ...args: unknown[]) =>
      inPage(() =>
        page.evaluate(
          ([n, a]) => (window.bench as unknown as Record<string, (...list: unknown[]) => unknown>)[n]!(...a),
          [name, args] as const,
        ),
      )) as Host["call"];
    const pid = gpuProcess();
    if (pid !== undefined) await page.exposeFunction("cpuSeconds", () => cpuSeconds(pid));
    const environment: Environment = {
      runtime: `Chromium ${page.context().browser()?.version() ?? (await page.evaluate(() => navigator.userAgent))}`,
      flags: CHROMIUM_FLAGS,
      ...(await call("describe")),
    };
    return await use({ call, page, environment });
  } finally {
    await close();
  }
}

async function inNode<T>(use: (host: Host) => Promise<T>): Promise<T> {
  const gpu = await dawnGpu("bench");
  return withEngine("../tools/bench/page/node.ts", async (module: EnginePage) => {
    Object.assign(globalThis, { cpuSeconds: () => Promise.resolve(cpuSeconds(process.pid)) });
    const api = module.start(gpu) as unknown as Record<string, (...list: unknown[]) => unknown>;
    const call = (async (name: string, ...args: unknown[]) => {
      if (!api[name])
        throw new ScanvasError("InvalidArgumentError", `bench: ${name} needs a page; use --runtime chromium`);
      return api[name](...args);
    }) as Host["call"];
    const environment: Environment = {
      runtime: `node ${process.version}, Dawn`,
      flags: DAWN_FLAGS,
      ...(await call("describe")),
    };
    return use({ call, page: undefined, environment });
  });
}
