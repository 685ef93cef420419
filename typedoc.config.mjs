import { OptionDefaults } from "typedoc";

/** `npm run docs`: the API's pages in dist-docs/. A docstring that names what does not exist fails the build. */
export default {
  name: "scanvas",
  entryPoints: ["src/index.ts", "src/element/index.ts"],
  tsconfig: "tsconfig.lib.json",
  out: "dist-docs",
  readme: "README.md",
  excludePrivate: true,
  excludeProtected: true,
  excludeExternals: true,
  intentionallyNotExported: ["RawImage", "WeightStore"],
  disableSources: true,
  treatWarningsAsErrors: true,
  // what custom-elements.json is made from
  blockTags: [
    ...OptionDefaults.blockTags,
    ...["element", "attr", "fires", "slot", "csspart", "cssprop", "cssstate"].map((tag) => `@${tag}`),
  ].filter((tag, i, all) => all.indexOf(tag) === i),
};
