/** Where the pages of headless runs come from: the sources, through Vite; of an installed package, what was built of them. */
import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { serveDirectory, type DirectoryServer } from "../serve.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The repository, and not the package, which comes without it and without Vite. */
export const isRepository = existsSync(join(root, "vite.config.ts"));

/** Tried first: the origin, and with it what the engine remembers of this adapter, then stays the same from run to run. */
const PORT = 5199;

/** Serves `tools/headless/page.html`, in the repository every other file too. */
export async function servePages(): Promise<DirectoryServer> {
  if (!isRepository) {
    const mounts = { "/tools/": join(root, "dist") };
    return serveDirectory(mounts, PORT).catch(() => serveDirectory(mounts));
  }
  const { createServer } = await import("vite");
  const vite = await createServer({
    root,
    configFile: join(root, "vite.config.ts"),
    logLevel: "error",
    server: {
      host: "127.0.0.1",
      port: PORT,
      hmr: false,
      watch: null,
      fs: { allow: [root, realpathSync(join(root, "node_modules"))] }, // node_modules may be a link
    },
  });
  await vite.listen();
  return { url: vite.resolvedUrls!.local[0]!, close: () => vite.close() };
}
