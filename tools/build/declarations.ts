/** What editors and compilers want to know of the package. */
import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { dist, root } from "./paths.ts";

const run = (script: string, ...args: string[]): void =>
  void execFileSync(process.execPath, [join(root, "node_modules", script), ...args], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });

/** Writes dist/types: the declarations of modules of src and of all that they name. Specifiers end in .js, as those of the code do. */
export async function declare(modules: readonly string[]): Promise<void> {
  run("typescript/bin/tsc", "-p", "tsconfig.lib.json");
  const todo = new Set(modules);
  for (const module of todo) {
    const text = await readFile(join(root, ".cache/types/lib", `${module}.d.ts`), "utf8");
    const named = /((?:from|import\(|import) ?"\.[^"]*)\.ts"/g;
    for (const [, start] of text.matchAll(named))
      todo.add(join(dirname(module), start!.slice(start!.indexOf('"') + 1)));
    const target = join(dist, "types", `${module}.d.ts`);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, text.replace(named, '$1.js"'));
  }
  await writeFile(join(dist, "types/worker.d.ts"), "export {};\n"); // a script, nothing to import
}

/** Writes dist/custom-elements.json. */
export function describeElement(): void {
  run(
    "@custom-elements-manifest/analyzer/cem.js",
    "analyze",
    "--globs",
    "src/element/*.ts",
    "--outdir",
    "dist",
    "--quiet",
  );
}
