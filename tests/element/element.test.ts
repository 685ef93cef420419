// <scanvas-image> in a page of real Chromium, with a tiny model.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AxeResults, RunOptions } from "axe-core";
import type { Page } from "playwright";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { convert } from "../../tools/convert/convert.ts";
import { openPage } from "../../tools/headless/session.ts";
import { serveDirectory, type DirectoryServer } from "../../tools/serve.ts";
import { PAYLOADS } from "../page/payloads.ts";
import { scratch } from "../weights/fixtures.ts";

let page: Page;
let closePage: () => Promise<void>;
let folder: string;
let server: DirectoryServer;
let model: Record<string, string>;
const said: string[] = [];

/** Everything that makes a picture small. */
const SMALL = { width: "32", height: "32", steps: "2", seed: "5" };
const SLOW = { ...SMALL, steps: "500" };

beforeAll(async () => {
  folder = await scratch();
  await convert("tests/golden/pixart/pipeline", folder, { dtype: "f32" });
  server = await serveDirectory(folder);
  model = { model: server.url, loading: "eager", download: "auto" };
  ({ page, close: closePage } = await openPage("tests/element/page.html", (line) => void said.push(line)));
  await page.waitForFunction(() => "harness" in window);
}, 240_000);
afterAll(async () => {
  await closePage?.();
  await server?.close();
});
afterEach(() => page.evaluate(() => document.getElementById("stage")!.replaceChildren()));

const add = (id: string, attributes: Record<string, string>): Promise<void> =>
  page.evaluate(([id, attributes]) => window.harness.add(id, attributes), [id, attributes] as const);
const until = (id: string, type: string, before = 0) =>
  page.evaluate(([id, type, before]) => window.harness.until(id, type, before), [id, type, before] as const);
const diary = (id: string) => page.evaluate((id) => window.harness.diary(id), id);
const types = async (id: string): Promise<string[]> => (await diary(id)).map(({ type }) => type);
const pixels = (id: string) => page.evaluate((id) => window.harness.pixels(id), id);
const part = (id: string, name: string) => page.locator(`#${id} [part="${name}"]`);

it("reflects every attribute as a property, and back", async () => {
  const result = await page.evaluate(() => {
    const element = document.createElement("scanvas-image");
    const empty = {
      texts: [element.model, element.prompt, element.negativePrompt, element.sampler, element.alt, element.name],
      more: [element.promptPack, element.integrity, element.loading, element.download],
      numbers: [element.steps, element.guidanceScale, element.seed, element.width, element.height],
    };
    Object.assign(element, {
      model: "/m/",
      prompt: "a cat",
      negativePrompt: "a dog",
      steps: 3,
      guidanceScale: 2.5,
      seed: 7,
      width: 64,
      height: 32,
      sampler: "euler",
      loading: "eager",
      download: "auto",
      promptPack: "/p.safetensors",
      integrity: "sha256-x",
      alt: "cat",
      name: "picture",
    });
    const set = Object.fromEntries([...element.attributes].map(({ name, value }) => [name, value]));
    const read = [element.steps, element.guidanceScale, element.loading, element.download, element.negativePrompt];
    element.seed = element.prompt = null;
    element.setAttribute("loading", "whatever");
    element.setAttribute("steps", "many");
    const odd = [element.hasAttribute("seed"), element.prompt, element.loading, element.steps];
    return { empty, set, read, odd };
  });
  expect(result).toEqual({
    empty: {
      texts: ["", "", "", "", "", ""],
      more: ["", "", "lazy", "ask"],
      numbers: [null, null, null, null, null],
    },
    set: {
      model: "/m/",
      prompt: "a cat",
      "negative-prompt": "a dog",
      steps: "3",
      "guidance-scale": "2.5",
      seed: "7",
      width: "64",
      height: "32",
      sampler: "euler",
      loading: "eager",
      download: "auto",
      "prompt-pack": "/p.safetensors",
      integrity: "sha256-x",
      alt: "cat",
      name: "picture",
    },
    read: [3, 2.5, "eager", "auto", "a dog"],
    odd: [false, "", "lazy", NaN],
  });
});

it("takes properties that were set before it was defined", async () => {
  const prompt = await page.evaluate(() => {
    const element = document.createElement("scanvas-image");
    // what an element that is upgraded late has: own properties in front of the accessors
    Object.defineProperty(element, "prompt", { value: "early", configurable: true, writable: true });
    document.body.append(element);
    const seen = element.getAttribute("prompt");
    element.remove();
    return seen;
  });
  expect(prompt).toBe("early");
});

it("makes a picture from its attributes and tells every event with its detail", async () => {
  await add("first", { ...model, ...SMALL, prompt: "a red cat" });
  const { detail } = await until("first", "generated");
  expect(detail).toEqual({
    seed: 5,
    truncated: { prompt: false, negativePrompt: false },
    timings: ["encode", "prepare", "denoise", "decode", "total"],
    width: 32,
    height: 32,
    file: ["scanvas-5.png", "image/png", true],
  });
  const entries = await diary("first");
  expect(entries.every(({ composed }) => composed)).toBe(true);
  const steps = entries.filter(({ type }) => type === "step").map((entry) => entry.detail);
  expect(steps).toEqual([
    { step: 1, total: 2 },
    { step: 2, total: 2 },
  ]);
  const stages = entries.filter(({ type }) => type === "progress").map((entry) => entry.detail.stage);
  expect([...new Set(stages)]).toEqual(["download", "encode", "compile", "denoise", "decode"]);
  expect(new Set(await pixels("first")).size).toBeGreaterThan(10);
  await expect.poll(() => types("first").then((all) => all.at(-1))).toBe("generated");
});

it("gives the picture as a Blob of a type, and as its value", async () => {
  await add("blob", { ...model, ...SMALL });
  const early = await page.evaluate(() => window.harness.ending(window.harness.element("blob").toBlob()));
  expect(early).toMatch(/^InvalidArgumentError: scanvas-image: no picture yet/);
  const late = await page.evaluate(async () => {
    const element = window.harness.element("blob");
    element.prompt = "a red cat";
    const { file } = await element.generate();
    const [png, jpeg] = [await element.toBlob(), await element.toBlob("image/jpeg")];
    return [png === file, element.value === file, jpeg.type, jpeg.size > 100];
  });
  expect(late).toEqual([true, true, "image/jpeg", true]);
});

it("refuses generate() without a prompt, a model or a document", async () => {
  const endings = await page.evaluate(async () => {
    const element = document.createElement("scanvas-image");
    const all = [await window.harness.ending(element.generate())];
    document.getElementById("stage")!.append(element);
    all.push(await window.harness.ending(element.generate()));
    element.model = "/m/";
    all.push(await window.harness.ending(element.generate()));
    return all;
  });
  const lack = (what: string) =>
    `InvalidArgumentError: scanvas-image: the element ${what}; give it one, then generate()`;
  expect(endings).toEqual([lack("is not in a document"), lack("has no model"), lack("has no prompt")]);
});

it("makes one picture of a hundred changes in one go, and the last wins", async () => {
  await add("many", { ...model, ...SMALL });
  await page.evaluate(() => {
    for (let i = 0; i < 100; i++) window.harness.element("many").prompt = `cat ${i}`;
  });
  await until("many", "generated");
  expect((await types("many")).filter((type) => type !== "progress" && type !== "step")).toEqual(["generated"]);
  await add("same", { ...model, ...SMALL, prompt: "cat 99" });
  await until("same", "generated");
  expect(await pixels("many")).toEqual(await pixels("same"));
});

it("makes few pictures of a hundred changes one after the other, and the last wins", async () => {
  let workers = 0;
  page.on("worker", () => workers++);
  await add("spread", { ...SMALL, model: `${model.model}?spread` }); // which no element has loaded
  await page.evaluate(async () => {
    for (let i = 0; i < 100; i++) {
      window.harness.element("spread").seed = i;
      window.harness.element("spread").prompt = "cat";
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  await expect
    .poll(async () => (await diary("spread")).filter(({ type }) => type === "generated").at(-1)?.detail.seed, {
      timeout: 60_000,
      interval: 1000,
    })
    .toBe(99);
  await new Promise((resolve) => setTimeout(resolve, 2000)); // others would come now
  const all = await diary("spread");
  const seeds = all.filter(({ type }) => type === "generated").map(({ detail }) => detail.seed);
  expect(seeds.length).toBeLessThan(20);
  expect(seeds.filter((seed) => seed === 99)).toEqual([99]);
  expect(workers, "models loaded").toBe(1);
  expect(all.filter(({ type }) => type === "error")).toEqual([]);
  expect(all.filter(({ type }) => type === "abort").every(({ detail }) => detail.reason === "replaced")).toBe(true);
});

it("stops by cancel() and by its button, and goes on when asked", async () => {
  await add("stop", { ...model, ...SLOW, prompt: "a red cat" });
  await until("stop", "step");
  expect(await page.evaluate(() => window.harness.element("stop").busy)).toBe(true);
  await page.evaluate(() => window.harness.element("stop").cancel());
  expect((await until("stop", "abort")).detail).toEqual({ reason: "cancelled" });
  const steps = async () => (await types("stop")).filter((type) => type === "step").length;
  const before = await steps();
  expect(await page.evaluate(() => window.harness.element("stop").busy)).toBe(false);
  expect(await part("stop", "message").textContent()).toBe("Stopped");

  await part("stop", "button").click(); // "Generate"
  await expect.poll(steps).toBeGreaterThan(before);
  const promise = page.evaluate(() => window.harness.ending(window.harness.element("stop").generate()));
  await until("stop", "abort", 1); // the one that ran was replaced
  await until("stop", "step", await steps());
  await part("stop", "button").click(); // "Stop"
  expect(await promise).toMatch(/^AbortError: /);
  const reasons = (await diary("stop")).filter(({ type }) => type === "abort").map(({ detail }) => detail.reason);
  expect(reasons).toEqual(["cancelled", "replaced", "cancelled"]);
  expect(await types("stop")).not.toContain("error");
});

it("gives up waiting for the model when it is cancelled, alone: others get it", async () => {
  await page.evaluate(() => {
    document.addEventListener("progress", (event) => {
      const element = event.target;
      if (element instanceof window.harness.ScanvasImage && element.id.startsWith("impatient")) element.cancel();
    });
  });
  const shared = { ...model, ...SMALL, model: `${server.url}?shared`, prompt: "a red cat" };
  await add("impatient", shared);
  await add("patient", shared);
  expect((await until("impatient", "abort")).detail).toEqual({ reason: "cancelled" });
  expect(
    (await diary("impatient")).filter(({ type }) => type === "progress").map(({ detail }) => detail.stage),
  ).toEqual(["download"]);
  await until("patient", "generated");

  const before = page.workers().length;
  await add("impatient-alone", { ...shared, model: `${server.url}?alone` });
  await until("impatient-alone", "abort");
  await expect.poll(() => page.workers().length).toBe(before); // nobody waits: its worker has ended
  expect(await types("impatient-alone")).not.toContain("error");
});

it("gives up when it is removed while it generates, and begins again where it is put back", async () => {
  await add("moved", { ...model, ...SLOW, prompt: "a red cat" });
  await until("moved", "step");
  const reason = await page.evaluate(async () => {
    const element = window.harness.element("moved");
    const told = new Promise<string>((resolve) =>
      element.addEventListener("abort", (event) => resolve(event.detail.reason), {
        once: true,
      }),
    );
    element.remove();
    const reason = await told;
    element.steps = 2;
    document.getElementById("stage")!.append(element);
    return reason;
  });
  expect(reason).toBe("removed");
  await until("moved", "generated");
  // one that is finished keeps its picture when it is moved
  const count = (await diary("moved")).length;
  await page.evaluate(async () => {
    const element = window.harness.element("moved");
    element.remove();
    document.getElementById("stage")!.append(element);
    await new Promise((resolve) => setTimeout(resolve, 300));
  });
  expect((await diary("moved")).length).toBe(count);
  expect(new Set(await pixels("moved")).size).toBeGreaterThan(10);
});

it("shares one engine between elements, and ends it a while after the last one", async () => {
  await expect.poll(() => page.workers().length, { timeout: 20_000 }).toBe(0);
  await add("one", { ...model, ...SMALL, prompt: "a red cat" });
  await add("two", { ...model, ...SMALL, prompt: "a blue cat" });
  await Promise.all([until("one", "generated"), until("two", "generated")]);
  expect(page.workers().length).toBe(1);
  expect(await pixels("one")).not.toEqual(await pixels("two"));
  await page.evaluate(() => window.harness.element("one").remove());
  await page.waitForTimeout(4_000); // longer than an engine waits
  expect(page.workers().length).toBe(1);
  await page.evaluate(() => window.harness.element("two").remove());
  await expect.poll(() => page.workers().length, { timeout: 20_000 }).toBe(0);
});

it("sends the picture with its form, and forgets it on reset", async () => {
  await page.evaluate(() => {
    const form = document.createElement("form");
    form.id = "form";
    document.getElementById("stage")!.append(form);
  });
  await page.evaluate(
    ([attributes]) => window.harness.add("field", attributes, "form"),
    [{ ...model, ...SMALL, prompt: "a red cat", name: "picture" }],
  );
  await until("field", "generated");
  const sent = await page.evaluate(async () => {
    const form = document.getElementById("form") as HTMLFormElement;
    const file = new FormData(form).get("picture") as File;
    const bitmap = await createImageBitmap(file);
    const ofForm = window.harness.element("field").form === form;
    form.reset();
    return [file.name, file.type, bitmap.width, bitmap.height, ofForm, new FormData(form).has("picture")];
  });
  expect(sent).toEqual(["scanvas-5.png", "image/png", 32, 32, true, false]);
  expect(await part("field", "image").isVisible()).toBe(false);
  expect(await part("field", "button").textContent()).toBe("Generate");
});

it("waits until it is in view when it is lazy", async () => {
  await page.evaluate(() => {
    const space = document.createElement("div");
    space.style.height = "5000px";
    document.getElementById("stage")!.append(space);
  });
  await add("lazy", { ...model, ...SMALL, prompt: "a red cat", loading: "lazy" });
  await page.waitForTimeout(500);
  expect(await diary("lazy")).toEqual([]);
  await page.evaluate(() => window.harness.element("lazy").scrollIntoView());
  await until("lazy", "generated");
});

it("begins at once when lazy becomes eager", async () => {
  await page.evaluate(() => {
    const space = document.createElement("div");
    space.style.height = "5000px";
    document.getElementById("stage")!.append(space);
    scrollTo(0, 0);
  });
  await add("hurried", { ...model, ...SMALL, prompt: "a red cat", loading: "lazy" });
  await page.waitForTimeout(100);
  await page.evaluate(() => (window.harness.element("hurried").loading = "eager"));
  await until("hurried", "generated");
});

/** As on a first visit: no worker, nothing stored. */
async function forgetEverything(): Promise<void> {
  await page.evaluate(() => document.getElementById("stage")!.replaceChildren());
  await expect.poll(() => page.workers().length, { timeout: 20_000 }).toBe(0);
  await page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    for await (const name of root.keys()) await root.removeEntry(name, { recursive: true });
  });
}

it("asks before a large download, by mouse or keyboard, once for all elements of a model", async () => {
  await forgetEverything();
  const half = await scratch();
  await convert("tests/golden/pixart/pipeline", half, { dtype: "f16" });
  const fresh = await serveDirectory(half);
  try {
    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    const ask = { ...SMALL, model: fresh.url, loading: "eager", prompt: "a red cat" };
    await add("ask", ask);
    await add("too", { ...ask, seed: "6" });
    const button = part("ask", "button");
    await button.waitFor();
    await part("too", "button").waitFor();
    expect(await button.textContent()).toMatch(/^Download \d+(\.\d)? MB and generate$/);
    const files = requests.filter((url) => url.startsWith(fresh.url)).map((url) => url.slice(fresh.url.length));
    expect([...new Set(files)]).toEqual(["manifest.json"]);
    expect(await diary("ask")).toEqual([]);
    await button.focus();
    await page.keyboard.press("Enter");
    await Promise.all([until("ask", "generated"), until("too", "generated")]);

    await page.evaluate(() => document.getElementById("stage")!.replaceChildren());
    await expect.poll(() => page.workers().length, { timeout: 20_000 }).toBe(0);
    await add("again", ask); // it is on this device now
    await until("again", "generated");
  } finally {
    await fresh.close();
  }
});

it("says what is wrong, offers another try, and recovers", async () => {
  await add("missing", { ...model, ...SMALL, model: `${server.url}nowhere/`, prompt: "a red cat" });
  const { detail } = await until("missing", "error");
  expect(detail.name).toBe("NetworkError");
  expect(await part("missing", "message").textContent()).toBe(detail.message);
  await part("missing", "button").click(); // "Try again"
  await until("missing", "error", 1);
  await page.evaluate((url) => (window.harness.element("missing").model = url), server.url);
  await until("missing", "generated");
  expect(await part("missing", "message").isVisible()).toBe(false);

  await add("odd", { ...model, ...SMALL, width: "many", prompt: "a red cat" });
  expect((await until("odd", "error")).detail).toMatchObject({
    name: "InvalidArgumentError",
    message: expect.stringContaining("width is NaN") as string,
  });
  await add("address", { ...model, ...SMALL, model: "http://", prompt: "a red cat" });
  expect((await until("address", "error")).detail.name).toBe("InvalidArgumentError");
});

it("takes the model that its integrity names, and no other", async () => {
  const manifest = await readFile(join(folder, "manifest.json"));
  const integrity = `sha256-${createHash("sha256").update(manifest).digest("base64")}`;
  await add("pinned", { ...model, ...SMALL, prompt: "a red cat", integrity });
  await until("pinned", "generated");
  for (const [i, name] of ["ask", "auto"].entries()) {
    const integrity = `sha256-${createHash("sha256").update("other").digest("base64")}`;
    await add(`other${i}`, { ...model, ...SMALL, prompt: "a red cat", integrity, download: name });
    expect((await until(`other${i}`, "error")).detail.name).toBe("IntegrityError");
  }
  await add("nonsense", { ...model, ...SMALL, prompt: "a red cat", integrity: "md5-x" });
  expect((await until("nonsense", "error")).detail).toMatchObject({
    name: "InvalidArgumentError",
    message: 'integrity is "md5-x", expected "sha256-<base64>" or 64 hex digits',
  });
});

it("takes a prompt pack in place of the text encoder, which is then not downloaded", async () => {
  await add("encoded", { ...model, ...SMALL, prompt: "a red cat" });
  await until("encoded", "generated");
  const expected = await pixels("encoded");
  const pack = await page.evaluate((url) => window.harness.embed(url, ["A red cat", ""]), server.url);
  const folder = await scratch();
  await convert("tests/golden/pixart/pipeline", folder, { dtype: "f32" });
  await writeFile(join(folder, "pack.safetensors"), Uint8Array.from(pack));
  await forgetEverything();
  const fresh = await serveDirectory(folder);
  try {
    const requests: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    const packed = { ...SMALL, model: fresh.url, "prompt-pack": `${fresh.url}pack.safetensors`, loading: "eager" };
    const megabytes = async (id: string): Promise<number> =>
      Number(/[\d.]+/.exec((await part(id, "button").textContent())!)![0]);
    await add("whole", { ...SMALL, model: fresh.url, prompt: "a red cat", loading: "eager" });
    await part("whole", "button").waitFor();
    await add("packed", { ...packed, prompt: "a red cat" });
    await part("packed", "button").waitFor();
    expect(await megabytes("packed")).toBeLessThan(await megabytes("whole"));
    await part("packed", "button").click();
    await until("packed", "generated");
    expect(await pixels("packed")).toEqual(expected);
    const files = requests.filter((url) => url.startsWith(fresh.url)).map((url) => url.slice(fresh.url.length));
    expect(files.filter((file) => /^(text_encoder|tokenizer)/.test(file))).toEqual([]);
    expect(files).toContain("pack.safetensors");

    await page.evaluate(() => (window.harness.element("packed").prompt = "a green dog"));
    const { detail } = await until("packed", "error");
    expect(detail.name).toBe("InvalidArgumentError");
    expect(detail.message).toMatch(/"a green dog" is not in the prompt pack, which has 2/);
  } finally {
    await fresh.close();
  }
});

it("shows attributes as text, whatever is in them", async () => {
  await page.evaluate(() =>
    Object.assign(window, { ran: 0, pwned: () => (window as unknown as { ran: number }).ran++ }),
  );
  for (const [i, payload] of PAYLOADS.entries()) {
    const texts = { prompt: payload, "negative-prompt": payload, alt: payload, name: payload };
    const addresses = { model: payload, "prompt-pack": payload, integrity: payload };
    await add(`payload-${i}`, { ...model, ...SMALL, ...texts, ...(i % 2 ? addresses : { sampler: payload }) });
  }
  for (const i of PAYLOADS.keys()) await until(`payload-${i}`, "error");
  const seen = await page.evaluate(() =>
    [...document.querySelectorAll("#stage scanvas-image")].map((element) => ({
      label: element.shadowRoot!.querySelector("canvas")!.getAttribute("aria-label"),
      elements: element.shadowRoot!.querySelectorAll("*").length,
      inMessage: element.shadowRoot!.querySelector('[part="message"]')!.childElementCount,
      children: element.childElementCount,
    })),
  );
  const { elements } = seen[0]!;
  expect(seen).toEqual(PAYLOADS.map((label) => ({ label, elements, inMessage: 0, children: 0 })));
  expect(await page.evaluate(() => (window as unknown as { ran: number }).ran)).toBe(0);
});

it("shows the poster until there is a picture, and a progress of the page's own", async () => {
  await page.evaluate(() => {
    const [poster, progress] = [document.createElement("b"), document.createElement("i")];
    [poster.slot, progress.slot] = ["poster", "progress"];
    [poster.id, progress.id] = ["poster", "own-progress"];
    [poster.textContent, progress.textContent] = ["soon", "wait"];
    const element = document.createElement("scanvas-image");
    element.id = "slots";
    element.append(poster, progress);
    document.getElementById("stage")!.append(element);
  });
  const visible = (selector: string) => page.locator(selector).isVisible();
  expect([await visible("#poster"), await visible("#own-progress")]).toEqual([true, false]);
  await page.evaluate(
    (attributes) => {
      for (const [name, value] of Object.entries(attributes)) window.harness.element("slots").setAttribute(name, value);
    },
    { ...model, ...SLOW, prompt: "a red cat" },
  );
  await until("slots", "step");
  expect([await visible("#poster"), await visible("#own-progress")]).toEqual([true, true]);
  expect(await part("slots", "bar").isVisible()).toBe(false);
  await page.evaluate(() => (window.harness.element("slots").steps = 2));
  await until("slots", "generated");
  expect([await visible("#poster"), await visible("#own-progress")]).toEqual([false, false]);
});

/** What axe finds in the page as it is. */
async function barriers(): Promise<string[]> {
  const path = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  if (!(await page.evaluate(() => "axe" in window))) await page.addScriptTag({ path });
  return page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run(root: Element, options: RunOptions): Promise<AxeResults> } };
    const { violations } = await axe.run(document.getElementById("stage")!, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join()}`);
  });
}

it("has no barriers that axe finds, in any state", async () => {
  await add("barriers", { ...model, ...SLOW, prompt: "a red cat" });
  await until("barriers", "step");
  expect(await barriers()).toEqual([]);
  await page.evaluate(() => window.harness.element("barriers").cancel());
  expect(await barriers()).toEqual([]);
  await page.evaluate(() => (window.harness.element("barriers").width = 33));
  await until("barriers", "error");
  expect(await barriers()).toEqual([]);
  await page.evaluate(() => Object.assign(window.harness.element("barriers"), { width: 32, steps: 2 }));
  await until("barriers", "generated");
  expect(await barriers()).toEqual([]);
});

it("tells assistive technology what it shows and what it does", async () => {
  await add("access", { ...model, ...SLOW, prompt: 'a "red" <b>cat</b>' });
  await until("access", "step");
  const tree = () => page.locator("#access").ariaSnapshot();
  expect(await tree()).toContain("Drawing");
  expect(await tree()).toMatch(/progressbar "Drawing"/);
  expect(await tree()).toMatch(/button "Stop"/);
  expect(await part("access", "status").textContent()).toMatch(/^Drawing: step \d+ of 500$/);
  expect(await page.evaluate(() => window.harness.element("access").matches(":state(busy)"))).toBe(true);
  await page.evaluate(() => (window.harness.element("access").steps = 2));
  await until("access", "generated");
  expect(await tree()).toContain(String.raw`img "a \"red\" <b>cat</b>"`);
  expect(await page.evaluate(() => window.harness.element("access").matches(":state(done):not(:state(busy))"))).toBe(
    true,
  );
  await page.evaluate(() => (window.harness.element("access").alt = "a cat"));
  await expect.poll(tree).toContain('img "a cat"');
  expect(await page.evaluate(() => window.harness.part("access", "image").childElementCount)).toBe(0);
});
