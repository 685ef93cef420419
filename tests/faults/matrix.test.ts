// The matrix names tests that there are, each guard is where its mutation says, and docs/faults.md says what the matrix does.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { MATRIX, ROWS } from "../../tools/faults/matrix.ts";
import { MUTATIONS } from "../../tools/faults/mutations.ts";
import { mutationKey, readResults } from "../../tools/faults/results.ts";
import { PAGE, render } from "../../tools/faults/run.ts";
import { isOf, titlesOf } from "../../tools/faults/titles.ts";

describe("the fault matrix", () => {
  it("has every row once, in order", () => {
    expect(MATRIX.map(({ id }) => id)).toEqual(ROWS);
  });

  it("names tests that there are", () => {
    const known = new Map<string, string[]>();
    for (const { id, tests } of MATRIX) {
      for (const [file, title] of tests) {
        if (!known.has(file)) known.set(file, titlesOf(`tests/${file}`));
        expect(known.get(file), `${id}, ${file}`).toContain(title);
      }
    }
    expect(known.get("faults/matrix.test.ts") ?? titlesOf("tests/faults/matrix.test.ts")).toContain(
      "the fault matrix > names tests that there are",
    );
  });

  it("names every guard by text that is there once, and tests of its row", () => {
    for (const { id, file, from, to, test } of MUTATIONS) {
      expect(readFileSync(file, "utf8").split(from).length - 1, `${id}: ${from} in ${file}`).toBe(1);
      expect(to).not.toBe(from);
      expect(MATRIX.find((row) => row.id === id)?.tests, id).toContainEqual(test);
    }
  });

  it("has a guard for every row, without which a test of it was seen to fail", () => {
    expect(ROWS.filter((id) => !MUTATIONS.some((mutation) => mutation.id === id))).toEqual([]);
    const { mutations } = readResults();
    expect(MUTATIONS.map(mutationKey).filter((key) => !((mutations[key]?.failed ?? 0) > 0))).toEqual([]);
  });

  it("is what docs/faults.md says", async () => {
    const page = readFileSync(PAGE, "utf8");
    expect(page, "npm run faults -- --write").toBe(await render(readResults(), page));
  });

  it("knows a test by its title, placeholders filled in", () => {
    expect(isOf("a > $name, %s (x) > *", "a > cut, 3 (x) > anything")).toBe(true);
    expect(isOf("a > $name", "b > cut")).toBe(false);
    expect(isOf("a.b", "axb")).toBe(false);
  });
});
