/** Visits to the built page in Chromium; and everything that must not happen on it, noted down. */
import { chromium, type BrowserContext, type BrowserContextOptions, type Page } from "playwright";
import { CHROMIUM_FLAGS } from "../../tools/headless/session.ts";
import { ensureBrowser } from "../../tools/setup/browser.ts";
import type { Host } from "../../tools/site/host.ts";

/** Small enough for a software GPU: two steps of a picture of 64 x 64. */
export const QUICK = "#steps=2&width=64&height=64&seed=7";

export interface Visit {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Console errors, exceptions, policy violations, requests to other origins and requests that carry anything so far. Tests expect none. */
  readonly wrongs: string[];
  close(): Promise<void>;
}

export interface VisitOptions extends BrowserContextOptions {
  hash?: string;
  flags?: string[];
  /** `pwned()`, called from anywhere in the page, is a wrong. */
  guarded?: boolean;
  /** Answers that stand in for the server's, by address. */
  routes?: Record<string, string>;
}

/** A fresh browser profile on the page. */
export async function visit(
  { url }: Pick<Host, "url">,
  { hash = QUICK, flags = CHROMIUM_FLAGS, guarded = false, routes = {}, ...options }: VisitOptions = {},
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
    if (request.method() !== "GET" || request.postData()) wrongs.push(`${request.method()} to ${to.href}`);
  });
  context.on("page", (page) => page.on("websocket", (socket) => wrongs.push(`WebSocket to ${socket.url()}`)));
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
  if (guarded) await context.exposeFunction("pwned", () => void wrongs.push("a payload ran"));
  for (const [address, body] of Object.entries(routes))
    await context.route(address, (route) => route.fulfill({ body }));
  const page = context.pages()[0]!;
  page.setDefaultTimeout(240_000); // a software GPU on a busy machine
  await page.goto(url + hash);
  return { page, context, wrongs, close: () => context.close() };
}

/** Waits until the page is ready for a prompt. */
export const ready = (page: Page) => page.locator("#prompt").waitFor();

export const generate = (page: Page) => page.locator("button.go").click();

export const tiles = (page: Page) => page.locator(".tile");

/** A link with settings, on the page that is open. */
export const follow = (page: Page, hash: string): Promise<void> =>
  page.evaluate((to) => void (location.hash = to), hash);

/** The file dropped on the page, as from a folder. */
export const drop = (page: Page, bytes: Uint8Array, name = "dropped.png"): Promise<void> =>
  page.evaluate(
    ([data, name]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(data)], name, { type: "image/png" }));
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    },
    [[...bytes], name] as const,
  );

/** What the page says it is doing, or has done. */
export const said = (page: Page): Promise<string> => page.locator(".strip").innerText();

/** Nothing runs and nothing waits. */
export const idle = (page: Page) => page.locator(".progress:not(.active)").waitFor({ state: "attached" });

/** Waits until that many pictures are in the gallery and nothing runs. */
export async function pictures(page: Page, count: number): Promise<void> {
  const found = await page.waitForFunction((n) => {
    const failure = document.querySelector<HTMLElement>(".failure");
    if (failure) return failure.innerText;
    return document.querySelectorAll(".tile").length === n && !document.querySelector(".progress.active") && "all";
  }, count);
  if ((await found.jsonValue()) !== "all") throw new Error(`the page says: ${String(await found.jsonValue())}`);
}
