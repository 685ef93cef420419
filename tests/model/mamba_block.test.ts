import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { planMemory } from "../../src/gpu/plan.ts";
import { Program } from "../../src/gpu/program.ts";
import { Recording } from "../../src/gpu/recording.ts";
import { makeTensor, viewTensor, type Tensor } from "../../src/gpu/tensor.ts";
import { randomArray } from "../../src/kernels/case.ts";
import { gemm } from "../../src/kernels/gemm.ts";
import { planDenoiser, rowsOf } from "../../src/model/bands.ts";
import type { Branch } from "../../src/model/branch.ts";
import type { MambaConfig } from "../../src/model/config.ts";
import { recordMambaMixer } from "../../src/model/mamba_block.ts";
import { Weights } from "../../src/model/weights.ts";
import { decodeFloats } from "../../src/numbers/half.ts";
import { readSafetensors } from "../../src/weights/safetensors.ts";
import { testGpu } from "../kernels/gpu.ts";

const WIDTH = 72; // D of the reference model
const CONFIG: MambaConfig = {
  width: WIDTH,
  inner: 144,
  heads: 9,
  headDim: 16,
  state: 24,
  taps: 4,
  bidirectional: true,
  fusion: "concat",
};

const file = new Uint8Array(
  readFileSync(new URL("../golden/t2md/transformer/diffusion_pytorch_model.safetensors", import.meta.url)),
);
const header = readSafetensors(file);

/** A tensor of the reference model as it was saved. */
function saved(name: string): Float32Array {
  const info = header.tensors.get(name)!;
  const values = new Float32Array(info.shape.reduce((n, d) => n * d, 1));
  decodeFloats(file.subarray(info.begin, info.end), info.dtype, values);
  return values;
}

interface Mixer {
  inProj: Float32Array; // [2E + 2N + M, D]
  conv: Float32Array; // [E + 2N, K]
  convBias: Float32Array;
  dtBias: Float32Array;
  aLog: Float32Array;
  skip: Float32Array;
  norm: Float32Array;
  outProj: Float32Array; // [D, E]
  fuse: Float32Array | undefined; // [D, 2D], [D, D] for "sum", none for one direction
  fuseBias: Float32Array;
}

function mixerOf(block: number, { bidirectional, fusion }: MambaConfig): Mixer {
  const mamba = (name: string): Float32Array => saved(`transformer_blocks.${block}.mamba.${name}`);
  const concat = saved(`transformer_blocks.${block}.mamba_fuse.weight`);
  // The reference is a "concat" model; a "sum" model gets the forward half of its fuse.
  const half = concat.filter((_, i) => i % (2 * WIDTH) < WIDTH);
  return {
    inProj: mamba("in_proj.weight"),
    conv: mamba("conv1d.weight"),
    convBias: mamba("conv1d.bias"),
    dtBias: mamba("dt_bias"),
    aLog: mamba("A_log"),
    skip: mamba("D"),
    norm: mamba("norm.weight"),
    outProj: mamba("out_proj.weight"),
    fuse: !bidirectional ? undefined : fusion === "concat" ? concat : half,
    fuseBias: saved(`transformer_blocks.${block}.mamba_fuse.bias`),
  };
}

/** y = w x for one vector, w [rows, x.length] with columns from `first` of `stride`. */
function times(w: ArrayLike<number>, x: ArrayLike<number>, rows: number, first = 0, stride = x.length): number[] {
  return Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let k = 0; k < x.length; k++) sum += w[r * stride + first + k]! * x[k]!;
    return sum;
  });
}

const silu = (x: number): number => x / (1 + Math.exp(-x));

/** contract.md 2.2, `scan(u)`, position after position in f64. u: rows [D] in scan order; returns rows [D]. */
function scan(u: Float32Array[], w: Mixer, { inner, heads, headDim, state, taps }: MambaConfig): number[][] {
  const projected = u.map((row) => times(w.inProj, row, 2 * inner + 2 * state + heads));
  const h = Array.from({ length: heads }, () => new Float64Array(headDim * state));
  return projected.map((row, t) => {
    const z = row.slice(0, inner);
    const xbc = row.slice(inner, 2 * inner + 2 * state).map((_, channel) => {
      let sum = w.convBias[channel]!;
      for (let k = 0; k < taps; k++) {
        const from = projected[t - (taps - 1) + k];
        if (from) sum += w.conv[channel * taps + k]! * from[inner + channel]!;
      }
      return silu(sum);
    });
    const gated = Array.from({ length: inner }, (_, e) => {
      const m = Math.floor(e / headDim);
      const raw = row[2 * inner + 2 * state + m]! + w.dtBias[m]!;
      const dt = Math.log1p(Math.exp(raw));
      const keep = Math.exp(-dt * Math.exp(w.aLog[m]!));
      let y = w.skip[m]! * xbc[e]!;
      for (let n = 0; n < state; n++) {
        const i = (e % headDim) * state + n;
        h[m]![i] = keep * h[m]![i]! + dt * xbc[e]! * xbc[inner + n]!;
        y += h[m]![i]! * xbc[inner + state + n]!;
      }
      return y * silu(z[e]!);
    });
    const rms = Math.sqrt(gated.reduce((sum, v) => sum + v * v, 0) / inner + 1e-5);
    const normed = gated.map((v, e) => (v / rms) * w.norm[e]!);
    return times(w.outProj, normed, WIDTH);
  });
}

/** contract.md 2.2, `mixer(u)` for one picture: out_proj and fuse as two products, flips as flips, columns as a transposition. */
function mixer(
  u: Float32Array[],
  height: number,
  width: number,
  order: "mamba_h" | "mamba_w",
  w: Mixer,
  config: MambaConfig,
) {
  const flip = <T>(rows: T[]): T[] => [...rows].reverse();
  const transpose = <T>(rows: T[], from: [number, number]): T[] =>
    rows.map((_, i) => rows[(i % from[0]) * from[1] + Math.floor(i / from[0])]!);
  const ordered = order === "mamba_w" ? u : transpose(u, [height, width]);
  const forward = scan(ordered, w, config);
  const backward = config.bidirectional ? flip(scan(flip(ordered), w, config)) : [];
  const fused = forward.map((row, t) => {
    if (!w.fuse) return row.map((v, d) => v + w.fuseBias[d]!);
    const both = config.fusion === "concat" ? [...row, ...backward[t]!] : row.map((v, d) => v + backward[t]![d]!);
    return times(w.fuse, both, WIDTH).map((v, d) => v + w.fuseBias[d]!);
  });
  return order === "mamba_w" ? fused : transpose(fused, [width, height]);
}

/** fuse . out_proj in f64, as tools/convert folds it. */
function fold(w: Mixer, inner: number): Float32Array {
  if (!w.fuse) return w.outProj;
  const stride = w.fuse.length / WIDTH;
  const parts = stride / WIDTH;
  const folded = new Float32Array(WIDTH * parts * inner);
  for (let part = 0; part < parts; part++) {
    for (let e = 0; e < inner; e++) {
      const column = Array.from({ length: WIDTH }, (_, d) => w.outProj[d * inner + e]!);
      times(w.fuse, column, WIDTH, part * WIDTH, stride).forEach(
        (v, d) => (folded[(d * parts + part) * inner + e] = v),
      );
    }
  }
  return folded;
}

describe("the Mamba mixer with the reference weights", () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await testGpu();
  });
  afterAll(() => gpu.dispose());

  interface Case {
    order: "mamba_h" | "mamba_w";
    block: number;
    batch: number;
    height: number;
    width: number;
    change?: Partial<MambaConfig>;
    gemm?: "tile";
    /** Memory for one part of an activation, and the parts that this makes: of the heads, of the rows. */
    parts?: { bytes: number; groups: number; bands: number };
  }
  const cases: Case[] = [
    { order: "mamba_h", block: 1, batch: 1, height: 10, width: 26 },
    { order: "mamba_w", block: 2, batch: 2, height: 5, width: 7 },
    { order: "mamba_h", block: 3, batch: 2, height: 7, width: 5, change: { fusion: "sum" } },
    { order: "mamba_w", block: 4, batch: 1, height: 13, width: 11, change: { fusion: "sum" }, gemm: "tile" },
    { order: "mamba_h", block: 6, batch: 1, height: 9, width: 17, change: { bidirectional: false } },
    { order: "mamba_w", block: 2, batch: 1, height: 1, width: 1 },
    { order: "mamba_h", block: 1, batch: 1, height: 10, width: 26, parts: { bytes: 120_000, groups: 3, bands: 3 } },
    { order: "mamba_w", block: 2, batch: 2, height: 12, width: 12, parts: { bytes: 1000, groups: 3, bands: 4 } },
    { order: "mamba_h", block: 3, batch: 2, height: 7, width: 5, parts: { bytes: 1000, groups: 3, bands: 1 } }, // 35 rows: no view
    {
      order: "mamba_h",
      block: 3,
      batch: 2,
      height: 9,
      width: 16,
      change: { fusion: "sum" },
      parts: { bytes: 200_000, groups: 2, bands: 1 },
    },
    {
      order: "mamba_w",
      block: 4,
      batch: 1,
      height: 9,
      width: 17,
      change: { bidirectional: false },
      gemm: "tile",
      parts: { bytes: 1000, groups: 3, bands: 2 },
    },
  ];
  for (const { order, block, batch, height, width, change, gemm: variant = "register", parts } of cases) {
    const config = { ...CONFIG, ...change };
    const name = `${order} of block ${block}, ${batch}x${height}x${width}, ${variant}, ${JSON.stringify({ ...change, ...parts })}`;
    it(name, async () => {
      const tokens = height * width;
      const { inner, heads, state, taps } = config;
      const w = mixerOf(block, config);
      const u = randomArray(batch * tokens * WIDTH, 11);

      const uploads: [Tensor, Float32Array][] = [];
      const upload = (label: string, shape: number[], data: Float32Array): Tensor => {
        const tensor = makeTensor(label, shape);
        uploads.push([tensor, data]);
        return tensor;
      };
      const channels = inner + 2 * state;
      const folded = fold(w, inner);
      const weights = new Weights(
        "transformer",
        new Map(
          [
            upload("b.mamba.in_proj.weight", [inner + channels + heads, WIDTH], w.inProj),
            upload("b.mamba.conv1d.weight", [channels, taps], w.conv),
            upload("b.mamba.conv1d.bias", [channels], w.convBias),
            upload("b.mamba.dt_bias", [heads], w.dtBias),
            upload("b.mamba.A_log", [heads], w.aLog),
            upload("b.mamba.D", [heads], w.skip),
            upload("b.mamba.norm.weight", [inner], w.norm),
            upload("b.mamba_fuse_out.weight", [WIDTH, folded.length / WIDTH], folded),
            upload("b.mamba_fuse_out.bias", [WIDTH], w.fuseBias),
          ].map((tensor) => [tensor.label, tensor]),
        ),
      );
      const input = upload("u", [batch, tokens, WIDTH], u);
      const output = makeTensor("output", [batch, tokens, WIDTH]);

      const recording = new Recording("mixer", {
        ...gpu.profile,
        variants: { ...gpu.profile.variants, gemm: variant, scan: variant },
        ...(parts && { activationBytes: parts.bytes }),
      });
      const grid = { batch, height, width };
      const planned = planDenoiser({ width: WIDTH, heads: 1, headDim: WIDTH, mamba: config }, grid, recording.profile);
      // A residual stream too large for one binding would be a picture too large for a test: its bands are those of the scan here.
      const plan = parts && batch === 1 ? { ...planned, residual: planned.scan.bands } : planned;
      expect(plan.scan.groups.length).toBe(parts?.groups ?? 1);
      expect(plan.scan.bands.length).toBe(parts?.bands ?? 1);
      const branch: Branch = {
        input: (band, into) => {
          const rows = viewTensor(input, "u", [band.rows, WIDTH], band.first * WIDTH);
          if (into) recording.copy(rows, into);
          return into ?? rows;
        },
        output: (band, h, weight, b) => gemm(recording, h, weight, rowsOf(output, band), { bias: b }),
      };
      recordMambaMixer(recording, config, weights.under("b"), order, branch, grid, plan);

      await gpu.arena.allocate([...uploads.map(([tensor]) => tensor), output]);
      for (const [tensor, data] of uploads) gpu.write(tensor, data as Float32Array<ArrayBuffer>);
      const free = await gpu.arena.workspace(planMemory([recording]));
      const program = await Program.build(gpu, recording);
      await program.run();
      const got = await gpu.readF32(output);
      program.dispose();
      free();
      gpu.arena.release([...uploads.map(([tensor]) => tensor), output]);

      let difference = 0;
      let norm = 0;
      for (let b = 0; b < batch; b++) {
        const rows = Array.from({ length: tokens }, (_, t) =>
          u.subarray((b * tokens + t) * WIDTH, (b * tokens + t + 1) * WIDTH),
        );
        mixer(rows, height, width, order, w, config).forEach((row, t) =>
          row.forEach((want, d) => {
            difference += (got[(b * tokens + t) * WIDTH + d]! - want) ** 2;
            norm += want ** 2;
          }),
        );
      }
      // f32 against f64 over in_proj, convolution, scan, norm and the folded product: about 1e-6 measured
      expect(Math.sqrt(difference / norm)).toBeLessThan(1e-5);
    });
  }
});
