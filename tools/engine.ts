/** The engine's own modules in Node: their shaders are imported as text, which Vite knows how to do and Node does not. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createServer } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Imports `src/<file>`, hands it to `use`, and ends Vite again. */
export async function withEngine<Module, Result>(
  file: string,
  use: (module: Module) => Result | Promise<Result>,
): Promise<Result> {
  const vite = await createServer({
    root,
    configFile: join(root, "vite.config.ts"),
    logLevel: "error",
    appType: "custom",
    server: { middlewareMode: true, hmr: false, watch: null, ws: false },
    optimizeDeps: { noDiscovery: true },
  });
  try {
    return await use((await vite.ssrLoadModule(`/src/${file}`)) as Module);
  } finally {
    await vite.close();
  }
}
