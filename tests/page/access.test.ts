// For everybody: by keyboard alone, by screen reader, on a small window, in the dark, without motion.
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { hostSite, type Host } from "../../tools/site/host.ts";
import { CHROMIUM_FLAGS } from "../../tools/headless/session.ts";
import { follow, generate, idle, pictures, QUICK, ready, said, tiles, visit, type Visit } from "./site.ts";

let site: Host;
let visitor: Visit;
let page: Page;
let axe: string;

beforeAll(async () => {
  axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  site = await hostSite();
  visitor = await visit(site);
  page = visitor.page;
  await ready(page);
}, 240_000);
afterAll(async () => {
  await visitor?.close();
  await site?.close();
});
afterEach(() => expect(visitor.wrongs).toEqual([]));

/** What axe finds in the page as it is. Evaluated by the debugger: the page's own policy lets no such script in. */
async function barriers(where = page): Promise<string[]> {
  if (!(await where.evaluate(() => "axe" in window))) await where.evaluate(axe);
  return where.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(options: object): Promise<AxeResults> } };
    const { violations } = await axe.run({ resultTypes: ["violations"] });
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  });
}

/** What has the focus, as a screen reader names it. */
const focused = (): Promise<string> =>
  page.evaluate(() => {
    const element = document.activeElement as HTMLElement & { labels?: NodeListOf<HTMLLabelElement> };
    return element.ariaLabel ?? element.labels?.[0]?.innerText ?? element.innerText.trim();
  });

/** Presses Tab until that has the focus. */
async function tabTo(name: string | RegExp, { key = "Tab" } = {}): Promise<void> {
  const passed: string[] = [];
  for (let n = 0; n < 80; n++) {
    const now = await focused();
    if (typeof name === "string" ? now === name : name.test(now)) return;
    passed.push(now);
    await page.keyboard.press(key);
  }
  throw new Error(`Tab does not reach ${String(name)}, but ${passed.join(" | ")}`);
}

const press = (key: string): Promise<void> => page.keyboard.press(key);

it("has no barriers that axe finds, at first", async () => {
  expect(await barriers()).toEqual([]);
});

it("can be used by keyboard alone, from the first prompt to the last picture", async () => {
  await tabTo("Prompt");
  await press("Control+A");
  await page.keyboard.type("a photo of a frog");
  await tabTo("Advanced");
  await press("Enter");
  await tabTo("Guidance");
  await press("Control+A");
  await page.keyboard.type("1");
  await press("Tab");
  await expect.poll(() => page.getByLabel("Negative prompt").isDisabled()).toBe(true);
  expect(await page.getByText("Used only with guidance above 1").isVisible()).toBe(true);
  await tabTo("Advanced", { key: "Shift+Tab" });
  await press("Enter");
  await tabTo("Prompt", { key: "Shift+Tab" });
  await press("Control+Enter");
  await pictures(page, 1);
  expect(await page.locator('[role="status"]', { hasText: "The picture is ready" }).count()).toBe(1);

  await tabTo("New seed", { key: "Shift+Tab" });
  await press("Enter");
  await pictures(page, 2);
  expect(await focused()).not.toBe(""); // what had the focus is gone, the place is not
  await tabTo("View large");
  await press("Enter");
  const zoom = page.locator(".percent");
  const fitted = await zoom.innerText();
  for (const key of ["+", "+", "ArrowLeft", "ArrowDown"]) await press(key);
  expect(parseInt(await zoom.innerText())).toBeGreaterThan(2 * parseInt(fitted));
  expect(await page.locator(".pixels.crisp").count()).toBe(1);
  await press("1");
  expect(await zoom.innerText()).toBe("100%");
  await press("0");
  expect(await zoom.innerText()).toBe(fitted);
  await press("ArrowRight");
  await press("Escape");
  await expect.poll(focused).toBe("View large");
  expect(await page.locator("img.picture").getAttribute("alt")).toBe("a photo of a frog");

  await tabTo("Compare with another");
  await press("Enter");
  await tabTo("Border between the two pictures", { key: "Shift+Tab" });
  for (let n = 0; n < 20; n++) await press("ArrowRight");
  expect(await page.evaluate(() => document.activeElement!.getAttribute("aria-valuetext"))).toBe(
    "60% of the left picture",
  );
  expect(
    await page.locator(".comparison").evaluate((element) => getComputedStyle(element).getPropertyValue("--split")),
  ).toBe("60%");
  await press("Escape");
  await page.locator("img.picture").waitFor();

  await tabTo(/^Show: a photo of a frog/);
  await press("Enter");
  await tabTo(/^Model:/, { key: "Shift+Tab" });
  await press("Enter");
  await page.getByRole("dialog", { name: "Models and storage" }).waitFor();
  for (let n = 0; n < 10; n++) await press("Tab"); // the focus stays inside
  expect(
    await page.evaluate(
      () => document.activeElement === document.body || document.activeElement!.closest("dialog") !== null,
    ),
  ).toBe(true);
  await press("Escape");
  await expect.poll(focused).toMatch(/^Model:/);
  await tabTo("Delete");
  await press("Enter");
  await expect.poll(() => tiles(page).count()).toBe(1);
});

it("stops by Esc, says so, and tells progress in words now and then", async () => {
  const heard = await page.evaluateHandle(() => {
    const all: string[] = [];
    const live = document.querySelector('.progress [role="status"]')!;
    new MutationObserver(() => all.push(live.textContent ?? "")).observe(live, {
      childList: true,
      subtree: true,
      characterData: true,
    });
    return all;
  });
  await follow(page, "#prompt=a red car&steps=150&guidanceScale=3");
  await expect.poll(() => page.locator("#prompt").inputValue()).toBe("a red car");
  await generate(page);
  await page.locator(".progress-line", { hasText: /^Step \d/ }).waitFor();
  expect(await barriers()).toEqual([]);
  await press("Escape");
  await idle(page);
  expect(await said(page)).toMatch(/Stopped after step \d+ of 150/);
  const words = await heard.jsonValue();
  expect(words.at(-1)).toBe("Stopped");
  expect(words).toContain("Generating: Step 0%");
  expect(words.length).toBeLessThan(12); // not with every step
  expect(await barriers()).toEqual([]);
});

describe("in other circumstances", () => {
  const dialogs = [/^Model:/, "Device"] as const;

  it.each(["light", "dark"] as const)(
    "has no barriers that axe finds, %s, in any of its views",
    async (colorScheme) => {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      await tiles(page).first().click();
      await page.locator(".advanced > summary").click();
      expect(await barriers(), "picture and settings").toEqual([]);
      await page.locator(".advanced > summary").click();
      for (const name of dialogs) {
        await page.getByRole("button", { name }).click();
        expect(await barriers(), String(name)).toEqual([]);
        await press("Escape");
      }
      await page.getByRole("button", { name: "View large" }).click();
      expect(await barriers(), "viewer").toEqual([]);
      await press("Escape");
      await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
    },
  );

  it("compares without barriers, and moves nothing for those who want no motion", async () => {
    await follow(page, `${QUICK}&prompt=a blue star`);
    await generate(page);
    await pictures(page, 2);
    await page.getByRole("button", { name: "Compare with another" }).click();
    expect(await barriers()).toEqual([]);
    await page.emulateMedia({ reducedMotion: "reduce" });
    const moving = await page.evaluate(() => document.getAnimations().length);
    expect(moving).toBe(0);
    await page.getByRole("button", { name: "End comparison" }).click();
  });

  it("fits a window of 360 pixels, in every view", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    const tooWide = (): Promise<string[]> =>
      page.evaluate(() =>
        document.documentElement.scrollWidth <= innerWidth
          ? []
          : [...document.querySelectorAll("body *")]
              .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
              .map((element) => element.outerHTML.slice(0, 80)),
      );
    await page.locator(".advanced > summary").click();
    expect(await tooWide()).toEqual([]);
    for (const name of dialogs) {
      await page.getByRole("button", { name }).click();
      const box = (await page.locator("dialog[open]").boundingBox())!;
      expect(box.x >= 0 && box.x + box.width <= 360).toBe(true);
      expect(
        await page.locator("dialog[open]").evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth),
      ).toBe(0);
      await press("Escape");
    }
    expect(await barriers()).toEqual([]);
  });

  it("is a plain page that says what to do where there is no WebGPU", async () => {
    const other = await visit(site, { flags: CHROMIUM_FLAGS.filter((flag) => flag !== "--enable-unsafe-webgpu") });
    try {
      await other.page.locator(".unsupported h1").waitFor();
      expect(await other.page.locator(".unsupported").innerText()).toContain("hardware acceleration");
      expect(await barriers(other.page)).toEqual([]);
      expect(other.wrongs).toEqual([]);
    } finally {
      await other.close();
    }
  });
});
