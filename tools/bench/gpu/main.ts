/**
 * Everything about one GPU in one command of at most ten minutes, on a machine that has Node and the package `webgpu` but neither a browser
 * nor the rest of node_modules: `npm run bench:gpu` bundles this into one file (build.ts). Ceilings, the trial, the large kernels, one
 * step of the full-size denoiser in f32, f16 and on subgroup matrices, hybrid and attention, and PyTorch beside it. Every part is
 * written as soon as it is there.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { create, globals } from "webgpu";
import { Gpu } from "../../../src/gpu/device.ts";
import type { KernelVariant, KernelVariants } from "../../../src/gpu/recording.ts";
import { makeTensor, type Tensor } from "../../../src/gpu/tensor.ts";
import { attentionCase } from "../../../src/kernels/attention.ref.ts";
import { canRun, randomArray, type KernelCase } from "../../../src/kernels/case.ts";
import { ceilingCopy, ceilingFma, ceilingMatrix } from "../../../src/kernels/ceiling.ts";
import { gemmCase } from "../../../src/kernels/gemm.ref.ts";
import { prepareCase } from "../../../src/kernels/run_case.ts";
import { ssdCase } from "../../../src/kernels/ssd.ref.ts";
import { chooseVariants, type Trial } from "../../../src/kernels/trial.ts";
import type { TokenMixer } from "../../../src/model/config.ts";
import { timestepEmbedding } from "../../../src/model/embeddings.ts";
import { toF16 } from "../../../src/numbers/half.ts";
import { Session } from "../../../src/session.ts";
import { build, flopsOf, seconds } from "../page/device.ts";
import { FULL_MIXERS, fullDenoiser } from "../page/full_denoiser.ts";
import { STEP, TIMESTEP } from "../page/inputs.ts";
import { median } from "../page/stats.ts";

const { values: options } = parseArgs({
  options: {
    out: { type: "string", default: "." },
    /** Seconds after which nothing new is begun. */
    budget: { type: "string", default: "540" },
    /** Pictures, width x height in pixels: 1024, 4096, 16384 and 32400 tokens. */
    sizes: { type: "string", default: "512x512,1024x1024,2048x2048,3840x2160" },
    layers: { type: "string", default: String(FULL_MIXERS.length) },
    /** Side of the token grid of the kernels' shapes. */
    side: { type: "string", default: "64" },
    heads: { type: "string", default: "16" },
    samples: { type: "string", default: "5" },
    /** torch_step.py; an empty text leaves PyTorch out. */
    torch: { type: "string", default: "tools/bench/gpu/torch_step.py" },
  },
});

const began = performance.now();
const left = (): number => Number(options.budget) - (performance.now() - began) / 1000;
const samples = Number(options.samples);
const report: Record<string, unknown> = { date: new Date().toISOString(), options };
const say = (line: string): void =>
  void process.stdout.write(`${((performance.now() - began) / 1000).toFixed(0)} s  ${line}\n`);
const speed = (rate: number): string =>
  rate >= 1e12 ? `${(rate / 1e12).toFixed(2)} TFLOP/s` : `${(rate / 1e9).toFixed(2)} GFLOP/s`;

function keep(part: string, value: unknown): void {
  report[part] = value;
  mkdirSync(options.out, { recursive: true });
  writeFileSync(join(options.out, "gpu.json"), `${JSON.stringify(report, undefined, 1)}\n`);
}

/** Runs `body` for its result; a failure is a line of the report and not the end of it. */
async function part(name: string, body: () => Promise<unknown>): Promise<void> {
  if (left() < 0) return keep(name, { skipped: `over the budget of ${options.budget} s` });
  try {
    keep(name, await body());
  } catch (error) {
    process.exitCode = 1;
    say(`${name}: ${String(error)}`);
    keep(name, { failed: String(error) });
  }
}

async function ceilings(gpu: Gpu): Promise<Record<string, number>> {
  const scale = gpu.isSoftware ? 1 / 128 : 1;
  const best = async (tensors: Tensor[], record: Parameters<typeof build>[2], work?: number): Promise<number> => {
    const { program, recording } = await build(gpu, tensors, record);
    const times: number[] = [];
    for (let i = 0; i <= samples; i++) times.push(await seconds(program));
    program.dispose();
    gpu.arena.release(tensors);
    return (work ?? flopsOf(recording)) / Math.min(...times);
  };
  const out = (): Tensor => makeTensor("out", [1]);
  const target = out();
  const threads = 2 ** 20 * scale;
  const f32 = await best([target], (rec) => ceilingFma(rec, target, threads, 1024));
  const [x, y] = [makeTensor("x", [2 ** 26 * scale]), makeTensor("y", [2 ** 26 * scale])];
  const rates: Record<string, number> = {
    f32,
    bytes: await best([x, y], (rec) => ceilingCopy(rec, x, y), 2 * x.bytes),
  };
  if (gpu.profile.f16) rates.f16 = await best([target], (rec) => ceilingFma(rec, target, threads, 1024, "f16"));
  if (gpu.profile.matrix) rates.matrix = await best([target], (rec) => ceilingMatrix(rec, target, 8192 * scale, 1024));
  for (const [name, rate] of Object.entries(rates)) {
    say(`ceiling ${name}: ${name === "bytes" ? `${(rate / 1e9).toFixed(1)} GB/s` : speed(rate)}`);
  }
  return rates;
}

/** The families' kernels at the real model's width, for side x side tokens. */
async function kernels(gpu: Gpu, rates: Record<string, number>): Promise<unknown[]> {
  const side = Number(options.side);
  const heads = Number(options.heads);
  const tokens = side * side;
  const grid = { batch: 1, height: side, width: side, order: "mamba_h", directions: 2 } as const;
  const of = (variant: KernelVariant): Record<string, KernelCase> => ({
    "gemm 1152 to 4608": gemmCase({ variant, rows: tokens, columns: 4608, depth: 1152, weights: "f16" }),
    "gemm 4608 to 1152": gemmCase({ variant, rows: tokens, columns: 1152, depth: 4608, weights: "f16" }),
    attention: attentionCase({ variant, heads, headDim: 72, queries: tokens, keys: tokens }),
    scan: ssdCase({ variant, grid, heads: Math.ceil(2.25 * heads), headDim: 64, state: 256, decay: "typical" }),
  });
  const rows: unknown[] = [];
  for (const variant of ["tile", "register", "tile_f16", "matrix"] as const) {
    for (const [name, kernelCase] of Object.entries(of(variant))) {
      if (!canRun(gpu.profile, kernelCase) || left() < 0) continue;
      const prepared = await prepareCase(gpu, kernelCase);
      const times: number[] = [];
      for (let i = 0; i <= samples; i++) times.push(await seconds(prepared.program));
      const flops = flopsOf(prepared.recording);
      prepared.release();
      const time = median(times.slice(1));
      const ceiling = rates[variant === "matrix" ? "matrix" : "f32"]!;
      rows.push({ name, variant, tokens, seconds: time, samples: times, flops, share: flops / time / ceiling });
      say(
        `${name} ${variant}, ${tokens} tokens: ${(time * 1e3).toFixed(3)} ms, ${speed(flops / time)}, ${((100 * flops) / time / ceiling).toFixed(0)} % of ceiling`,
      );
    }
  }
  return rows;
}

/** Every tensor filled with small random numbers: what the step computes does not matter, that it is finite does. */
async function randomModel(gpu: Gpu, mixers: readonly TokenMixer[]): Promise<ReturnType<typeof fullDenoiser>> {
  const made = fullDenoiser(mixers);
  await gpu.arena.allocate([...made.tensors.values()]);
  const noise = randomArray(1 << 20, 7, 0.02) as Float32Array<ArrayBuffer>;
  const half = Uint16Array.from(noise, toF16);
  for (const tensor of made.tensors.values()) {
    const source = tensor.type === "f16" ? half : noise;
    for (let at = 0; at < tensor.bytes; at += source.byteLength) {
      const count = Math.min(source.byteLength, tensor.bytes - at) / source.BYTES_PER_ELEMENT;
      gpu.write(tensor, source.subarray(0, count), at);
    }
  }
  return made;
}

interface Step {
  model: string;
  precision: string;
  tokens: number;
  /** Median of whole steps by the wall, each waited for, and every one of them. */
  seconds: number;
  samples: number[];
  flops: number;
  bytes: number;
  /** GPU seconds by kernel of one more step. */
  kernels: Record<string, number>;
}

async function steps(gpu: Gpu, profiles: Record<string, Gpu["profile"]>): Promise<Step[]> {
  const count = Number(options.layers);
  const models = { hybrid: FULL_MIXERS.slice(0, count), attention: Array<TokenMixer>(count).fill("attention") };
  const rows: Step[] = [];
  const text = randomArray(120 * 4096, 1);
  for (const [name, mixers] of Object.entries(models)) {
    const { config, tensors, model } = await randomModel(gpu, mixers);
    for (const size of options.sizes.split(",")) {
      const [width, height] = size.split("x").map(Number) as [number, number];
      const tokens = (width * height) / 256;
      for (const [precision, profile] of Object.entries(profiles)) {
        if (left() < 0) continue;
        const shape = { height, width, halves: 1, guidanceMode: "batch", textTokens: 120 } as const;
        const session = new Session(model, profile, shape);
        try {
          await session.prepare(gpu);
          await session.setText([text], undefined);
          session.start(randomArray((config.inChannels * width * height) / 64, 2) as Float32Array<ArrayBuffer>);
          const embedded = timestepEmbedding([TIMESTEP]);
          const times: number[] = [];
          for (let i = 0; i <= samples && (i < 2 || left() > 0); i++) {
            const start = performance.now();
            await session.step(STEP, embedded, 1);
            times.push((performance.now() - start) / 1000);
          }
          const timings = await session.timeStep(STEP, embedded, 1);
          const byKernel: Record<string, number> = {};
          for (const { kernel, milliseconds } of timings)
            byKernel[kernel] = (byKernel[kernel] ?? 0) + milliseconds / 1e3;
          const flops = timings.reduce((sum, timing) => sum + timing.flops, 0);
          const time = median(times.slice(1));
          const { bytes } = session;
          rows.push({ model: name, precision, tokens, seconds: time, samples: times, flops, bytes, kernels: byKernel });
          say(
            `${name}, ${count} blocks, ${tokens} tokens, ${precision}: ${(time * 1e3).toFixed(1)} ms, ${speed(flops / time)}`,
          );
        } catch (error) {
          process.exitCode = 1;
          say(`${name}, ${tokens} tokens, ${precision}: ${String(error)}`);
        } finally {
          session.dispose();
        }
        keep("steps", rows);
      }
    }
    gpu.arena.release([...tensors.values()]);
  }
  return rows;
}

/** The fastest of each family among `allowed`. */
function fastest({ results, variants }: Trial, allowed: (variant: KernelVariant) => boolean): KernelVariants {
  const choose = (family: keyof KernelVariants): KernelVariant =>
    [...results[family]].filter((one) => allowed(one.variant) && one.rate > 0).sort((a, b) => b.rate - a.rate)[0]
      ?.variant ?? variants[family];
  return {
    gemm: choose("gemm"),
    attention: choose("attention"),
    scan: choose("scan"),
    conv: choose("conv") as KernelVariants["conv"],
    convFew: variants.convFew,
  };
}

Object.assign(globalThis, globals);
// Without the toggles Dawn hides f16 on NVIDIA, and subgroup matrices everywhere.
const dawn = create(["enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model"]);
const gpu = await Gpu.request({ gpu: dawn, f16: true });
const { vendor, architecture, device, description } = gpu.info;
say(`${vendor} ${architecture} ${device} ${description}${gpu.isSoftware ? " (SOFTWARE: not GPU speed)" : ""}`);
keep("adapter", {
  vendor,
  architecture,
  device,
  description,
  software: gpu.isSoftware,
  features: [...gpu.device.features],
});
keep("matrix", gpu.profile.matrix ?? "none");

let rates: Record<string, number> = {};
await part("ceilings", async () => (rates = await ceilings(gpu)));
const halfProfile = gpu.profile;
gpu.profile = { ...halfProfile, f16: false, matrix: undefined };
const profiles: Record<string, Gpu["profile"]> = {};
await part("trial f32", async () => {
  const trial = await chooseVariants(gpu);
  profiles.f32 = gpu.profile;
  return trial;
});
if (halfProfile.f16) {
  await part("trial f16", async () => {
    gpu.profile = halfProfile;
    const trial = await chooseVariants(gpu);
    const plain = fastest(trial, (variant) => variant !== "matrix");
    profiles.f16 = { ...gpu.profile, matrix: undefined, variants: plain };
    if (gpu.profile.matrix) {
      const matrix = { ...plain, ...({ gemm: "matrix", attention: "matrix", scan: "matrix" } as const) };
      profiles.matrix = { ...gpu.profile, variants: matrix };
    }
    for (const [family, results] of Object.entries(trial.results)) {
      say(`${family}: ${results.map(({ variant, rate }) => `${variant} ${speed(rate)}`).join(", ")}`);
    }
    return trial;
  });
}
await part("kernels", () => kernels(gpu, rates));
await part("steps", () => steps(gpu, profiles));
gpu.dispose();

if (options.torch) {
  await part("torch", () => {
    const args = [
      options.torch,
      "--sizes",
      options.sizes,
      "--layers",
      options.layers,
      "--budget",
      String(Math.max(30, left())),
    ];
    const { stdout, stderr, status } = spawnSync("python3", args, {
      encoding: "utf8",
      timeout: 1000 * Math.max(60, left() + 60),
    });
    if (status !== 0) throw new Error(`${options.torch}: ${(stderr ?? "").trim().split("\n").at(-1)}`);
    const rows = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { what: string; seconds: number });
    for (const { what, seconds: time } of rows) say(`PyTorch ${what}: ${(time * 1e3).toFixed(1)} ms`);
    return Promise.resolve(rows);
  });
}
say(`written: ${join(options.out, "gpu.json")}`);
process.exit(); // Dawn would otherwise hold the process
