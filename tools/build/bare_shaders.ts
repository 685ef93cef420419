import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

/** Shaders as strings, without their comments and indentation. */
export const bareShaders: Plugin = {
  name: "scanvas-bare-shaders",
  apply: "build",
  enforce: "pre",
  load(id) {
    if (!id.endsWith(".wgsl?raw")) return null;
    const source = readFileSync(id.slice(0, -"?raw".length), "utf8");
    return `export default ${JSON.stringify(source.replace(/[ \t]*\/\/.*$/gm, "").replace(/^\s+/gm, ""))}`;
  },
};
