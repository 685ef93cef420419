// `scanvas trace` and `scanvas generate` as a user runs them: a process that starts a real Chromium and writes files.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import type { Diagnosis } from "../../src/page/diagnosis.ts";
import { lines } from "../../tools/doctor.ts";
import { fromFile } from "../../tools/headless/wire.ts";
import { inPage, openSession } from "../../tools/headless/session.ts";
import { readSafetensors } from "../../src/weights/safetensors.ts";
import { readGolden, relativeError, type GoldenTensor } from "../model/weights.ts";
import { largestDifference, PIXART, readCases } from "../pipeline/golden.ts";
import { scratch } from "../weights/fixtures.ts";

const SCANVAS = new URL("../../tools/scanvas.mjs", import.meta.url).pathname;
const T2MD = "tests/golden/t2md";
let folder: string;
beforeAll(async () => {
  folder = await scratch();
});

/** Runs the command with a cache of its own. */
async function scanvas(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const env = { ...process.env, SCANVAS_CACHE: join(folder, "cache") };
  const child = spawn(process.execPath, [SCANVAS, ...args], { stdio: ["ignore", "pipe", "pipe"], env });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  return { code, out, err };
}

/** eps and every block's output within 1e-4, what the contract asks of one f32 forward pass. */
function expectTrace(eps: Float32Array, hidden: Float32Array, golden: (name: string) => GoldenTensor, n: number): void {
  const expected = golden(`${n}.hidden`);
  const size = expected.data.length / expected.shape[0];
  expect(hidden.length).toBe(expected.data.length);
  for (let i = 0; i < expected.shape[0]; i++) {
    const part = (data: Float32Array) => data.subarray(i * size, (i + 1) * size);
    expect(relativeError(part(hidden), part(expected.data)), `case ${n}, block ${i}`).toBeLessThan(1e-4);
  }
  expect(relativeError(eps, golden(`${n}.eps`).data), `case ${n}, eps`).toBeLessThan(1e-4);
}

describe("scanvas doctor", () => {
  it.each([
    { where: "in Node", args: [] },
    { where: "in Chromium", args: ["--browser"] },
  ])("examines every kernel and names what was chosen, $where", async ({ args }) => {
    const { code, out, err } = await scanvas("doctor", "--json", ...args);
    expect(code, err).toBe(0);
    const { device, checks, storage, advice } = JSON.parse(out) as Diagnosis;
    expect(device).toMatchObject({ isSoftware: true, tier: "software", limits: { maxBufferSize: 2 ** 30 } });
    expect(checks.length).toBeGreaterThan(150);
    expect(checks.filter(({ passed }) => !passed)).toEqual([]);
    for (const family of ["gemm", "attention", "scan", "conv", "convFew"])
      expect(checks.map(({ kernel }) => kernel)).toContain(`chosen for ${family}`);
    expect(storage === undefined).toBe(args.length === 0);
    expect(advice.join()).toMatch(/There is no GPU/);
  });

  it("puts what is wrong, what was replaced and what to do into words", () => {
    const check = { error: 1e-7, tolerance: 1e-6, passed: true };
    const device = { vendor: "v", architecture: "a", description: "d", isSoftware: false, features: ["f"], limits: {} };
    const said = lines({
      device: { ...device, tier: "basic" },
      checks: [
        { ...check, kernel: "chosen for gemm", name: "tile of tile, register wrong", reason: "register is not used" },
        { ...check, kernel: "silu", name: "odd" },
        { ...check, kernel: "silu", name: "even", passed: false, error: 0.5, reason: "y[3]: got 1, expected 2" },
      ],
      storage: undefined,
      advice: [],
    }).join("\n");
    expect(said).toContain("passed    chosen for gemm: tile of tile, register wrong; register is not used");
    expect(said).toContain("FAILED    silu: 1 of 2 cases");
    expect(said).toContain("silu, even: error 0.5, y[3]: got 1, expected 2");
    expect(said).toContain("advice    Update the graphics driver");
    expect(lines({ device: "no-adapter", checks: [], storage: undefined, advice: [] })).toEqual([
      "no pictures can be made here: no-adapter",
    ]);
  });
});

describe("scanvas trace", () => {
  it("agrees with PyTorch on case 0, as a command", async () => {
    const golden = await readGolden(`${T2MD}/case.safetensors`);
    const output = join(folder, "made", "trace.safetensors");
    const inputs = ["--inputs", `${T2MD}/case.safetensors`, "--prefix", "0."];
    const { code, out, err } = await scanvas("trace", "--model", T2MD, ...inputs, "--dtype", "f32", "--output", output);
    expect([code, out], err).toEqual([0, ""]);
    const made = await readGolden(output);
    for (const name of ["eps", "hidden"]) expect(made(name).shape).toEqual(golden(`0.${name}`).shape);
    expectTrace(made("eps").data, made("hidden").data, golden, 0);
  });

  it("agrees with PyTorch on the other cases, in one session of the same page", async () => {
    const golden = await readGolden(`${T2MD}/case.safetensors`);
    const file = new Uint8Array(readFileSync(`${T2MD}/case.safetensors`));
    const header = readSafetensors(file, "case.safetensors");
    const numbers = (base64: string) => new Float32Array(new Uint8Array(Buffer.from(base64, "base64")).buffer);
    const session = await openSession({ model: T2MD, dtype: "f32", say: () => undefined });
    try {
      for (const n of [1, 2]) {
        const input = (name: string) => fromFile(file, header, `${n}.${name}`);
        const t = golden(`${n}.t`).integers!;
        const request = { latent: input("latent"), embeds: input("embeds"), mask: input("mask"), t };
        const { eps, hidden } = await inPage(() => session.page.evaluate((r) => window.headless.trace(r), request));
        expectTrace(numbers(eps.base64), numbers(hidden.base64), golden, n);
      }
    } finally {
      await session.close();
    }
  });
});

describe("scanvas generate", () => {
  const model = ["--model", `${PIXART}/pipeline`, "--dtype", "f32"];

  it("makes diffusers' picture, keeps every tensor, and prints nothing but JSON when asked to", async () => {
    const [one] = readCases(`${PIXART}/cases.json`);
    const golden = await readGolden(`${PIXART}/case.safetensors`);
    const output = join(folder, "made", "picture.png");
    const saved = join(folder, "made", "picture.safetensors");
    const size = ["--height", String(one.height), "--width", String(one.width)];
    const sampling = ["--steps", String(one.num_inference_steps), "--guidance-scale", String(one.guidance_scale)];
    const files = ["--output", output, "--save-trace", saved];
    const seed = ["--seed", String(one.seed)];
    const run = await scanvas(
      "generate",
      ...model,
      "--prompt",
      one.prompt,
      ...size,
      ...sampling,
      ...seed,
      ...files,
      "--json",
    );
    expect([run.code, run.err]).toEqual([0, ""]);
    expect(JSON.parse(run.out)).toMatchObject({
      files: [output],
      seed: one.seed,
      truncated: { prompt: false, negativePrompt: false },
      timings: { total: expect.any(Number) as number },
      peakBytes: expect.any(Number) as number,
      adapter: { isSoftware: expect.any(Boolean) as boolean },
    });

    const trace = await readGolden(saved);
    expect(trace("ids").integers).toEqual(golden("0.ids").integers);
    expect(trace("timesteps").integers).toEqual(golden("0.timesteps").integers);
    expect(largestDifference(trace("noise").data, golden("0.noise").data), "noise").toBeLessThan(1e-6);
    const embeds = trace("prompt_embeds").data;
    const reference = golden("0.prompt_embeds");
    expect(embeds.length).toBe(golden("0.ids").integers!.length * reference.shape[2]);
    expect(relativeError(embeds, reference.data.subarray(0, embeds.length)), "embeddings").toBeLessThan(1e-4);
    const last = ({ data, shape }: GoldenTensor) => data.subarray((data.length / shape[0]) * (shape[0] - 1));
    expect(trace("latents").shape).toEqual(golden("0.latents").shape);
    expect(relativeError(last(trace("latents")), last(golden("0.latents"))), "latents").toBeLessThan(1e-3);
    expect(relativeError(trace("image").data, golden("0.image").data), "image").toBeLessThan(1e-3);

    const png = decodePng(await readFile(output));
    expect([png.width, png.height]).toEqual([one.width, one.height]);
    const pixels = png.width * png.height;
    const image = trace("image").data;
    const bytes = Array.from(image, (_, i) => png.rgba[4 * (i % pixels) + Math.floor(i / pixels)]);
    const exact = Array.from(image, (value) => value * 255);
    expect(largestDifference(bytes, exact), "bytes of the PNG").toBeLessThan(0.5001);
  });

  it("refuses a bad size in one line, and writes nothing", async () => {
    const output = join(folder, "none.png");
    const { code, out, err } = await scanvas(
      "generate",
      ...model,
      "--prompt",
      "x",
      "--height",
      "100",
      "--output",
      output,
      "--json",
    );
    expect([code, out]).toEqual([1, ""]);
    expect(err).toBe(
      "InvalidArgumentError: generate: height is 100, expected a multiple of 16 from 16 to 16384 pixels\n",
    );
    expect(existsSync(output)).toBe(false);
  });

  it("says in one line that there is no such model", async () => {
    const { code, err } = await scanvas(
      "generate",
      "--model",
      join(folder, "nowhere"),
      "--prompt",
      "x",
      "--output",
      "none.png",
    );
    expect(code).toBe(1);
    expect(err).toMatch(/^\w+Error: .*nowhere.*\n$/);
  });
});

/** A PNG of 8-bit RGB or RGBA, not interlaced, as RGBA. */
function decodePng(file: Buffer): { width: number; height: number; rgba: Uint8Array } {
  expect(file.subarray(1, 4).toString()).toBe("PNG");
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)];
  const [depth, colour] = [file[24], file[25]];
  expect([depth, file[28]]).toEqual([8, 0]);
  const channels = colour === 6 ? 4 : 3;
  const parts: Buffer[] = [];
  for (let at = 8; at < file.length; at += 12 + file.readUInt32BE(at)) {
    const body = file.subarray(at + 8, at + 8 + file.readUInt32BE(at));
    if (file.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(body);
  }
  const data = inflateSync(Buffer.concat(parts));
  const stride = width * channels;
  const rgba = new Uint8Array(4 * width * height).fill(255);
  let above: Uint8Array = new Uint8Array(stride);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)];
    const row = Uint8Array.from(data.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1)));
    for (let i = 0; i < stride; i++) {
      const left = i < channels ? 0 : row[i - channels];
      const corner = i < channels ? 0 : above[i - channels];
      row[i] += [0, left, above[i], (left + above[i]) >> 1, paeth(left, above[i], corner)][filter];
    }
    for (let x = 0; x < width; x++) rgba.set(row.subarray(x * channels, (x + 1) * channels), 4 * (y * width + x));
    above = row;
  }
  return { width, height, rgba };
}

function paeth(left: number, above: number, corner: number): number {
  const [a, b, c] = [above - corner, left - corner, left + above - 2 * corner].map(Math.abs);
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
