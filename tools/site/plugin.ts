/**
 * The Vite plugin behind `npm run dev` and `npm run build`: gives the page the shipped models, its content security policy and, built,
 * the service worker that makes it work offline.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import type { Plugin, ResolvedConfig } from "vite";
import type { ModelCard } from "../../src/page/model_card.ts";
import { locate, send } from "../serve.ts";
import { CSP, HEADERS } from "./csp.ts";
import { convertModels } from "./models.ts";

export interface SiteOptions {
  /** Where converted models are kept between runs. Default: .cache/models of the repository. */
  cache?: string;
}

export function site({ cache }: SiteOptions = {}): Plugin {
  let config: ResolvedConfig;
  let folder: string;
  let converted: Promise<ModelCard[]> | undefined;
  /** When first asked for: other pages of this repository never do. */
  const models = (): Promise<ModelCard[]> => (converted ??= convertModels(join(config.root, "models"), folder));

  return {
    name: "scanvas-site",

    config: () => ({ preview: { headers: HEADERS } }),

    configResolved(resolved) {
      config = resolved;
      folder = cache ?? join(config.root, ".cache/models");
    },

    transformIndexHtml: (html) => html.replace("%CSP%", CSP),

    configureServer(server) {
      server.middlewares.use("/models/", (request, response, next) => {
        void models()
          .then(async (cards) => {
            if (request.url === "/models.json") return void response.end(JSON.stringify(cards));
            const path = await locate([{ prefix: "/", root: folder }], request.url ?? "/");
            if (path) await send(path, request, response);
            else response.writeHead(404).end();
          })
          .catch(next);
      });
    },

    async writeBundle({ dir }) {
      const out = dir!;
      const cards = await models();
      for (const { id } of cards) {
        await cp(join(folder, id), join(out, "models", id), {
          recursive: true,
          filter: (path) => !path.endsWith(".convert.json"),
        });
      }
      await writeFile(join(out, "models/models.json"), JSON.stringify(cards));
      await writeFile(join(out, "sw.js"), await serviceWorker(out));
    },
  };
}

/**
 * The service worker of what was built: the shell's files and a name that changes with any of them. Weights are not its matter, nor is
 * onnxruntime-web, which the page has no use for.
 */
async function serviceWorker(out: string): Promise<string> {
  const files = (await readdir(out, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(out, join(entry.parentPath, entry.name)).replaceAll("\\", "/"))
    .filter((file) => file !== "sw.js" && !file.startsWith("models/") && !/\.wasm$|\bort\b|\bonnx\b/.test(file))
    .sort();
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(await readFile(join(out, file)));
  const template = readFileSync(new URL("./service_worker.js", import.meta.url), "utf8");
  hash.update(template);
  return template
    .replace("__VERSION__", hash.digest("hex").slice(0, 12))
    .replace('"__SHELL__"', JSON.stringify(["./", "models/models.json", ...files.filter((f) => f !== "index.html")]));
}
