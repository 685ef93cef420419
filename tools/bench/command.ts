/** `scanvas bench`: suites of measurements, as JSON and as a page to look at. */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Command, Option } from "commander";
import { ScanvasError } from "../../src/errors.ts";
import { isRepository } from "../headless/pages.ts";
import { withHost, type Host, type Runtime } from "./host.ts";
import { renderHtml } from "./html.ts";
import { makeReport, readReport, writeReport, type Progress, type Results } from "./report.ts";
import { denoiser } from "./suites/denoiser.ts";
import { kernels } from "./suites/kernels.ts";
import { peers } from "./suites/peers.ts";
import { pipeline } from "./suites/pipeline.ts";
import { quality } from "./suites/quality.ts";

export interface BenchOptions {
  quick?: boolean;
  runtime: Runtime;
  out: string;
  only?: string;
  model?: string;
  pixels?: string;
  blocks: "1" | "all";
  arithmetic: "f32" | "f16";
}

export type Suite = (host: Host, options: BenchOptions, progress: Progress) => Promise<Results>;

const SUITES: Record<string, { run: Suite; browserOnly?: boolean }> = {
  kernels: { run: kernels },
  denoiser: { run: denoiser },
  pipeline: { run: pipeline, browserOnly: true },
  peers: { run: peers, browserOnly: true },
  quality: { run: quality },
};

export function command(): Command {
  return new Command("bench")
    .description("measure this machine, and scanvas on it; writes <suite>.json and <suite>.html")
    .argument("<suite>", `${Object.keys(SUITES).join(", ")}, or all; or compare, with two result files`)
    .argument("[files...]", "result files to compare")
    .option("--quick", "small shapes and one sample: does everything work, not how fast is it")
    .addOption(new Option("--runtime <name>", "where").choices(["chromium", "node"]).default("chromium"))
    .option("--out <dir>", "where to write", ".cache/bench")
    .option("--only <text>", "kernels, peers: only cases whose name holds this")
    .option("--model <dir>", "denoiser, pipeline: another model than the suite's own")
    .option("--pixels <sizes>", "denoiser: sizes, as in 512,2048,3840x2160")
    .addOption(
      new Option("--blocks <n>", "denoiser: one block of each kind, or the whole model")
        .choices(["1", "all"])
        .default("1"),
    )
    .addOption(
      new Option("--arithmetic <type>", "denoiser: of activations; f16 needs shader-f16")
        .choices(["f32", "f16"])
        .default("f32"),
    )
    .action(run);
}

async function run(name: string, files: string[], options: BenchOptions): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  if (!isRepository) {
    throw new ScanvasError("InvalidArgumentError", "bench: runs in a checkout of the repository, not from the package");
  }
  if (name === "compare") return compare(files, options.out, say);
  const names = name === "all" ? Object.keys(SUITES) : [name];
  for (const suite of names) {
    if (!SUITES[suite]) {
      const known = [...Object.keys(SUITES), "all", "compare"].join(", ");
      throw new ScanvasError("InvalidArgumentError", `bench: there is no suite ${suite}; expected one of ${known}`);
    }
  }
  const wrong: string[] = [];
  for (const suite of names) {
    const { run: measure, browserOnly } = SUITES[suite]!;
    if (browserOnly && options.runtime === "node") {
      if (name === "all") continue;
      throw new ScanvasError("InvalidArgumentError", `bench: ${suite} measures a page; leave --runtime node out`);
    }
    say(`== ${suite}`);
    const write = async (some: Results) => {
      const report = makeReport(suite, { ...options }, some);
      return { report, files: await writeReport(report, resolve(options.out)) };
    };
    const results = await withHost(options.runtime, say, (host) => {
      const { vendor, architecture, description, software } = host.environment.adapter;
      say(
        `${host.environment.runtime}: ${vendor} ${architecture} ${description}${software ? " (SOFTWARE: not GPU speed)" : ""}`,
      );
      return measure(host, options, { say, keep: async (some) => void (await write(some)) });
    });
    const { report, files: written } = await write(results);
    say(written.join(", "));
    for (const { group, name: what, check, foreign } of report.rows) {
      if (!check.passed && !foreign)
        wrong.push(`${suite} ${group} ${what}: ${check.error} against ${check.against}, allowed ${check.tolerance}`);
    }
    for (const { name: what, median, goal, met } of report.ratios) {
      if (met !== undefined) say(`${met ? "met" : "NOT MET"}: ${what}: ${median.toFixed(2)}, goal ${goal}`);
    }
    for (const { name: what, value, unit, met } of report.facts) {
      if (met !== undefined) say(`${met ? "met" : "NOT MET"}: ${what}: ${value} ${unit}`);
    }
  }
  if (wrong.length > 0) throw new ScanvasError("NumericalError", `bench: wrong results: ${wrong.join("; ")}`);
}

async function compare(files: string[], out: string, say: (line: string) => void): Promise<void> {
  const [before, after, ...rest] = files;
  if (!before || !after || rest.length > 0) {
    throw new ScanvasError(
      "InvalidArgumentError",
      `bench compare: got ${files.length} files, expected two: before and after`,
    );
  }
  const [a, b] = [await readReport(before), await readReport(after)];
  if (a.suite !== b.suite) {
    throw new ScanvasError("InvalidArgumentError", `bench compare: ${a.suite} and ${b.suite} are different suites`);
  }
  const file = out.endsWith(".html") ? resolve(out) : resolve(out, `${b.suite}-compared.html`);
  await writeFile(file, renderHtml(b, a));
  say(file);
}
