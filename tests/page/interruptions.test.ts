// Work that is stopped at every stage, a download that is paused, and a network that goes away, in Chromium on the built page.
import type { Page } from "playwright";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { hostSite, type Host } from "../../tools/site/host.ts";
import { follow, generate, idle, pictures, ready, said, tiles, visit, type Visit } from "./site.ts";

let site: Host;
let visitor: Visit;
let page: Page;
/** The host takes its time over the autoencoder, until when nothing is ready. */
let isSlow = true;
const SLOW = "#steps=60&width=64&height=64&seed=7";

beforeAll(async () => {
  site = await hostSite({ delay: (path) => (isSlow && /vae.*safetensors/.test(path) ? 20_000 : 0) });
  visitor = await visit(site, { hash: SLOW });
  page = visitor.page;
  await ready(page);
}, 240_000);
afterAll(async () => {
  await visitor?.close();
  await site?.close();
});
afterEach(() => {
  expect(visitor.wrongs).toEqual([]);
});

/** Presses Esc in the very moment in which the page says this; how long until it was at rest, milliseconds. */
async function stopAt(words: RegExp): Promise<number> {
  const stopped = page.evaluate(
    (pattern) =>
      new Promise<number>((resolve) => {
        let pressed = 0;
        const look = (): void => {
          const isActive = document.querySelector(".progress.active") !== null;
          const line = document.querySelector(".progress-line")?.textContent ?? "";
          if (!pressed && isActive && new RegExp(pattern).test(line)) {
            pressed = performance.now();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
          } else if (pressed && !isActive) {
            watcher.disconnect();
            resolve(performance.now() - pressed);
          }
        };
        const watcher = new MutationObserver(look);
        watcher.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
      }),
    words.source,
  );
  await generate(page);
  return stopped;
}

const use = async (prompt: string, steps: number): Promise<void> => {
  await follow(page, `#prompt=${prompt}&steps=${steps}`);
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe(prompt);
};

const bytesIn = async (selector: string): Promise<number[]> =>
  [...(await page.locator(selector).innerText()).matchAll(/(\d+(?:\.\d+)?) MB/g)].map(([, number]) => Number(number));

/** Bytes by name of what this device keeps of models. */
const kept = (): Promise<Record<string, number>> =>
  page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("scanvas-weights", { create: true });
    const sizes: Record<string, number> = {};
    for await (const file of (folder as unknown as { values(): AsyncIterable<FileSystemFileHandle> }).values()) {
      const size = await file.getFile().then(
        ({ size }) => size,
        () => undefined, // renamed in this moment
      );
      if (size !== undefined) sizes[file.name] = size;
    }
    return sizes;
  });

const bytesKept = async (): Promise<number> =>
  Object.entries(await kept()).reduce((sum, [name, size]) => sum + (name.endsWith(".part") ? 0 : size), 0);

it("is stopped while it downloads, keeps what is here, and goes on from there", async () => {
  await generate(page);
  await expect.poll(bytesKept, { timeout: 60_000, interval: 100 }).toBeGreaterThan(12e6);
  const pressed = performance.now();
  await page.keyboard.press("Escape");
  await idle(page);
  expect(performance.now() - pressed).toBeLessThan(5_000);
  expect(await said(page)).toContain("The download is paused; what is here is kept.");
  expect(await tiles(page).count()).toBe(0);

  const [rest] = await bytesIn("#generate-note");
  expect(await page.locator("#generate-note").innerText()).toMatch(/^Downloads the remaining \d/);
  expect(rest).toBeLessThan(8);
  await page.getByRole("button", { name: "Model: Shapes and things" }).click();
  const card = page.locator(".card.model");
  await expect.poll(() => card.innerText()).toMatch(/MB of 19 MB here/);

  // Resumed in the models dialog, paused there, resumed again.
  await card.getByRole("button", { name: /^Resume, \d/ }).click();
  await card.getByRole("button", { name: "Pause" }).click();
  isSlow = false;
  await card.getByRole("button", { name: /^Resume, \d/ }).click();
  await expect.poll(() => card.innerText(), { timeout: 120_000 }).toContain("Ready offline");
  await page.keyboard.press("Escape");
  await idle(page);
});

it("removes a model from this device, and brings it again only when asked", async () => {
  await page.getByRole("button", { name: "Model: Shapes and things" }).click();
  const card = page.locator(".card.model");
  await card.getByRole("button", { name: "Remove from this device" }).click();
  await expect.poll(() => card.innerText()).toContain("19 MB to download");
  expect(await kept()).toEqual({});
  await card.getByRole("button", { name: /^Download 1\d MB$/ }).click();
  await expect.poll(() => card.innerText(), { timeout: 120_000 }).toContain("Ready offline");
  await page.keyboard.press("Escape");
  await idle(page);
});

it.each([
  { stage: "the encoder", words: /^Reading the prompt/, outcome: /^Stopped$/m },
  { stage: "a step", words: /^Step 3 of/, outcome: /^Stopped after step [345] of 60$/m },
  { stage: "the decoder", words: /^Finishing/, outcome: /^Stopped$/m, steps: 2 },
])("is stopped in $stage, says so, and works as before", async ({ stage, words, outcome, steps = 60 }) => {
  const before = await tiles(page).count();
  await use(`${stage} and a frog`, steps);
  const milliseconds = await stopAt(words);
  expect(milliseconds).toBeLessThan(5_000); // a step of a software GPU on a busy machine
  expect(await said(page)).toMatch(outcome);
  if (stage === "a step") expect(await page.locator("canvas.preview").isVisible()).toBe(true);
  expect(await tiles(page).count()).toBe(before);
});

it("goes on with the next job when one is stopped", async () => {
  await use("a red star", 60);
  await generate(page);
  await use("a green car", 2);
  await generate(page);
  await page.locator(".progress-line", { hasText: /^Step \d/ }).waitFor();
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await pictures(page, 1);
  expect(await tiles(page).first().getAttribute("title")).toBe("a green car");
});

it("works without a network: reloads, and makes the same picture", async () => {
  const worker = (): Promise<string | undefined> =>
    page.evaluate(async () => (await navigator.serviceWorker.getRegistration())?.active?.state);
  await expect.poll(worker).toBe("activated");
  await site.close();
  await page.reload();
  await ready(page);
  expect(await tiles(page).count()).toBe(1);
  expect(await page.locator(".badge", { hasText: "Ready offline" }).isVisible()).toBe(true);
  await follow(page, "#prompt=a green car&steps=2&width=64&height=64&seed=7");
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe("a green car");
  await page.locator(".advanced > summary").click();
  await expect.poll(() => page.getByLabel("Width").inputValue()).toBe("64");
  await generate(page);
  await pictures(page, 2);
  const [one, two] = await page.locator(".tile img").evaluateAll((images) =>
    images.map((image) => {
      const canvas = new OffscreenCanvas(64, 64).getContext("2d")!;
      canvas.drawImage(image as HTMLImageElement, 0, 0, 64, 64);
      return [...canvas.getImageData(0, 0, 64, 64).data];
    }),
  );
  expect(new Set(one).size).toBeGreaterThan(9);
  expect(one).toEqual(two);
  visitor.wrongs.splice(0, Infinity, ...visitor.wrongs.filter((wrong) => !wrong.includes("ERR_CONNECTION_REFUSED")));
});
