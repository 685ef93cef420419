/**
 * `npm run build:lib`: the package in `dist/`, as ES modules with the shaders inlined.
 *
 *     index.js element.js define.js chunk-*.js   the page's thread
 *     worker.js                                  the engine, one file: a worker has no import map
 *     types/ custom-elements.json                for compilers and editors
 *     headless.js headless/page.html             the page of `scanvas generate`, which has no Vite when it is installed
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build, type Plugin } from "vite";
import { bareShaders } from "./bare_shaders.ts";
import { declare, describeElement } from "./declarations.ts";
import { dist, root } from "./paths.ts";

/**
 * Keeps the worker's address in the form that every bundler looks for. Vite would replace it by one that only Vite understands, and
 * build a second worker beside the page's code.
 */
const SOURCE = 'new URL("./worker.ts", import.meta.url)';
const PLACE = "__SCANVAS_WORKER__";
const workerAddress: Plugin = {
  name: "scanvas-worker-address",
  enforce: "pre",
  transform(code, id) {
    if (!id.endsWith("/src/worker/client.ts")) return null;
    if (!code.includes(SOURCE)) throw new Error(`${id} no longer holds ${SOURCE}`);
    return code.replace(SOURCE, PLACE);
  },
  renderChunk: (code) => code.replace(PLACE, 'new URL("./worker.js", import.meta.url)'),
};

/** onnxruntime-web need not be installed. Vite knows that from package.json; webpack fails unless it is told to look away. */
const optionalRuntime: Plugin = {
  name: "scanvas-optional-runtime",
  generateBundle(_options, bundle) {
    for (const chunk of Object.values(bundle)) {
      if (chunk.type === "chunk")
        chunk.code = chunk.code.replace(/\bimport\((["'`]onnxruntime-web)/g, "import(/* webpackIgnore: true */ $1");
    }
  },
};

/** Bundles entries of the repository, given by the name of their output. */
async function bundle(entries: Record<string, string>, { minify }: { minify: boolean }): Promise<void> {
  const input = Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, join(root, file)]));
  await build({
    root,
    configFile: false,
    logLevel: "warn",
    publicDir: false,
    plugins: [workerAddress, bareShaders, optionalRuntime],
    build: {
      outDir: dist,
      emptyOutDir: false,
      target: "es2023",
      modulePreload: false,
      minify,
      rolldownOptions: {
        input,
        external: [/^onnxruntime-web/],
        preserveEntrySignatures: "strict",
        output: {
          entryFileNames: "[name].js",
          chunkFileNames: "chunk-[name].js",
          ...(Object.keys(entries).length === 1 && { codeSplitting: false }),
        },
      },
    },
  });
}

const html = await readFile(join(root, "tools/headless/page.html"), "utf8");

await rm(dist, { recursive: true, force: true });
await bundle(
  {
    index: "src/index.ts",
    element: "src/element/index.ts",
    define: "src/element/define.ts",
    headless: "tools/headless/page.ts",
  },
  { minify: false }, // whose bundler minifies it anyway
);
await bundle({ worker: "src/worker/worker.ts" }, { minify: true });
await mkdir(join(dist, "headless"));
await writeFile(join(dist, "headless/page.html"), html.replace("./page.ts", "../headless.js"));
await declare(["index", "element/index", "element/define"]);
describeElement();
