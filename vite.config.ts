import { defineConfig } from "vite";
import { bareShaders } from "./tools/build/bare_shaders.ts";
import { site } from "./tools/site/plugin.ts";

export default defineConfig({
  appType: "mpa", // what is not there is a 404, never the page
  base: "./", // a page built with this package finds its worker whatever folder it is served from
  plugins: [site()],
  worker: { format: "es", plugins: () => [bareShaders] },
  build: { target: "es2023", outDir: "site", modulePreload: { polyfill: false } },
  optimizeDeps: {
    include: ["comlink", "@huggingface/tokenizers"],
    exclude: ["onnxruntime-web"], // it finds its wasm beside its own files
  },
});
