/** What the last run of the matrix's tests and of the mutations gave: kept beside them, and shown in docs/faults.md. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Mutation } from "./mutations.ts";

export interface Results {
  /** By file and title: when it ran, and how many tests of that title passed and failed. */
  tests: Record<string, { date: string; passed: number; failed: number }>;
  /** By row and guard: when it ran, and how many tests failed without the guard. */
  mutations: Record<string, { date: string; failed: number }>;
}

const FILE = fileURLToPath(new URL("../../tests/faults/results.json", import.meta.url));

export const testKey = ([file, title]: readonly [string, string]): string => `${file}: ${title}`;
export const mutationKey = ({ id, without }: Mutation): string => `${id}: ${without}`;
export const today = (): string => new Date().toISOString().slice(0, 10);

export function readResults(): Results {
  if (!existsSync(FILE)) return { tests: {}, mutations: {} };
  return JSON.parse(readFileSync(FILE, "utf8")) as Results;
}

/** Keeps what `keep` names, in its order. */
export function writeResults({ tests, mutations }: Results, keep: { tests: string[]; mutations: string[] }): void {
  const pick = <T>(from: Record<string, T>, keys: string[]): Record<string, T> =>
    Object.fromEntries([...new Set(keys)].flatMap((key) => (from[key] ? [[key, from[key]]] : [])));
  const kept: Results = { tests: pick(tests, keep.tests), mutations: pick(mutations, keep.mutations) };
  writeFileSync(FILE, `${JSON.stringify(kept, null, 2)}\n`);
}
