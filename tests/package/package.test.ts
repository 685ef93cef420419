// The packed package in the hands of its users: bundlers, an import map, a server, a compiler, a shell.
import { existsSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Browser } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../tools/convert/convert.ts";
import { serveDirectory, type DirectoryServer } from "../../tools/serve.ts";
import { scratch } from "../weights/fixtures.ts";
import { launch, makeConsumer, visit, type Consumer } from "./consumer.ts";
import { site } from "./site.ts";

let consumer: Consumer;
let browser: Browser;
let model: DirectoryServer;
let modelFolder: string;
/** The same picture, whoever makes it. */
let expected: number[];

beforeAll(async () => {
  modelFolder = await scratch();
  await convert("tests/golden/pixart/pipeline", modelFolder, { dtype: "f32" });
  [model, browser, consumer] = await Promise.all([serveDirectory(modelFolder), launch(), makeConsumer()]);
}, 600_000);
afterAll(async () => {
  await browser?.close();
  await model?.close();
  await consumer?.remove();
});

const ELEMENT = (): string =>
  `<scanvas-image model="${model.url}" prompt="a red cat" width="32" height="32" steps="2" seed="5" loading="eager" download="auto"></scanvas-image>`;
const html = (head: string): string =>
  `<!doctype html><html lang="en"><head><link rel="icon" href="data:,">${head}</head><body>${ELEMENT()}</body></html>`;

/** A picture was made by one worker, without a complaint, and it is everybody's picture. */
async function expectPicture(url: string): Promise<void> {
  const { pixels, complaints, workers } = await visit(browser, url);
  expect([complaints, workers]).toEqual([[], 1]);
  expect(pixels.length).toBe(32 * 32 * 4);
  expect(new Set(pixels).size).toBeGreaterThan(10);
  expected ??= pixels;
  expect(pixels).toEqual(expected);
}

const gzip = (file: string): number => gzipSync(readFileSync(file), { level: 9 }).length;
const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB gzip`;
const report = (line: string): void => void process.stdout.write(`${line}\n`);

interface Build {
  /** Scripts that the page's thread runs: entries and their static imports. */
  page: string[];
  /** All others: the worker and what it loads. */
  worker: string[];
  other: string[];
}

async function readBuild(folder: string, isEntry: (name: string) => boolean): Promise<Build> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const scripts = files.filter((file) => extname(file) === ".js");
  const page = new Set(scripts.filter((file) => isEntry(basename(file))));
  for (const file of page) {
    const imports = readFileSync(file, "utf8").matchAll(/(?:from|import) ?["'`](\.[^"'`]+)["'`]/g);
    for (const [, specifier] of imports) page.add(join(dirname(file), specifier!));
  }
  const worker = scripts.filter((file) => !page.has(file));
  return { page: [...page], worker, other: files.filter((file) => !scripts.includes(file)) };
}

/** Both within their budget, nothing of the model in the page, no wasm. */
function expectSizes(who: string, { page, worker, other }: Build): void {
  const sum = (files: string[]): number => files.reduce((bytes, file) => bytes + gzip(file), 0);
  report(`${who}: page ${kilobytes(sum(page))}, worker ${kilobytes(sum(worker))}`);
  expect(sum(page)).toBeLessThan(60_000);
  expect(sum(page)).toBeGreaterThan(1_000);
  expect(sum(worker)).toBeLessThan(120_000);
  expect(worker.some((file) => readFileSync(file, "utf8").includes("@compute"))).toBe(true);
  expect(other.filter((file) => /\.(wasm|wgsl|onnx)$/.test(file))).toEqual([]);
  const code = page.map((file) => readFileSync(file, "utf8")).join("\n");
  expect(code).not.toMatch(/createComputePipeline|requestAdapter|@compute/);
}

describe("the tarball", () => {
  it("holds what its package.json names, and no tests", () => {
    const { files, tarball } = consumer;
    report(`tarball: ${(tarball / 1e6).toFixed(1)} MB, ${files.length} files`);
    const manifest = JSON.parse(readFileSync(join(consumer.folder, "node_modules/scanvas/package.json"), "utf8")) as {
      exports: Record<string, string | Record<string, string>>;
      customElements: string;
      sideEffects: string[];
    };
    const named = Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === "string" ? [entry] : Object.values(entry),
    );
    for (const file of [...named, manifest.customElements, ...manifest.sideEffects, "LICENSE", "README.md"])
      expect(files, file).toContain(file.replace(/^\.\//, ""));
    expect(files.filter((file) => /^tests|\.ref\.ts$|^tools\/(distill|bench|goldens)/.test(file))).toEqual([]);
  });

  it("keeps the worker's address as bundlers look for it", () => {
    const folder = join(consumer.folder, "node_modules/scanvas/dist");
    const holders = consumer.files
      .filter((file) => /^dist\/[^/]*\.js$/.test(file))
      .filter((file) =>
        /new Worker\(new URL\("\.\/worker\.js", import\.meta\.url\), \{\s*type: "module"/.test(
          readFileSync(join(folder, "..", file), "utf8"),
        ),
      );
    expect(holders.length).toBe(1);
  });

  it("is small", async () => {
    const dist = join(consumer.folder, "node_modules/scanvas/dist");
    const build = await readBuild(dist, (name) => ["index.js", "element.js", "define.js"].includes(name));
    const worker = build.worker.filter((file) => !file.endsWith("headless.js")); // of the command line
    expectSizes("as packed", { ...build, worker });
  });

  it("describes the element for editors", () => {
    const text = readFileSync(join(consumer.folder, "node_modules/scanvas/dist/custom-elements.json"), "utf8");
    const { modules } = JSON.parse(text) as { modules: { declarations: Declaration[] }[] };
    interface Declaration {
      tagName?: string;
      [list: string]: { name: string }[] | string | undefined;
    }
    const element = modules
      .flatMap(({ declarations }) => declarations)
      .find(({ tagName }) => tagName === "scanvas-image")!;
    const names = (list: string) => ((element[list] ?? []) as { name: string }[]).map(({ name }) => name);
    expect(names("events").sort()).toEqual(["abort", "error", "generated", "progress", "step"]);
    expect(names("slots").sort()).toEqual(["poster", "progress"]);
    expect(names("attributes")).toEqual(expect.arrayContaining(["model", "prompt", "guidance-scale"]));
    expect(names("cssParts")).toContain("button");
    expect(names("cssProperties")).toContain("--scanvas-accent");
    expect(names("members")).toEqual(expect.arrayContaining(["generate", "cancel", "toBlob", "negativePrompt"]));
  });
});

describe("a Vite app", () => {
  beforeAll(async () => {
    await consumer.write("vite-app/index.html", html('<script type="module" src="./main.js"></script>'));
    await consumer.write("vite-app/main.js", 'import "scanvas/element/define";\n');
  });

  it("makes a picture while it is developed", async () => {
    await expectPicture(await consumer.serve("vite", "vite-app", "--host", "127.0.0.1", "--port", "5210"));
  });

  it("makes a picture when it is built", async () => {
    await consumer.run("vite", "build", "vite-app", "--logLevel", "error");
    await expectPicture(await consumer.serve("vite", "preview", "vite-app", "--host", "127.0.0.1", "--port", "5220"));
    expectSizes(
      "built by Vite",
      await readBuild(join(consumer.folder, "vite-app/dist"), (name) => name.startsWith("index")),
    );
  });

  it("breaks no rule of a strict Content Security Policy", async () => {
    const policy = [
      "default-src 'none'",
      "script-src 'self'",
      "worker-src 'self'",
      `connect-src 'self' ${model.url}`,
      "style-src 'self'",
      "img-src data:",
      "base-uri 'none'",
      "form-action 'none'",
    ].join("; ");
    const strict = await site(join(consumer.folder, "vite-app/dist"), { "Content-Security-Policy": policy });
    try {
      await expectPicture(strict.url);
    } finally {
      strict.close();
    }
  });
});

describe("a webpack app", () => {
  it("makes a picture", async () => {
    await consumer.write("webpack-app/main.js", 'import "scanvas/element/define";\n');
    await consumer.write("webpack-app/out/index.html", html('<script defer src="main.js"></script>'));
    await consumer.write(
      "webpack-app/build.mjs",
      `import webpack from "webpack";
      const options = { mode: "production", context: import.meta.dirname, entry: "./main.js",
        output: { path: import.meta.dirname + "/out" } };
      webpack(options, (error, stats) => {
        if (error || stats.hasErrors()) throw error ?? new Error(stats.toString("errors-only"));
      });`,
    );
    await consumer.run("node", "webpack-app/build.mjs");
    const server = await serveDirectory(join(consumer.folder, "webpack-app/out"));
    try {
      await expectPicture(server.url);
    } finally {
      await server.close();
    }
    expectSizes(
      "built by webpack",
      await readBuild(join(consumer.folder, "webpack-app/out"), (name) => name === "main.js"),
    );
  });
});

describe("a static page", () => {
  /** Served from one origin, under a policy; the package from another, as from a content delivery network. */
  async function expectFromElsewhere(policy: (dist: string) => string, worker: string): Promise<void> {
    const elsewhere = await serveDirectory(join(consumer.folder, "node_modules"));
    const dist = `${elsewhere.url}scanvas/dist/`;
    const imports = {
      scanvas: `${dist}index.js`,
      "scanvas/element": `${dist}element.js`,
      "scanvas/element/define": `${dist}define.js`,
    };
    const script = `
      import { ScanvasImage } from "scanvas/element";
      const source = new Blob(['import "${dist}worker.js";'], { type: "text/javascript" });
      ${worker}
      await import("scanvas/element/define");`;
    await consumer.write(
      "static/index.html",
      html(
        `<script nonce="one" type="importmap">${JSON.stringify({ imports })}</script>
        <script nonce="one" type="module">${script}</script>`,
      ),
    );
    const page = await site(join(consumer.folder, "static"), { "Content-Security-Policy": policy(dist) });
    try {
      await expectPicture(page.url);
    } finally {
      page.close();
      await elsewhere.close();
    }
  }

  it("takes the package from another origin, by an import map and a worker of its own", async () => {
    await expectFromElsewhere(
      (dist) =>
        `default-src 'none'; script-src 'nonce-one' ${dist}; worker-src blob: ${dist}; connect-src ${model.url}; img-src data:`,
      "ScanvasImage.loadOptions = { createWorker: () => new Worker(URL.createObjectURL(source), { type: 'module' }) };",
    );
  });

  it("works under Trusted Types, with a worker of its own", async () => {
    await expectFromElsewhere(
      () => "require-trusted-types-for 'script'; trusted-types worker",
      `const policy = trustedTypes.createPolicy("worker", { createScriptURL: (url) => url });
      const url = policy.createScriptURL(URL.createObjectURL(source));
      ScanvasImage.loadOptions = { createWorker: () => new Worker(url, { type: "module" }) };`,
    );
  });
});

describe("on a server", () => {
  it("imports without a document, and registers nothing", async () => {
    const script = `const { ScanvasImage } = await import("scanvas/element");
      await import("scanvas/element/define");
      const { load } = await import("scanvas");
      console.log(typeof ScanvasImage, typeof load, ScanvasImage.observedAttributes.length);`;
    expect(await consumer.run("node", "--input-type=module", "-e", script)).toBe("function function 14\n");
  });
});

describe("a compiler", () => {
  it.each([
    { module: "esnext", resolution: "bundler" },
    { module: "nodenext", resolution: "nodenext" },
  ])("finds the types with moduleResolution $resolution", async ({ module, resolution }) => {
    await consumer.write(
      "types/consumer.ts",
      `import { load, type Pipeline, type Progress, ScanvasError } from "scanvas";
      import { ScanvasImage, type GeneratedDetail } from "scanvas/element";
      import "scanvas/element/define";
      const element: ScanvasImage = document.createElement("scanvas-image");
      element.seed = 5;
      element.addEventListener("error", ({ detail }) => console.log(detail.error.name));
      element.addEventListener("click", (event) => event.preventDefault());
      element.addEventListener("generated", ({ detail }) => {
        const { seed, file }: GeneratedDetail = detail;
        const text: string = seed.toFixed() + file.name;
        console.log(text);
      });
      const pipeline: Pipeline = await load("/m/", { onProgress: ({ step }: Progress) => console.log(step) });
      const { images } = await pipeline.generate({ prompt: "a cat", sampler: "euler" });
      const blob: Blob = await images[0]!.toBlob();
      console.log(blob, ScanvasError);
      // @ts-expect-error: a seed is a number
      element.seed = "5";
      // @ts-expect-error: no such sampler
      await pipeline.generate({ prompt: "a cat", sampler: "none" });
      `,
    );
    const options = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2023"];
    const lib = ["--lib", "es2023,dom,dom.iterable,dom.asynciterable"];
    const how = ["--module", module, "--moduleResolution", resolution];
    expect(await consumer.run("tsc", ...options, ...lib, ...how, "types/consumer.ts")).toBe("");
  });
});

describe("a shell", () => {
  it("runs every command of the installed package", async () => {
    const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
    expect(await consumer.run("scanvas", "--version")).toBe(`${version}\n`);
    expect(await consumer.run("scanvas", "inspect", modelFolder)).toContain("PixArtAlphaPipeline");
    const shipped = "node_modules/scanvas/models/shapes-and-things";
    await consumer.run("scanvas", "convert", shipped, "--out", "public/model");
    expect(existsSync(join(consumer.folder, "public/model/manifest.json"))).toBe(true);
    const size = ["--width", "32", "--height", "32", "--steps", "2", "--seed", "5"];
    const output = join(consumer.folder, "made.png");
    const args = ["generate", "--model", modelFolder, "--prompt", "a red cat", ...size, "--output", output, "--json"];
    expect(JSON.parse(await consumer.run("scanvas", ...args))).toMatchObject({ files: [output], seed: 5 });
    expect(existsSync(output)).toBe(true);
  });
});
