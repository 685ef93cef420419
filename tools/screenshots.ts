/** `npm run screenshots`: builds the page, uses it as a visitor would, and writes docs/screenshots. Takes some minutes without a GPU. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium, type BrowserContext, type BrowserContextOptions, type Page } from "playwright";
import { CHROMIUM_FLAGS } from "./headless/session.ts";
import { ensureBrowser } from "./setup/browser.ts";
import { hostSite } from "./site/host.ts";

const OUT = "docs/screenshots";
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const PROMPTS = [
  "a photo of a penguin",
  "two green stars on a white background",
  "a photo of a pig",
  "a photo of a rocket and a house",
  "a photo of a mushroom",
  "a photo of a red car",
  "three apples",
  "a photo of a cat and a dog",
  "a photo of a pizza",
  "a photo of a blue umbrella",
  "a photo of a panda",
  "a photo of a frog",
];

const site = await hostSite();

async function visit(options: BrowserContextOptions = {}): Promise<{ page: Page; context: BrowserContext }> {
  const context = await chromium.launchPersistentContext(process.argv[2] ?? "", {
    executablePath: ensureBrowser(console.error).executable,
    headless: false, // without a channel Playwright starts the headless shell, which has no WebGPU
    args: [...CHROMIUM_FLAGS, "--headless=new"],
    viewport: DESKTOP,
    colorScheme: "light",
    ...options,
  });
  const page = context.pages()[0]!;
  page.setDefaultTimeout(600_000);
  await page.goto(site.url);
  await page.locator("#prompt").waitFor();
  return { page, context };
}

async function shot(page: Page, name: string): Promise<void> {
  await page.mouse.move(0, 0);
  await page.waitForTimeout(400); // what appears softly is there
  await page.screenshot({ path: join(OUT, `${name}.png`) });
  console.log(`${OUT}/${name}.png`);
}

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });

async function generate(page: Page, prompt: string): Promise<void> {
  await page.locator("#prompt").fill(prompt);
  await page.locator("button.go").click();
}

/** Until nothing runs and nothing waits. */
const idle = (page: Page) => page.locator(".progress:not(.active)").waitFor({ state: "attached" });

await mkdir(OUT, { recursive: true });

const broken = await visit();
await broken.context.route("**/*.safetensors", (route) => route.fulfill({ status: 404 }));
await shot(broken.page, "first-visit");
await broken.page.locator("button.go").click();
await broken.page.locator(".failure").waitFor();
await shot(broken.page, "error");
await broken.context.close();

const { page, context } = await visit();
for (const prompt of PROMPTS) {
  await generate(page, prompt);
  await page.waitForFunction(() => document.querySelectorAll(".queue li").length === 0);
}
await idle(page);
await shot(page, "desktop");

await page.emulateMedia({ colorScheme: "dark" });
await page.locator(".advanced > summary").click();
await shot(page, "dark");
await page.locator(".advanced > summary").click();
await page.emulateMedia({ colorScheme: "light" });

await generate(page, "a photo of a fox");
await generate(page, "a yellow balloon above a house");
await generate(page, "five purple diamonds on a black background");
await page.waitForFunction(() => /Step [89] of/.test(document.querySelector(".progress-line")?.textContent ?? ""));
await shot(page, "generating");
await idle(page);

await page.locator(".tile").nth(4).click();
await shot(page, "gallery");
await page.getByRole("button", { name: /^Model:/ }).click();
await page.waitForTimeout(1500); // the plan is made
await shot(page, "models");
await page.keyboard.press("Escape");
await button(page, "Device").click();
await shot(page, "device");
await page.keyboard.press("Escape");

await page.setViewportSize(PHONE);
await shot(page, "phone");
await context.close();
await site.close();
