import js from "@eslint/js";
import tseslint from "typescript-eslint";

/**
 * Who may import whom (ARCHITECTURE.md). Arrows never turn back: each row forbids what lies above it or beside it.
 *
 *     page, element -> index -> worker/client -> worker/api (types), errors
 *     worker/worker -> worker/scheduler, pipeline, trace -> load, model_plan -> session, encode -> model, sampler, text, weights
 *     model -> kernels -> gpu -> errors
 *     everything -> numbers -> errors
 */
const layers = [
  {
    files: ["src/errors.ts", "src/worker/api.ts", "src/worker/scheduler.ts"],
    allow: ["errors", "sampler/step", "weights/manifest"], // types
  },
  { files: ["src/numbers/**"], allow: ["errors"] },
  { files: ["src/gpu/**"], allow: ["errors", "gpu"] },
  { files: ["src/kernels/**"], allow: ["errors", "gpu", "kernels"] },
  { files: ["src/model/**"], allow: ["errors", "gpu/tensor", "gpu/recording", "kernels", "model"] },
  { files: ["src/sampler/**"], allow: ["errors", "sampler"] },
  { files: ["src/text/**"], allow: ["errors", "text"] },
  { files: ["src/weights/**"], allow: ["errors", "weights"] },
  {
    files: ["src/encode/**"],
    allow: ["errors", "numbers", "gpu", "kernels/rms_norm", "model", "text", "weights", "encode"],
  },
  {
    files: ["src/worker/client.ts", "src/index.ts"],
    allow: ["errors", "worker", "sampler/step", "weights/storage", "weights/size"],
  },
  { files: ["src/element/**"], allow: ["index", "element"] },
  { files: ["src/page/**"], allow: ["index", "element", "page"] },
];

const folders = ["encode", "gpu", "kernels", "model", "sampler", "text", "weights", "worker", "element", "page"];
const rootFiles = ["index", "errors", "pipeline", "model_plan", "session", "load", "trace", "self_check"];

/** Forbids every folder and file of src that a layer does not name. */
const direction = ({ files, allow }) => ({
  files,
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [...folders, ...rootFiles]
          .filter((name) => !allow.some((allowed) => allowed === name))
          .map((name) => {
            const exceptions = allow
              .filter((allowed) => allowed.startsWith(`${name}/`))
              .map((allowed) => allowed.slice(name.length + 1));
            const except = exceptions.length > 0 ? `(?!(?:${exceptions.join("|")})\\.ts$)` : "";
            return {
              regex: `^(?:\\./|(?:\\.\\./)+)${name}${folders.includes(name) ? `/${except}` : "\\.ts$"}`,
              message: `${files[0]} may not import ${name}: see the import directions in ARCHITECTURE.md`,
            };
          }),
      },
    ],
  },
});

export default tseslint.config(
  {
    ignores: [
      "dist",
      "dist-docs",
      "site",
      "node_modules",
      "tests/golden",
      "models",
      "tools/distill",
      ".venv",
      ".cache",
      "docs",
    ],
  },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "off", // the compiler knows better
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/no-non-null-assertion": "off",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-explicit-any": "error",
      eqeqeq: "error",
    },
  },
  ...layers.map(direction),
);
