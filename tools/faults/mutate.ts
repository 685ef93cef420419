/**
 * `npm run mutations`: in a copy of the repository, takes out one guard after the other and runs the test that is there for it, which must
 * fail. `npm run mutations -- G1 S3 "a new device"`: only those rows, and guards of which the words are part.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { MUTATIONS, type Mutation } from "./mutations.ts";
import { mutationKey, readResults, today } from "./results.ts";
import { save } from "./run.ts";
import { isOf } from "./titles.ts";
import { runTests } from "./vitest.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Tracked and new files, with the installed packages beside them. */
function copyRepository(): string {
  const copy = mkdtempSync(join(tmpdir(), "scanvas-mutations-"));
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  for (const file of listed.toString().split("\0").filter(Boolean)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    writeFileSync(join(copy, file), readFileSync(join(root, file)));
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  return copy;
}

/** How many tests of its title fail without the guard, and how many there are. */
async function fails(copy: string, { file, from, to, test }: Mutation): Promise<[failed: number, ran: number]> {
  const path = join(copy, file);
  const whole = readFileSync(path, "utf8");
  writeFileSync(
    path,
    whole.replace(from, () => to),
  );
  try {
    const runs = (await runTests(copy, [test[0]], test[1])).filter(({ name }) => isOf(test[1], name));
    return [runs.filter(({ passed }) => !passed).length, runs.length];
  } finally {
    writeFileSync(path, whole);
  }
}

const wanted = process.argv.slice(2);
const results = readResults();
const copy = copyRepository();
try {
  for (const mutation of MUTATIONS) {
    if (wanted.length && !wanted.some((word) => word === mutation.id || mutation.without.includes(word))) continue;
    const [failed, ran] = await fails(copy, mutation);
    process.stdout.write(`${mutationKey(mutation)}: ${failed} of ${ran} tests fail\n`);
    results.mutations[mutationKey(mutation)] = { date: today(), failed };
    if (failed === 0) process.exitCode = 1;
    await save(results);
  }
} finally {
  rmSync(copy, { recursive: true });
}
