/** The built page, served by `vite preview` with the shipped model, in Chromium; and everything that must not happen on it, noted down. */
import { chromium, type BrowserContext, type BrowserContextOptions, type Page } from "playwright";
import { build, preview, type InlineConfig } from "vite";
import { CHROMIUM_FLAGS } from "../../tools/headless/session.ts";
import { ensureBrowser } from "../../tools/setup/browser.ts";
import { site } from "../../tools/site/plugin.ts";
import { scratch } from "../weights/fixtures.ts";

/** Small enough for a software GPU: two steps of a picture of 64 x 64. */
export const QUICK = "#steps=2&width=64&height=64&seed=7";

export interface Site {
  /** Ends in a slash. */
  readonly url: string;
  /** Where it was built. */
  readonly folder: string;
  close(): Promise<void>;
}

export async function buildSite(): Promise<Site> {
  const folder = await scratch();
  const config: InlineConfig = {
    configFile: "vite.config.ts",
    logLevel: "error",
    plugins: [site({ cache: await scratch() })],
    build: { outDir: folder, emptyOutDir: true },
  };
  await build({ ...config });
  const server = await preview({ ...config, preview: { host: "127.0.0.1", port: 0 } });
  return { url: server.resolvedUrls!.local[0]!, folder, close: () => server.close() };
}

export interface Visit {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Console errors, exceptions, policy violations and requests to other origins so far. Tests expect none. */
  readonly wrongs: string[];
  close(): Promise<void>;
}

/** A fresh browser profile on the page. */
export async function visit(
  { url }: Site,
  {
    hash = QUICK,
    flags = CHROMIUM_FLAGS,
    ...options
  }: { hash?: string; flags?: string[] } & BrowserContextOptions = {},
): Promise<Visit> {
  const context = await chromium.launchPersistentContext("", {
    executablePath: ensureBrowser(console.error).executable,
    headless: false,
    args: [...flags, "--headless=new"],
    permissions: ["clipboard-read", "clipboard-write"],
    ...options,
  });
  const wrongs: string[] = [];
  const { origin } = new URL(url);
  context.on("request", (request) => {
    const to = new URL(request.url());
    if (to.protocol !== "blob:" && to.origin !== origin) wrongs.push(`request to ${to.href}`);
  });
  context.on("weberror", (error) => wrongs.push(`exception: ${error.error().message}`));
  context.on("console", (message) => {
    if (message.type() === "error" || /Content Security Policy|TrustedType/i.test(message.text()))
      wrongs.push(`console: ${message.text()}`);
  });
  await context.exposeBinding("noteViolation", (_source, what: string) => wrongs.push(`policy: ${what}`));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
      (window as unknown as { noteViolation(what: string): void }).noteViolation(`${violatedDirective} ${blockedURI}`);
    });
  });
  const page = context.pages()[0]!;
  page.setDefaultTimeout(240_000); // a software GPU on a busy machine
  await page.goto(url + hash);
  return { page, context, wrongs, close: () => context.close() };
}

/** Waits until the page is ready for a prompt. */
export const ready = (page: Page) => page.locator("#prompt").waitFor();

export const generate = (page: Page) => page.locator("button.go").click();

export const tiles = (page: Page) => page.locator(".tile");

/** Waits until that many pictures are in the gallery and nothing runs. */
export async function pictures(page: Page, count: number): Promise<void> {
  await page.waitForFunction(
    (n) => document.querySelectorAll(".tile").length === n && !document.querySelector(".progress.active"),
    count,
  );
}
