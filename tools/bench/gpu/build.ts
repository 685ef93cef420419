/** `npm run bench:gpu`: bundles main.ts into `.cache/gpu/gpu.mjs`, which needs Node and the package `webgpu` alone. */
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../../..", import.meta.url));

await build({
  root,
  configFile: false,
  logLevel: "warn",
  publicDir: false,
  ssr: { noExternal: true, external: ["webgpu"] },
  build: {
    ssr: fileURLToPath(new URL("main.ts", import.meta.url)),
    outDir: ".cache/gpu",
    target: "node20",
    minify: false,
    rolldownOptions: { output: { entryFileNames: "gpu.mjs", codeSplitting: false } },
  },
});
console.log("built .cache/gpu/gpu.mjs; see tools/bench/gpu/README.md");
