// From the first visit to a gallery, in Chromium, on the built page.
import { readFile } from "node:fs/promises";
import { unzipSync } from "fflate";
import type { Page } from "playwright";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { readText } from "../../src/page/png.ts";
import { hostSite, type Host } from "../../tools/site/host.ts";
import { drop, generate, pictures, QUICK, ready, tiles, visit, type Visit } from "./site.ts";

let site: Host;
let visitor: Visit;
let page: Page;

beforeAll(async () => {
  site = await hostSite();
  visitor = await visit(site);
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

/** A file that the page offers when `click` is done. */
async function download(click: () => Promise<void>): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const [file] = await Promise.all([page.waitForEvent("download"), click()]);
  return { name: file.suggestedFilename(), bytes: new Uint8Array(await readFile(await file.path())) };
}

const button = (name: string) => page.getByRole("button", { name, exact: true });

it("says what the first click downloads, and makes the first picture with that one click", async () => {
  const shell: string[] = [];
  visitor.context.on("request", (request) => void shell.push(new URL(request.url()).pathname));
  expect(await page.locator("#generate-note").textContent()).toMatch(/^Downloads 1\d MB once/);
  await page.waitForTimeout(500);
  expect(shell.filter((path) => path.includes("safetensors"))).toEqual([]); // nothing large without a click

  await generate(page);
  const seen = await page.waitForFunction(() => {
    const canvas = document.querySelector<HTMLCanvasElement>("canvas.preview");
    if (!canvas) return undefined;
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    return { width: canvas.width, height: canvas.height, colours: new Set(data).size };
  });
  const preview = (await seen.jsonValue())!;
  expect(preview).toMatchObject({ width: 8, height: 8 });
  expect(preview.colours).toBeGreaterThan(20);
  await pictures(page, 1);
  const picture = page.locator("img.picture");
  expect(await picture.getAttribute("alt")).toBe("a photo of a frog");
  expect(await picture.evaluate((image: HTMLImageElement) => [image.naturalWidth, image.naturalHeight])).toEqual([
    64, 64,
  ]);
  expect(await page.locator(".badge", { hasText: "Ready offline" }).isVisible()).toBe(true);
});

it("puts the settings into the PNG, and takes them out of one that is dropped", async () => {
  await page.locator("#prompt").fill("a blue fish, größer\nand Ωmega");
  await generate(page);
  await pictures(page, 2);
  const { name, bytes } = await download(() => button("Download").click());
  expect(name).toBe("a-blue-fish-gr-er-and-mega-7.png");
  const texts = Object.fromEntries(readText(bytes).map(({ keyword, text }) => [keyword, text]));
  expect(texts.parameters).toContain("a blue fish, größer\nand Ωmega\nSteps: 2, CFG scale: 3, Seed: 7, Size: 64x64");
  expect(JSON.parse(texts.scanvas!)).toMatchObject({ prompt: "a blue fish, größer\nand Ωmega", seed: 7, steps: 2 });

  await page.evaluate(() => (location.hash = "#prompt=other&steps=9&width=128&seed=1"));
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe("other");
  await drop(page, bytes);
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe("a blue fish, größer\nand Ωmega");
  await page.locator(".advanced > summary").click();
  expect(await page.getByLabel("Steps").inputValue()).toBe("2");
  expect(await page.getByLabel("Width").inputValue()).toBe("64");
  expect(await page.getByRole("spinbutton", { name: "Seed" }).inputValue()).toBe("7");
});

it("makes the same picture of the same settings", async () => {
  await generate(page);
  await pictures(page, 3);
  const [one, two] = await page.locator(".tile img").evaluateAll((images) =>
    Promise.all(
      images.slice(0, 2).map(async (image) => {
        const bitmap = await createImageBitmap(image as HTMLImageElement);
        const context = new OffscreenCanvas(64, 64).getContext("2d")!;
        context.drawImage(bitmap, 0, 0);
        return [...context.getImageData(0, 0, 64, 64).data].join();
      }),
    ),
  );
  expect(one).toBe(two);
});

it("keeps the gallery over a reload, and shows a picture again", async () => {
  await page.reload();
  await ready(page);
  expect(await tiles(page).count()).toBe(3);
  await tiles(page).last().click();
  await expect.poll(() => page.locator("img.picture").getAttribute("alt")).toBe("a photo of a frog");
  await button("Use settings").click();
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe("a photo of a frog");
});

it("shares settings by a link that a fresh visitor can use", async () => {
  await button("Share link").click();
  await expect.poll(() => page.locator(".toast").textContent()).toContain("Link");
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(link).toContain("prompt=a+photo+of+a+frog");
  const other = await visit(site, { hash: new URL(link).hash });
  try {
    await ready(other.page);
    expect(await other.page.locator("#prompt").inputValue()).toBe("a photo of a frog");
    await other.page.locator(".advanced > summary").click();
    expect(await other.page.getByRole("spinbutton", { name: "Seed" }).inputValue()).toBe("7");
    expect(other.wrongs).toEqual([]);
  } finally {
    await other.close();
  }
});

it("copies a picture to the clipboard", async () => {
  await button("Copy").click();
  await expect.poll(() => page.locator(".toast").textContent()).toBe("Picture copied");
  const types = await page.evaluate(async () => (await navigator.clipboard.read()).flatMap(({ types }) => types));
  expect(types).toEqual(["image/png"]);
});

it("works through a queue of three, in order, one of them taken out again", async () => {
  await page.goto(`${site.url}${QUICK}`);
  await ready(page);
  for (const prompt of ["a red star", "a green car", "a yellow ball", "a house"]) {
    await page.locator("#prompt").fill(prompt);
    await generate(page);
  }
  await page.getByRole("button", { name: "Remove from the queue: a yellow ball" }).click();
  await pictures(page, 6);
  const prompts = await tiles(page).evaluateAll((all) => all.map((tile) => tile.getAttribute("title")));
  expect(prompts.slice(0, 3)).toEqual(["a house", "a green car", "a red star"]);
});

it("makes several pictures of one job, each with its own seed, and one again with another", async () => {
  await page.evaluate(() => (location.hash = "#prompt=a+heart&count=2&steps=1&seed=40"));
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe("a heart");
  await generate(page);
  await pictures(page, 8);
  expect(await page.locator(".facts").textContent()).toContain("seed 41");
  await tiles(page).nth(1).click();
  await expect.poll(() => page.locator(".facts").textContent()).toContain("seed 40");
  await button("New seed").click();
  await pictures(page, 9);
  expect(await page.locator(".facts").textContent()).not.toMatch(/seed 4[01] /);
});

it("exports all pictures in a zip", async () => {
  const { name, bytes } = await download(() => button("Export all").click());
  expect(name).toBe("scanvas-pictures.zip");
  const files = Object.entries(unzipSync(bytes));
  expect(files.map(([file]) => file).slice(0, 2)).toEqual([
    "1-a-photo-of-a-frog-7.png",
    "2-a-blue-fish-gr-er-and-mega-7.png",
  ]);
  expect(files).toHaveLength(9);
  for (const [, png] of files) expect(readText(new Uint8Array(png)).map(({ keyword }) => keyword)).toContain("scanvas");
});

it("deletes a picture, takes that back, and deletes all after asking", async () => {
  await tiles(page).first().click();
  await button("Delete").click();
  await expect.poll(() => tiles(page).count()).toBe(8);
  await button("Undo").click();
  await expect.poll(() => tiles(page).count()).toBe(9);
  await button("Delete all").click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  expect(await tiles(page).count()).toBe(9);
  await button("Delete all").click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete all" }).click();
  await expect.poll(() => tiles(page).count()).toBe(0);
  await page.reload();
  await ready(page);
  expect(await tiles(page).count()).toBe(0);
});
