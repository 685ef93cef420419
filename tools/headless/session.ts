/** A real page in headless Chromium, with a model served beside it. */
import { existsSync } from "node:fs";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { chromium, type BrowserContext, type Page } from "playwright";
import { ScanvasError } from "../../src/errors.ts";
import type { ModelInfo, Progress } from "../../src/index.ts";
import { convert } from "../convert/convert.ts";
import { serveDirectory } from "../serve.ts";
import { ensureBrowser } from "../setup/browser.ts";
import type { PageLoadOptions } from "./page.ts";
import { servePages } from "./pages.ts";

export interface HeadlessOptions {
  /** A converted folder, a pipeline directory (converted into the cache first), or a URL. */
  model: string;
  dtype: "f32" | "f16";
  /** Passed on to `load`; a promptPack may be relative to the model. */
  load?: PageLoadOptions;
  /** A browser profile of its own, so that nothing is kept from earlier runs. */
  fresh?: boolean;
  say: (line: string) => void;
  onProgress?: (progress: Progress) => void;
}

export interface HeadlessSession {
  readonly page: Page;
  readonly info: ModelInfo;
  /** Address of the model's folder. */
  readonly url: string;
  close(): Promise<void>;
}

export const cacheFolder = process.env.SCANVAS_CACHE ?? join(homedir(), ".cache", "scanvas");

/** What Chromium is started with: WebGPU also where only a CPU can run it, and no calls home. */
export const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  ...(process.env.SCANVAS_CHROMIUM_FLAGS?.split(" ").filter(Boolean) ?? []),
];

/** A page in headless Chromium. Everything that was started is stopped again, also on failure. */
export async function openPage(
  path: string,
  say: (line: string) => void,
  { fresh = false, flags = [] as readonly string[] } = {},
): Promise<{ page: Page; close: () => Promise<void> }> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer().catch(() => undefined);
  };
  try {
    const { executable } = ensureBrowser(say);
    const pages = await servePages();
    closers.push(() => pages.close());
    const temporary = await mkdtemp(join(tmpdir(), "scanvas-"));
    closers.push(() => rm(temporary, { recursive: true, force: true }));
    // channel-less Playwright would start the headless shell, which has no WebGPU: full Chromium in its new headless mode instead.
    const launch = (profile: string): Promise<BrowserContext> =>
      chromium.launchPersistentContext(profile, {
        executablePath: executable,
        headless: false,
        args: [...CHROMIUM_FLAGS, ...flags, "--headless=new"],
      });
    // One run at a time may use the kept profile; a second one gets a fresh one, as does who asks for it.
    const context = await (fresh
      ? launch(temporary)
      : launch(join(cacheFolder, "profile")).catch(() => launch(temporary)));
    closers.push(() => context.close());
    const page = context.pages()[0] ?? (await context.newPage());
    page.on("pageerror", (error) => say(`page: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") say(`page: ${message.text()}`);
    });
    await page.goto(new URL(path, pages.url).href);
    return { page, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens the page of `generate` and `trace` with a model loaded. */
export async function openSession({
  model,
  dtype,
  load = {},
  say,
  onProgress,
  fresh,
}: HeadlessOptions): Promise<HeadlessSession> {
  const served = /^https?:/.test(model) ? undefined : await serveDirectory(await convertedFolder(model, dtype, say));
  const { page, close: closePage } = await openPage("tools/headless/page.html", say, { fresh }).catch(
    async (error: unknown) => {
      await served?.close();
      throw error;
    },
  );
  const url = served?.url ?? model;
  const { promptPack } = load;
  const options = { ...load, ...(promptPack && { promptPack: new URL(promptPack, url).href }) };
  const close = async (): Promise<void> => {
    await closePage();
    await served?.close();
  };
  try {
    await page.exposeFunction("onScanvasProgress", (progress: Progress) => onProgress?.(progress));
    await page.waitForFunction(() => "headless" in window);
    const info = await inPage(() => page.evaluate((args) => window.headless.load(...args), [url, options] as const));
    if (info.adapter.isSoftware) {
      say(
        `no GPU found: running on a software adapter (${info.adapter.architecture}); this is slow, a GPU takes seconds or less`,
      );
    }
    return { page, info, url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs `work`, giving an error that was thrown in the page its name back. */
export async function inPage<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const match = /(?:page\.evaluate: )?(?:Error: )?(\w+Error): ([^\n]*)/.exec(text);
    if (!match) throw error;
    throw new ScanvasError(match[1] as ScanvasError["name"], match[2]!, { cause: error });
  }
}

/** The folder itself when it is converted; else its conversion in the cache, redone by `convert` only where something changed. */
export async function convertedFolder(path: string, dtype: string, say: (line: string) => void): Promise<string> {
  const folder = resolve(path);
  if (existsSync(join(folder, "manifest.json"))) return folder;
  const key = createHash("sha256").update(folder).digest("hex").slice(0, 8);
  const out = join(cacheFolder, "converted", `${basename(folder)}-${dtype}-${key}`);
  const { written, notes } = await convert(folder, out, { dtype });
  if (written > 0) say(`converted ${folder} to ${dtype} in ${out}`);
  notes.forEach(say);
  return out;
}
