// Every suite of `scanvas bench` in its quick form, as its users run it: real Chromium, real reports.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exponent, quartiles, relativeError } from "../../tools/bench/page/stats.ts";
import type { Report } from "../../tools/bench/report.ts";

const run = promisify(execFile);
const bench = (...args: string[]) => run("node", ["tools/scanvas.mjs", "bench", ...args]);

let out: string;
beforeAll(async () => void (out = await mkdtemp(join(tmpdir(), "scanvas-bench-"))));
afterAll(() => rm(out, { recursive: true, force: true }));

/** Runs one suite and checks what all reports have. */
async function quick(suite: string): Promise<Report> {
  const { stderr } = await bench(suite, "--quick", "--out", out);
  expect(stderr).toContain("SOFTWARE: not GPU speed");
  const report = JSON.parse(await readFile(join(out, `${suite}.json`), "utf8")) as Report;
  expect(report).toMatchObject({ schema: 1, suite, quick: true });
  expect(report.environment.adapter).toMatchObject({ architecture: "swiftshader", software: true });
  expect(report.environment.runtime).toMatch(/Chromium \d+/);
  expect(report.environment.limits.maxBufferSize).toBeGreaterThan(2 ** 27);
  expect(report.rows.length).toBeGreaterThan(0);
  for (const { name, median, check, foreign } of report.rows) {
    expect(median, name).toBeGreaterThanOrEqual(0);
    if (!foreign) expect(check.passed, `${name}: ${check.error} against ${check.against}`).toBe(true);
  }
  const html = await readFile(join(out, `${suite}.html`), "utf8");
  expect(html).toContain("Software adapter: a CPU did this work.");
  expect(html).not.toMatch(/<script|https?:\/\//); // nothing is loaded from anywhere
  return report;
}

describe("bench --quick", () => {
  it("kernels: one case of each, right, with ceilings", async () => {
    const { rows, environment } = await quick("kernels");
    expect(new Set(rows.map(({ group }) => group)).size).toBeGreaterThan(15);
    for (const { name, flops, bytes, share } of rows) {
      expect(flops, name).toBeGreaterThanOrEqual(0);
      expect(bytes, name).toBeGreaterThan(0);
      expect(share, name).toBeGreaterThan(0);
    }
    expect(environment.ceilings!.flopsPerSecond).toBeGreaterThan(1e8);
    expect(environment.ceilings!.bytesPerSecond).toBeGreaterThan(1e7);
  });

  it("denoiser: hybrid against attention, with exponents", async () => {
    const { ratios, series, facts } = await quick("denoiser");
    expect(ratios).toHaveLength(2);
    expect(series.find(({ name }) => name === "mamba_h block")!.points).toHaveLength(2);
    expect(facts.filter(({ name }) => name.startsWith("dispatches")).every(({ value }) => value <= 20)).toBe(true);
  });

  it("pipeline: the second picture compiles nothing", async () => {
    const { facts } = await quick("pipeline");
    const value = (name: string): number => facts.find((fact) => fact.name.startsWith(name))!.value;
    expect(value("pipelines compiled for the first")).toBeGreaterThan(10);
    expect(value("pipelines compiled for the second")).toBe(0);
    expect(value("shaders made for the second")).toBe(0);
    expect(value("dispatches of a step")).toBeGreaterThan(50);
    expect(value("most GPU memory")).toBeGreaterThan(10);
  });

  // Again where a peer took its page down: "Target crashed" was seen once on a busy machine.
  it(
    "peers: onnxruntime-web agrees on every kernel, a whole step, the text encoder and the image decoder",
    { retry: 1 },
    async () => {
      const { rows, ratios } = await quick("peers");
      const right = new Set(rows.filter(({ foreign, check }) => foreign && check.passed).map(({ group }) => group));
      expect(right.size).toBe(7);
      expect(right).toContain("text encoder, 8 tokens");
      expect(right).toContain("image decoder, 32x32");
      expect(ratios.length).toBeGreaterThanOrEqual(9);
    },
  );

  it("quality: PSNR against PyTorch", async () => {
    const { facts } = await quick("quality");
    const psnr = (dtype: string): number => facts.find(({ name }) => name.includes(`${dtype}: PSNR`))!.value;
    expect(psnr("f32")).toBeGreaterThan(90);
    expect(psnr("f16")).toBeGreaterThan(40);
  });
});

describe("bench compare", () => {
  const report = (suite: string, median: number): Partial<Report> => ({
    schema: 1,
    suite,
    quick: false,
    date: "2026-01-01T00:00:00Z",
    commit: "abc",
    options: {},
    machine: { cpu: "x", cores: 2, memory: 2 ** 30, system: "y" },
    environment: {
      runtime: "z",
      flags: [],
      adapter: { vendor: "", architecture: "", device: "", description: "", software: false, matrices: [] },
      features: [],
      limits: {},
      variants: { gemm: "tile", attention: "tile", scan: "tile", conv: "tile", convFew: "register" },
    },
    rows: [
      {
        group: "g",
        name: "<n>",
        warmup: [],
        samples: [median],
        median,
        low: median,
        high: median,
        check: { against: "twin", error: 0, tolerance: 0, passed: true },
      },
    ],
    ratios: [],
    facts: [],
    series: [],
    notes: [],
  });
  const write = async (name: string, value: unknown): Promise<string> => {
    const file = join(out, name);
    await writeFile(file, JSON.stringify(value));
    return file;
  };

  it("sets each time against that of the other file", async () => {
    const [a, b] = [await write("a.json", report("kernels", 0.3)), await write("b.json", report("kernels", 0.1))];
    await bench("compare", a, b, "--out", join(out, "ab.html"));
    const html = await readFile(join(out, "ab.html"), "utf8");
    expect(html).toContain("<td>&lt;n&gt;</td><td>100 ms</td>");
    expect(html).toContain("<td>300 ms</td><td>3</td>");
    expect(html).not.toContain("Software adapter");
  });

  it("refuses another suite's file, another schema, and a suite that there is not", async () => {
    const [a, b] = [await write("a.json", report("kernels", 1)), await write("b.json", report("peers", 1))];
    await expect(bench("compare", a, b)).rejects.toThrow(/kernels and peers are different suites/);
    const old = await write("old.json", { ...report("kernels", 1), schema: 0 });
    await expect(bench("compare", old, a)).rejects.toThrow(/schema 0, expected 1/);
    await expect(bench("speed")).rejects.toThrow(/there is no suite speed; expected one of kernels, /);
    await expect(bench("peers", "--runtime", "node")).rejects.toThrow(/measures a page/);
  });
});

describe("statistics", () => {
  it("finds medians and quartiles between samples", () => {
    expect(quartiles([4, 1, 3, 2])).toEqual({ median: 2.5, low: 1.75, high: 3.25 });
    expect(quartiles([7])).toEqual({ median: 7, low: 7, high: 7 });
  });

  it("finds the exponent of a power", () => {
    expect(exponent([1, 10, 100].map((x) => [x, 5 * x ** 1.5] as const))).toBeCloseTo(1.5, 10);
  });

  it("calls arrays of different lengths infinitely different", () => {
    expect(relativeError([1, 2], [1, 2])).toBe(0);
    expect(relativeError([3], [1, 2])).toBe(Infinity);
  });
});
