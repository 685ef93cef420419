/** The built page on a server of its own, for tests and screenshots. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, preview, type InlineConfig, type Plugin } from "vite";
import config from "../../vite.config.ts";
import { site } from "./plugin.ts";

export interface Host {
  /** Ends in a slash. */
  readonly url: string;
  /** Where the site was built. */
  readonly folder: string;
  close(): Promise<void>;
}

export interface HostOptions {
  /** Default: any that is free. */
  port?: number;
  /** Milliseconds to wait before a path is answered. */
  delay?: (path: string) => number;
}

/** Builds the site into a temporary folder, shipped models and all, and serves it as `npm run preview` does. */
export async function hostSite({ port = 0, delay }: HostOptions = {}): Promise<Host> {
  const temporary = await mkdtemp(join(tmpdir(), "scanvas-site-"));
  const folder = join(temporary, "site");
  const inline: InlineConfig = {
    ...config,
    configFile: false,
    logLevel: "error",
    // Two builds at a time must not write the same files.
    plugins: [site({ cache: join(temporary, "models") }), ...(delay ? [late(delay)] : [])],
    build: { ...config.build, outDir: folder, emptyOutDir: true },
  };
  await buildForProduction(inline);
  const server = await preview({ ...inline, preview: { host: "127.0.0.1", port } });
  return {
    url: server.resolvedUrls!.local[0]!,
    folder,
    async close() {
      await server.close();
      await rm(temporary, { recursive: true, force: true });
    },
  };
}

/** A test runner's own NODE_ENV would make Vite leave out what only a site that is served has, such as its service worker. */
async function buildForProduction(inline: InlineConfig): Promise<void> {
  const before = process.env.NODE_ENV;
  process.env.NODE_ENV = "production";
  try {
    await build(inline);
  } finally {
    if (before === undefined) delete process.env.NODE_ENV;
    else process.env.NODE_ENV = before;
  }
}

const late = (delay: (path: string) => number): Plugin => ({
  name: "scanvas-late",
  configurePreviewServer(server) {
    server.middlewares.use((request, _response, next) => void setTimeout(next, delay(request.url ?? "/")));
  },
});
