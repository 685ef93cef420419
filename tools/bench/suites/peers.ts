/** scanvas beside what a user would pick instead: same work, same inputs, same Chromium, in turn. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromF16 } from "../../../src/numbers/half.ts";
import { parseDenoiserConfig } from "../../../src/model/config.ts";
import { positionTable } from "../../../src/model/embeddings.ts";
import { parseImageConfig } from "../../../src/model/image_config.ts";
import { parseTextConfig } from "../../../src/model/text_config.ts";
import { readSafetensors } from "../../../src/weights/safetensors.ts";
import { cacheFolder, convertedFolder } from "../../headless/session.ts";
import { serveDirectory } from "../../serve.ts";
import type { Host } from "../host.ts";
import { conditionsModel, denoiserModel, type DenoiserShape } from "../onnx/denoiser.ts";
import { imageDecoderModel } from "../onnx/image_decoder.ts";
import { kernelModel } from "../onnx/kernels.ts";
import type { ReadTensor } from "../onnx/layers.ts";
import type { ScanOperators } from "../onnx/scan.ts";
import { textEncoderModel } from "../onnx/text_encoder.ts";
import { kernelInputs, type Work } from "../page/inputs.ts";
import type { Entry } from "../page/peers.ts";
import { median } from "../page/stats.ts";
import { noResults, ratio, row, type Progress, type Results } from "../report.ts";
import { SHIPPED } from "./denoiser.ts";

export interface PeerOptions {
  quick?: boolean;
  model?: string;
  only?: string;
}

/** Not of the repository: installed when this suite runs in full. */
const PACKAGES = ["@jax-js/jax@0.1.25", "@tensorflow/tfjs-core@4.22.0", "@tensorflow/tfjs-backend-webgpu@4.22.0"];

const STEP_GOAL = 4;
/** Shorter times say nothing: /proc counts hundredths. */
const CPU_RESOLUTION = 0.1;
/** Different order of f32 sums, and other approximations of exp and tanh: an encoder agrees to 2e-6, a step to 5e-6. */
const toleranceOf = ({ kind }: Work): number => (kind === "text" || kind === "image" ? 2e-5 : 1e-4);

/** Full width (D 1152, 16 heads of 72, N 256, P 64) where a software device has the time for it, the shipped model's else. */
function works(quick: boolean, model: string): (Work & { name: string })[] {
  const step = (pixels: number) =>
    ({ kind: "step", name: `step ${pixels}x${pixels}`, model, pixels, textTokens: 16 }) as const;
  const text = (tokens: number) => ({ kind: "text", name: `text encoder, ${tokens} tokens`, model, tokens }) as const;
  const image = (pixels: number) =>
    ({ kind: "image", name: `image decoder, ${pixels}x${pixels}`, model, pixels }) as const;
  if (quick) {
    return [
      { kind: "gemm", name: "gemm 64x128x96", rows: 64, columns: 128, depth: 96 },
      { kind: "attention", name: "attention 128", queries: 128, keys: 128, heads: 2, headDim: 72 },
      { kind: "scan", name: "scan 128", tokens: 128, heads: 2, headDim: 64, state: 64 },
      { kind: "conv2d", name: "conv2d 16", size: 16, channels: 16, outputs: 16 },
      step(64),
      text(8),
      image(32),
    ];
  }
  return [
    { kind: "gemm", name: "gemm 1024x1152x1152", rows: 1024, columns: 1152, depth: 1152 },
    { kind: "gemm", name: "gemm 256x4608x1152", rows: 256, columns: 4608, depth: 1152 },
    { kind: "gemm", name: "gemm 1024x1024x1024", rows: 1024, columns: 1024, depth: 1024 },
    { kind: "attention", name: "attention 1024, 4 heads of 72", queries: 1024, keys: 1024, heads: 4, headDim: 72 },
    {
      kind: "attention",
      name: "attention 1024 on 120, 16 heads of 72",
      queries: 1024,
      keys: 120,
      heads: 16,
      headDim: 72,
    },
    { kind: "scan", name: "scan 1024, 6 heads of 64, state 256", tokens: 1024, heads: 6, headDim: 64, state: 256 },
    { kind: "scan", name: "scan 4096, 2 heads of 64, state 256", tokens: 4096, heads: 2, headDim: 64, state: 256 },
    { kind: "conv2d", name: "conv2d 64x64, 64 to 64", size: 64, channels: 64, outputs: 64 },
    step(128),
    step(256),
    text(8), // "three blue stars on a yellow background"
    text(120), // as long as a prompt may be
    image(128),
  ];
}

export async function peers(host: Host, options: PeerOptions, { say, keep }: Progress): Promise<Results> {
  const { quick = false, model = SHIPPED, only } = options;
  const results = noResults(host.environment);
  const models = await mkdtemp(join(tmpdir(), "scanvas-onnx-"));
  const converted = await convertedFolder(model, "f32", say);
  const installed = quick ? undefined : await install(say);
  const server = await serveDirectory({
    "/onnx/": models,
    "/model/": converted,
    ...(installed && { "/peers/": join(installed, "node_modules") }),
  });
  try {
    if (installed) {
      const { page } = host;
      const folder = join(installed, "node_modules/@tensorflow");
      await page!.addScriptTag({ path: join(folder, "tfjs-core/dist/tf-core.min.js") });
      await page!.addScriptTag({ path: join(folder, "tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js") });
    }
    const save = async (file: string, bytes: Uint8Array): Promise<string> => {
      await writeFile(join(models, file), bytes);
      return `${server.url}onnx/${file}`;
    };
    // onnxruntime-web's fused attention uses subgroups where the device has them, and is wrong on some devices: known before the long races.
    const probe: Work = { kind: "attention", queries: 128, keys: 128, heads: 2, headDim: 72 };
    const url = await save("probe.onnx", kernelModel(probe, kernelInputs(probe), "plain"));
    const [, probed] = await host.call(
      "race",
      probe,
      [
        { name: "scanvas", runtime: "scanvas" },
        { name: "onnxruntime-web", runtime: "onnxruntime-web", url },
      ],
      1,
    );
    const plainDevice = !(probed!.error <= toleranceOf(probe));
    if (plainDevice) {
      results.notes.push(
        `onnxruntime-web's MultiHeadAttention is wrong on a device with subgroups here (off by ${probed!.error.toFixed(2)}, relative): ` +
          "it runs on one without, except where a row says otherwise.",
      );
    }
    for (const { name, ...work } of works(quick, `${server.url}model/`)) {
      if (only && !name.includes(only)) continue;
      const entries: Entry[] = [{ name: "scanvas", runtime: "scanvas" }];
      const ort = async (what: string, bytes: Uint8Array, more: Partial<Entry> = {}): Promise<void> => {
        const file = `${name} ${what}.onnx`.replaceAll(/[ ,]+/g, "-");
        const runtime = "onnxruntime-web";
        entries.push({
          name: what ? `${runtime}, ${what}` : runtime,
          runtime,
          url: await save(file, bytes),
          plainDevice,
          ...more,
        });
      };
      const variants: ScanOperators[] = ["fused", "plain"];
      if (work.kind === "step") {
        const { shape, read, positions } = await exported(model, work.pixels, work.textTokens);
        const conditions = await save("conditions.onnx", conditionsModel(shape, read));
        for (const scan of variants)
          await ort(`${scan} scan`, denoiserModel(shape, read, positions, scan), { conditions });
      } else if (work.kind === "text") {
        const { config, read } = await openComponent(model, "text_encoder");
        await ort("", textEncoderModel(parseTextConfig(config), work.tokens, read));
      } else if (work.kind === "image") {
        const { config, read } = await openComponent(model, "vae");
        await ort("", imageDecoderModel(parseImageConfig(config), work.pixels / 8, work.pixels / 8, read));
      } else if (work.kind === "scan") {
        for (const scan of variants) await ort(`${scan}`, kernelModel(work, kernelInputs(work), scan));
      } else {
        const bytes = kernelModel(work, kernelInputs(work), "plain");
        await ort("", bytes);
        if (work.kind === "attention" && plainDevice) await ort("subgroups", bytes, { plainDevice: false });
      }
      if (installed && !("model" in work) && work.kind !== "conv2d") {
        entries.push({ name: "jax-js", runtime: "jax-js", url: `${server.url}peers/@jax-js/jax/dist/index.js` });
      }
      if (installed && (work.kind === "gemm" || work.kind === "conv2d"))
        entries.push({ name: "tfjs", runtime: "tfjs" });

      const raced = await host.call("race", work as Work, entries, quick ? 1 : 7);
      const [ours, ...others] = raced;
      const tolerance = toleranceOf(work as Work);
      const ms = (values: number[]): string => `${(1e3 * median(values)).toFixed(1)} ms`;
      const check = (error: number) => ({ against: "scanvas, relative", error, tolerance, passed: error <= tolerance });
      const right = others.filter(({ failed, error }) => failed === undefined && error <= tolerance);
      if (right.length === 0) throw new Error(`${name}: no peer agrees with scanvas: ${JSON.stringify(others)}`);
      results.rows.push(
        row(
          name,
          "scanvas",
          ours!.samples,
          { ...check(right[0]!.error), against: `${right[0]!.name}, relative` },
          { warmup: [ours!.warmup] },
        ),
      );
      say(`${name}: scanvas ${ms(ours!.samples)}`);
      const goal = quick ? undefined : work.kind === "step" ? STEP_GOAL : 1;
      for (const other of others) {
        if (other.failed !== undefined) {
          results.notes.push(`${name}: ${other.name} could not run: ${other.failed}`);
          say(`  ${other.name} could not run: ${other.failed.slice(0, 300)}`);
          continue;
        }
        const wall = ratio(name, [other.name, other.samples], ["scanvas", ours!.samples], goal);
        let line = `  ${other.name} ${ms(other.samples)}: ${wall.median.toFixed(2)} times as long, error ${other.error.toExponential(1)}`;
        results.ratios.push(wall);
        if (host.environment.adapter.software && Math.min(...ours!.cpu) > CPU_RESOLUTION) {
          const spent = ratio(`${name}, CPU seconds`, [other.name, other.cpu], ["scanvas", ours!.cpu]);
          results.ratios.push(spent);
          line += `; ${spent.median.toFixed(2)} in CPU seconds`;
        }
        if (other.error > tolerance) {
          results.notes.push(
            `${name}: ${other.name} gives a wrong result here, off by ${other.error.toExponential(1)}.`,
          );
          line += " (WRONG RESULT)";
        }
        results.rows.push(
          row(name, other.name, other.samples, check(other.error), { warmup: [other.warmup], foreign: true }),
        );
        say(line);
      }
      await keep(results);
    }
    results.notes.push(
      "Wall clock around a run that waits for its result, in one page, in turn. Each peer runs as its documentation says is best: " +
        "inputs and outputs on the GPU, weights as constants, fused operators where it has them, one jit for a whole computation. " +
        "CPU seconds are those of the GPU's process, where the device is a CPU: a peer's own JavaScript and WebAssembly are not in them.",
    );
    return results;
  } finally {
    await server.close();
    await rm(models, { recursive: true, force: true });
  }
}

async function install(say: (line: string) => void): Promise<string> {
  const folder = join(cacheFolder, "peers");
  const marker = join(folder, "installed.json");
  if (existsSync(marker) && (await readFile(marker, "utf8")) === JSON.stringify(PACKAGES)) return folder;
  say(`installing ${PACKAGES.join(", ")} in ${folder} ...`);
  await mkdir(folder, { recursive: true });
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--prefix", folder, ...PACKAGES], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await writeFile(marker, JSON.stringify(PACKAGES));
  return folder;
}

/** The config and the tensors, f32, of a component of a pipeline directory. */
async function openComponent(
  folder: string,
  component: "transformer" | "text_encoder" | "vae",
): Promise<{ config: Record<string, unknown>; read: ReadTensor }> {
  const path = join(folder, component);
  const config = JSON.parse(await readFile(join(path, "config.json"), "utf8")) as Record<string, unknown>;
  const name = component === "text_encoder" ? "model" : "diffusion_pytorch_model";
  const file = new Uint8Array(await readFile(join(path, `${name}.safetensors`)));
  const { tensors } = readSafetensors(file, path);
  const read: ReadTensor = (tensor) => {
    const info = tensors.get(tensor);
    if (!info) throw new Error(`${path} has no ${tensor}`);
    const bytes = file.slice(info.begin, info.end).buffer;
    const data = info.dtype === "F16" ? Float32Array.from(new Uint16Array(bytes), fromF16) : new Float32Array(bytes);
    return { shape: info.shape, data };
  };
  return { config, read };
}

/** The transformer of a pipeline directory, with the shape of its export. */
async function exported(
  folder: string,
  pixels: number,
  textTokens: number,
): Promise<{ shape: DenoiserShape; read: ReadTensor; positions: Float32Array }> {
  const { config: json, read } = await openComponent(folder, "transformer");
  const config = parseDenoiserConfig(json);
  const side = pixels / 8 / config.patchSize;
  const table = positionTable(config, side, side); // [side, D / 2]: rows and columns alike in a square
  const half = config.width / 2;
  const positions = new Float32Array(side * side * config.width);
  for (let token = 0; token < side * side; token++) {
    const [r, c] = [Math.floor(token / side), token % side];
    positions.set(table.subarray(c * half, (c + 1) * half), token * config.width);
    positions.set(table.subarray(r * half, (r + 1) * half), token * config.width + half);
  }
  const { width, heads, tokenMixers, inChannels, outChannels, patchSize, captionChannels, normEps, mamba } = config;
  return {
    read,
    positions,
    shape: {
      width,
      heads,
      mixers: tokenMixers,
      inChannels,
      outChannels,
      patch: patchSize,
      caption: captionChannels,
      eps: normEps,
      mamba,
      batch: 2,
      rows: side,
      columns: side,
      textTokens,
    },
  };
}
