/**
 * `npm test`: everything, on a bare machine. Brings the browser, lavapipe and the Python environment, then runs types, lint and format, the
 * TypeScript tests (Node and Chromium) and the Python tests, and closes with one line that counts them all.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureBrowser } from "./setup/browser.ts";
import { ensureLavapipe } from "./setup/lavapipe.ts";
import { ensurePython } from "./setup/python.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const reports = mkdtempSync(join(tmpdir(), "scanvas-test-"));
const say = (line: string): void => void process.stdout.write(`${line}\n`);

let passed = 0;
let failed = 0;

/** Runs one program with its output in view; `count` reads how many tests it ran from its report. */
function stage(name: string, program: string, args: string[], count?: () => [passed: number, failed: number]): void {
  say(`\n== ${name}`);
  const { status } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  const [good, bad] = count?.() ?? [0, 0];
  passed += good + (!count && status === 0 ? 1 : 0);
  // A runner that ends badly without a failed test (a crash, no tests at all) is a failure of its own.
  failed += bad + (status !== 0 && bad === 0 ? 1 : 0) + (count && status === 0 && good === 0 ? 1 : 0);
}

ensureBrowser(say);
ensureLavapipe(say);
const python = ensurePython(root, say);
const bin = (name: string): string => join(root, "node_modules", ".bin", name);

stage("types", bin("tsc"), ["-b", "tsconfig.json"]);
stage("lint", bin("eslint"), ["."]);
stage("format", bin("prettier"), ["--check", "--log-level", "warn", "."]);
const vitest = join(reports, "vitest.json");
stage(
  "TypeScript, WebGPU, Chromium",
  bin("vitest"),
  ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${vitest}`],
  () => {
    if (!existsSync(vitest)) return [0, 0];
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(vitest, "utf8")) as Record<string, number>;
    return [numPassedTests!, numFailedTests!];
  },
);
stage("Python lint", python, ["-m", "ruff", "check", "tools/distill", "tests/python"]);
const pytest = join(reports, "pytest.xml");
stage("Python", python, ["-m", "pytest", "-q", "tools/distill", "tests/python", `--junitxml=${pytest}`], () => {
  if (!existsSync(pytest)) return [0, 0];
  const suite = /<testsuite [^>]*>/.exec(readFileSync(pytest, "utf8"))?.[0] ?? "";
  const read = (key: string): number => Number(new RegExp(`\\b${key}="(\\d+)"`).exec(suite)?.[1] ?? 0);
  const bad = read("failures") + read("errors");
  return [read("tests") - bad - read("skipped"), bad];
});

say(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
