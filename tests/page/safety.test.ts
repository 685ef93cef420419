// What comes from outside stays text, and nothing goes out: fifty payloads through every way in, in Chromium on the built page.
import type { Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { addText } from "../../src/page/png.ts";
import { hostSite, type Host } from "../../tools/site/host.ts";
import { PAYLOADS } from "./payloads.ts";
import { drop, follow, generate, idle, pictures, QUICK, ready, tiles, visit, type Visit } from "./site.ts";

/** Pixels, steps and guidance that cost next to nothing. */
const TINY = { width: 16, height: 16, steps: 1, guidanceScale: 1, seed: 1, count: 1 };

let site: Host;
let visitor: Visit;
let page: Page;

/** A visit on which `pwned()` is noted as a wrong. */
async function guarded(options: Parameters<typeof visit>[1] = {}): Promise<Visit> {
  const visitor = await visit(site, { ...options, guarded: true });
  await ready(visitor.page);
  return visitor;
}

beforeAll(async () => {
  site = await hostSite();
  visitor = await guarded({ hash: `#${new URLSearchParams({ ...TINY, prompt: "x" } as never)}` });
  page = visitor.page;
}, 240_000);
afterAll(async () => {
  await visitor?.close();
  await site?.close();
});
afterEach(() => expect(visitor.wrongs).toEqual([]));

/** Elements and attributes that nothing here makes, and addresses that run. */
const strangers = (where: Page): Promise<string[]> =>
  where.evaluate(() => {
    const elements = "script:not([src]), iframe, object, embed, base, math, marquee, video, template, form form";
    const addresses = ["href", "src", "action", "formaction", "data"];
    const isOdd = ({ name, value }: Attr): boolean =>
      name.startsWith("on") || name === "srcdoc" || (addresses.includes(name) && /^\s*(javascript|data):/i.test(value));
    return [...document.querySelectorAll("*")]
      .filter((element) => element.matches(elements) || [...element.attributes].some(isOdd))
      .map((element) => element.outerHTML.slice(0, 200));
  });

const hash = (settings: Record<string, unknown>): string => `#${new URLSearchParams(settings as never)}`;

/** A PNG of one pixel with these texts. */
async function png(texts: Record<string, string>): Promise<Uint8Array> {
  const blank = Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
    "base64",
  );
  const file = addText(
    new Uint8Array(blank),
    Object.entries(texts).map(([keyword, text]) => ({ keyword, text })),
  );
  return new Uint8Array(await file.arrayBuffer());
}

it("counts fifty payloads, and a page without these defences runs some of them", async () => {
  expect(new Set(PAYLOADS).size).toBe(50);
  const bare = await visit(site);
  await bare.page.goto("about:blank");
  const ran = await bare.page.evaluate(async (payloads) => {
    let count = 0;
    Object.assign(window, { pwned: () => count++ });
    for (const payload of payloads) document.body.insertAdjacentHTML("beforeend", payload);
    await new Promise((resolve) => setTimeout(resolve, 500));
    return count;
  }, PAYLOADS);
  await bare.close();
  expect(ran).toBeGreaterThan(5);
});

it("shows prompts as they are: in the form, the stage, the gallery, its files and its titles", async () => {
  for (const [i, prompt] of PAYLOADS.entries()) {
    await page.locator("#prompt").fill(prompt);
    await generate(page);
    if (i % 10 === 9) await pictures(page, i + 1); // a full queue in between
  }
  expect(await strangers(page)).toEqual([]);
  const titles = await tiles(page).evaluateAll((all) => all.map((tile) => tile.getAttribute("title")));
  expect(titles.toReversed()).toEqual(PAYLOADS.map((prompt) => prompt.replace(/\r/g, "")));
  for (const at of [0, 17, 38, 49]) {
    await tiles(page).nth(at).click();
    const alt = PAYLOADS[49 - at]!;
    await expect.poll(() => page.locator("img.picture").getAttribute("alt")).toBe(alt);
    expect(await page.locator(".prompt-text").evaluate((element) => element.childElementCount)).toBe(0);
    await page.getByRole("button", { name: "View large" }).click();
    await page.keyboard.press("Escape");
  }
  await page.getByRole("button", { name: "Compare with another" }).click();
  await page.locator(".comparison").waitFor();
  const [archive] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export all" }).click(),
  ]);
  expect(archive.suggestedFilename()).toBe("scanvas-pictures.zip");
  await page.reload(); // and once more from storage
  await ready(page);
  expect(await tiles(page).count()).toBe(50);
  expect(await strangers(page)).toEqual([]);
});

it("takes links for settings only", async () => {
  for (const payload of PAYLOADS) {
    await follow(
      page,
      hash({ ...TINY, prompt: payload, negativePrompt: payload, model: payload, sampler: payload, precision: payload }),
    );
    await expect.poll(() => page.locator("#prompt").inputValue()).toBe(payload);
    await follow(page, `#${payload}`);
    await follow(page, `#prompt=x&steps=${payload}&${payload}=1`);
    await expect.poll(() => page.locator("#prompt").inputValue()).toBe("x");
  }
  expect(await page.locator("button.model").innerText()).toContain("Shapes and things");
  expect(await strangers(page)).toEqual([]);
  await follow(page, hash({ ...TINY, prompt: "x" }));
});

it("takes the texts of a picture for settings only", async () => {
  for (const [i, payload] of PAYLOADS.entries()) {
    const settings = { ...TINY, prompt: payload, negativePrompt: payload, model: payload, sampler: payload };
    const parameters = `${payload}\nNegative prompt: ${payload}\nSteps: 1, Sampler: ${payload}, Model: ${payload}, ${payload}: 1`;
    const texts: Record<string, string>[] = [
      { scanvas: JSON.stringify(settings) },
      { parameters },
      { scanvas: payload, parameters },
    ];
    const name = `${payload.replace(/[\\/\0]/g, "")}.png`;
    await drop(page, await png(texts[i % 3]!), name);
    await expect.poll(() => page.locator("#prompt").inputValue()).toBe(payload.replace(/\r/g, ""));
  }
  await drop(page, new TextEncoder().encode(PAYLOADS.join("\n")), "not-a-picture.png");
  await expect.poll(() => page.locator(".toast").innerText()).toBe("This file holds no settings");
  expect(await strangers(page)).toEqual([]);
});

describe("a host that lies", () => {
  it("shows a list of models and their words as text", async () => {
    const response = await fetch(new URL("models/models.json", site.url));
    const [card] = (await response.json()) as Record<string, unknown>[];
    const cards = PAYLOADS.map((payload, i) => ({
      ...card,
      id: i === 0 ? card!.id : payload,
      title: payload,
      about: payload,
      licence: payload,
      examples: [payload, payload],
    }));
    const other = await visit(site, { guarded: true, routes: { "**/models.json": JSON.stringify(cards) } });
    try {
      await ready(other.page);
      expect(await other.page.locator("#prompt").inputValue()).toBe(PAYLOADS[0]);
      await other.page.locator("button.model").click();
      expect(await other.page.locator(".card.model h3").allTextContents()).toEqual(PAYLOADS);
      await other.page.locator(".card.model").nth(31).getByRole("button", { name: "Use this model" }).click();
      await expect.poll(() => other.page.locator("button.model").innerText()).toContain(PAYLOADS[31]!);
      expect(await strangers(other.page)).toEqual([]);
      expect(other.wrongs).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it("cannot send the page elsewhere for a model", async () => {
    const cards = [
      { id: "x", url: "https://example.com/", title: "x", about: "", examples: ["x"], bytes: 1, size: 64 },
    ];
    const other = await visit(site, { guarded: true, routes: { "**/models.json": JSON.stringify(cards) } });
    try {
      await other.page.locator(".unsupported h1").waitFor();
      expect(other.wrongs).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it("has its manifest quoted, not run, when it is refused", async () => {
    const manifest = (await (
      await fetch(new URL("models/shapes-and-things/manifest.json", site.url))
    ).json()) as Record<string, unknown>;
    for (const payload of [0, 11, 20, 26, 31].map((i) => PAYLOADS[i]!)) {
      const bad = JSON.stringify({ ...manifest, className: payload, format: payload, licence: payload });
      const other = await visit(site, { guarded: true, hash: QUICK, routes: { "**/manifest.json": bad } });
      try {
        await ready(other.page);
        await generate(other.page);
        await other.page.locator(".failure").waitFor();
        expect(await strangers(other.page)).toEqual([]);
        expect(other.wrongs).toEqual([]);
      } finally {
        await other.close();
      }
    }
  });
});

it("enforces its policy: no markup from strings, no eval, no worker and no request elsewhere", async () => {
  const other = await guarded();
  try {
    const refused = await other.page.evaluate(async () => {
      const attempts: Record<string, () => unknown> = {
        markup: () => (document.createElement("div").innerHTML = "<b>x</b>"),
        // in a task of its own, for what the debugger evaluates may evaluate
        code: () =>
          new Promise((resolve, reject) =>
            setTimeout(() => {
              try {
                resolve((0, eval)("1"));
              } catch (error) {
                reject(error as Error);
              }
            }),
          ),
        worker: () => new Worker("https://example.com/worker.js"),
        script: () => (document.createElement("script").src = "https://example.com/x.js"),
        request: () => fetch("https://example.com/"),
      };
      const names: string[] = [];
      for (const [name, attempt] of Object.entries(attempts)) {
        try {
          await attempt();
        } catch {
          names.push(name);
        }
      }
      return names;
    });
    expect(refused).toEqual(["markup", "code", "worker", "script", "request"]);
    expect(other.wrongs.length).toBeGreaterThan(0); // and a test would have seen it
  } finally {
    await other.close();
  }
});

it("lets no word of the prompt leave, in any request of page, worker or service worker", async () => {
  const word = "zebrafinchquux";
  const other = await guarded({ hash: hash({ ...TINY, prompt: "x" }) });
  const requests: string[] = [];
  other.context.on("request", (request) =>
    requests.push(`${request.url()} ${JSON.stringify(request.headers())} ${request.postData() ?? ""}`),
  );
  try {
    await other.page.locator("#prompt").fill(`a ${word} on a tree`);
    await generate(other.page);
    await pictures(other.page, 1);
    await idle(other.page);
    await other.page.reload();
    await ready(other.page);
    expect(await tiles(other.page).first().getAttribute("title")).toContain(word);
    expect(requests.length).toBeGreaterThan(10);
    expect(requests.filter((request) => request.includes(word))).toEqual([]);
    expect(other.wrongs).toEqual([]);
  } finally {
    await other.close();
  }
});
