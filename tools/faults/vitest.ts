/** Runs test files and says how each test ended. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestRun {
  /** Under tests/. */
  file: string;
  /** "describe > it", filled in. */
  name: string;
  passed: boolean;
}

interface Report {
  testResults: { name: string; assertionResults: { ancestorTitles: string[]; title: string; status: string }[] }[];
}

/** `files` under tests/; `title`: only tests of this title, as in the source. Skipped tests are left out. */
export async function runTests(root: string, files: readonly string[], title?: string): Promise<TestRun[]> {
  const folder = mkdtempSync(join(tmpdir(), "scanvas-faults-"));
  const report = join(folder, "report.json");
  const pattern = title && ["-t", patternOf(title)];
  const args = ["run", "--reporter=json", `--outputFile=${report}`, ...(pattern || [])];
  const child = spawn(join(root, "node_modules/.bin/vitest"), [...args, ...files.map((file) => `tests/${file}`)], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  await once(child, "close");
  try {
    return readRuns(report);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What vitest's JSON reporter wrote. */
export function readRuns(report: string): TestRun[] {
  const { testResults } = JSON.parse(readFileSync(report, "utf8")) as Report;
  return testResults.flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === "passed" || status === "failed")
      .map(({ ancestorTitles, title, status }) => ({
        file: name.slice(name.lastIndexOf("/tests/") + 7),
        name: [...ancestorTitles, title].join(" > "),
        passed: status === "passed",
      })),
  );
}

/** vitest matches names joined by spaces. */
function patternOf(title: string): string {
  return title
    .split(" > ")
    .map((part) =>
      part
        .split(/(\$[\w.]+|%[sdifjo#]|\*)/)
        .map((text, i) => (i % 2 ? ".*" : text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")))
        .join(""),
    )
    .join(" ");
}
