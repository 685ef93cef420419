/** What every suite writes: one JSON of this shape, and the HTML that html.ts makes of it. */
import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { ScanvasError } from "../../src/errors.ts";
import { renderHtml } from "./html.ts";
import type { Environment } from "./page/device.ts";
import { quartiles } from "./page/stats.ts";

/** Raise when a field changes its meaning; `readReport` refuses any other. */
export const SCHEMA = 1;

/** One timed thing. Seconds; `samples` come after `warmup`, in the order in which they were taken. */
export interface Row {
  group: string;
  name: string;
  warmup: number[];
  samples: number[];
  median: number;
  /** Quartiles. */
  low: number;
  high: number;
  /** Operations and least bytes of one sample. */
  flops?: number;
  bytes?: number;
  /** The least time that this device's measured ceilings allow, seconds, and the share of it that was reached (1 is the bound itself). */
  bound?: number;
  share?: number;
  /** Somebody else's work: a wrong result is theirs, and no reason to fail. */
  foreign?: boolean;
  check: Check;
}

/** What showed that the result was right; looked at after every sample. */
export interface Check {
  against: string;
  /** The largest over all samples, in the unit that `against` names. */
  error: number;
  tolerance: number;
  passed: boolean;
}

/** How many times as long `slow` takes as `fast`, pair by pair: the two alternate, so that a busy machine slows both. */
export interface Ratio {
  name: string;
  slow: string;
  fast: string;
  pairs: number[];
  median: number;
  low: number;
  high: number;
  goal?: number;
  met?: boolean;
}

/** A number that is not a time. */
export interface Fact {
  name: string;
  value: number;
  unit: string;
  goal?: { atMost: number } | { atLeast: number };
  met?: boolean;
}

/** A curve over `x`; `exponent` is the slope of the line through the logarithms. */
export interface Series {
  chart: string;
  name: string;
  x: string;
  y: string;
  points: [number, number][];
  exponent?: number;
}

export interface Report {
  schema: typeof SCHEMA;
  suite: string;
  quick: boolean;
  date: string;
  commit: string;
  options: Record<string, unknown>;
  machine: { cpu: string; cores: number; memory: number; system: string };
  environment: Environment;
  rows: Row[];
  ratios: Ratio[];
  facts: Fact[];
  series: Series[];
  notes: string[];
}

/** What a suite hands back. */
export type Results = Pick<Report, "environment" | "rows" | "ratios" | "facts" | "series" | "notes">;

/** What a suite tells meanwhile. */
export interface Progress {
  say(line: string): void;
  /** Writes what there is so far: hours of measuring survive their interruption. */
  keep(results: Results): Promise<void>;
}

export const noResults = (environment: Environment): Results => ({
  environment,
  rows: [],
  ratios: [],
  facts: [],
  series: [],
  notes: [],
});

export function row(group: string, name: string, samples: number[], check: Check, more: Partial<Row> = {}): Row {
  return { group, name, warmup: [], samples, ...quartiles(samples), ...more, check };
}

/** `slow` and `fast` hold the two sides of each pair. */
export function ratio(
  name: string,
  [slow, slowTimes]: [string, number[]],
  [fast, fastTimes]: [string, number[]],
  goal?: number,
): Ratio {
  const pairs = slowTimes.map((time, i) => time / fastTimes[i]!);
  const stats = quartiles(pairs);
  return { name, slow, fast, pairs, ...stats, ...(goal !== undefined && { goal, met: stats.median >= goal }) };
}

export function fact(name: string, value: number, unit: string, goal?: Fact["goal"]): Fact {
  if (!goal) return { name, value, unit };
  return { name, value, unit, goal, met: "atMost" in goal ? value <= goal.atMost : value >= goal.atLeast };
}

/** Writes `<suite>.json` and `<suite>.html`. */
export async function writeReport(report: Report, out: string): Promise<string[]> {
  await mkdir(out, { recursive: true });
  const files = [join(out, `${report.suite}.json`), join(out, `${report.suite}.html`)] as const;
  await writeFile(files[0], `${JSON.stringify(report, undefined, 1)}\n`);
  await writeFile(files[1], renderHtml(report));
  return [...files];
}

export async function readReport(path: string): Promise<Report> {
  const report = JSON.parse(await readFile(path, "utf8")) as Report;
  if (report.schema === SCHEMA) return report;
  throw new ScanvasError(
    "FormatError",
    `${path} has schema ${String(report.schema)}, expected ${SCHEMA}; run the suite again`,
  );
}

/** `out` is left out of the options: where a report lies is not of it. */
export function makeReport(suite: string, { out: _, ...options }: Record<string, unknown>, results: Results): Report {
  return {
    schema: SCHEMA,
    suite,
    quick: options.quick === true,
    date: new Date().toISOString(),
    commit: commit(),
    options,
    machine: {
      cpu: cpus()[0]?.model.trim() ?? "unknown",
      cores: cpus().length,
      memory: totalmem(),
      system: `${type()} ${release()}`,
    },
    ...results,
  };
}

/** The checked-out commit, with a plus when files differ from it; empty outside of a repository. */
function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") ? "+" : "");
  } catch {
    return "";
  }
}
