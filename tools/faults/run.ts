/**
 * `npm run faults`: runs the tests that the matrix names and writes docs/faults.md. `npm run faults -- --write` only writes.
 * `npm run faults -- G1 S3`: only those rows. `npm run faults -- --report=vitest.json`: from the report of a whole run, such as `npm test` leaves.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { format, resolveConfig } from "prettier";
import { MATRIX } from "./matrix.ts";
import { MUTATIONS } from "./mutations.ts";
import { renderMatrix } from "./render.ts";
import { mutationKey, readResults, testKey, today, writeResults, type Results } from "./results.ts";
import { isOf } from "./titles.ts";
import { readRuns, runTests } from "./vitest.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const PAGE = fileURLToPath(new URL("../../docs/faults.md", import.meta.url));

/** What is kept of the page: measurements that are written by hand after the matrix. */
export function measurements(page: string): string[] {
  const at = page.indexOf("\n## Measured");
  return at < 0 ? [] : [page.slice(at + 1)];
}

export async function render(results: Results, page: string): Promise<string> {
  const options = await resolveConfig(PAGE);
  return format(renderMatrix(results, measurements(page)), { ...options, filepath: PAGE });
}

export async function save(results: Results): Promise<void> {
  writeResults(results, {
    tests: MATRIX.flatMap(({ tests }) => tests.map(testKey)),
    mutations: MUTATIONS.map(mutationKey),
  });
  writeFileSync(PAGE, await render(readResults(), readFileSync(PAGE, "utf8")));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = process.argv.slice(2).filter((one) => !one.startsWith("-"));
  const results = readResults();
  if (!process.argv.includes("--write")) {
    const tests = MATRIX.filter(({ id }) => !wanted.length || wanted.includes(id)).flatMap(({ tests }) => tests);
    const report = process.argv.find((one) => one.startsWith("--report="))?.slice("--report=".length);
    const runs = report ? readRuns(report) : await runTests(root, [...new Set(tests.map(([file]) => file))]);
    for (const test of tests) {
      const own = runs.filter(({ file, name }) => file === test[0] && isOf(test[1], name));
      const passed = own.filter((one) => one.passed).length;
      results.tests[testKey(test)] = { date: today(), passed, failed: own.length - passed };
      if (own.length === 0 || passed < own.length) {
        process.stderr.write(`${testKey(test)}: ${passed} of ${own.length} passed\n`);
        process.exitCode = 1;
      }
    }
  }
  await save(results);
}
