import { defineConfig } from "vite";

export default defineConfig({
  base: "./", // a page built with this package finds its worker whatever folder it is served from
  worker: { format: "es" },
  build: { target: "es2023" },
  optimizeDeps: {
    include: ["comlink", "@huggingface/tokenizers"],
    exclude: ["onnxruntime-web"], // it finds its wasm beside its own files
  },
});
