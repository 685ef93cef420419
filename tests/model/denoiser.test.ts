import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Model } from "../../src/load.ts";
import { traceDenoiser } from "../../src/trace.ts";
import { randomArray } from "../../src/kernels/case.ts";
import { planDenoiser, type TokenGrid } from "../../src/model/bands.ts";
import type { DenoiserConfig } from "../../src/model/config.ts";
import type { TraceRequest, TraceResult } from "../../src/worker/api.ts";
import { CONFIGS, withLayers } from "../../tools/synth/configs.ts";
import { syntheticPipeline } from "../../tools/synth/synth.ts";
import { loadGolden, readGolden, relativeError } from "./weights.ts";

const HYBRID = { root: "tests/golden/t2md", cases: [0, 1, 2] };
/** PixArt-alpha's size and aspect conditions, an interpolation scale, learned sigma, no attention bias. */
const CONDITIONS = { root: "tests/golden/conditions", cases: [0] };

// 1e-4 is what the contract asks of one f32 forward pass; 1e-2 with f16 weights.
describe.each([
  { ...HYBRID, dtype: "f32" as const, tolerance: 1e-4 },
  { ...HYBRID, dtype: "f16" as const, tolerance: 1e-2 },
  { ...CONDITIONS, dtype: "f32" as const, tolerance: 1e-4 },
])("the denoiser of $root with $dtype weights against PyTorch", ({ root, cases, dtype, tolerance }) => {
  let model: Model;
  beforeAll(async () => {
    model = await loadGolden(root, dtype);
  });
  afterAll(() => model.gpu.dispose());

  it.each(cases)("case %i: eps and every block", async (n) => {
    const golden = await readGolden(`${root}/case.safetensors`);
    const input = (name: string) => {
      const { shape, data } = golden(`${n}.${name}`);
      return { dtype: "F32" as const, shape: [...shape], data };
    };
    const before = model.gpu.arena.bytes;
    const { eps, hidden } = await traceDenoiser(model, {
      latent: input("latent"),
      embeds: input("embeds"),
      mask: input("mask"),
      t: golden(`${n}.t`).integers!,
    });
    const expected = golden(`${n}.hidden`);
    const blocks = expected.shape[0]!;
    const size = expected.data.length / blocks;
    for (let i = 0; i < blocks; i++) {
      const part = (data: Float32Array) => data.subarray(i * size, (i + 1) * size);
      expect(relativeError(part(hidden.data as Float32Array), part(expected.data)), `block ${i}`).toBeLessThan(
        tolerance,
      );
    }
    expect(relativeError(eps.data as Float32Array, golden(`${n}.eps`).data), "eps").toBeLessThan(tolerance);
    expect(model.gpu.arena.bytes, "bytes left behind").toBe(before);
  });
});

/** Anything to denoise; 20 tokens of text. */
function requestOf(config: DenoiserConfig, { batch, height, width }: TokenGrid): TraceRequest {
  const input = (shape: number[], seed: number) => ({
    dtype: "F32" as const,
    shape,
    data: randomArray(
      shape.reduce((n, d) => n * d, 1),
      seed,
    ) as Float32Array<ArrayBuffer>,
  });
  return {
    latent: input([batch, config.inChannels, height * config.patchSize, width * config.patchSize], 1),
    embeds: input([batch, 20, config.captionChannels], 2),
    mask: { dtype: "F32" as const, shape: [batch, 20], data: new Float32Array(20 * batch).fill(1) },
    t: Array.from({ length: batch }, (_, b) => 900 - 300 * b),
  };
}

/** The same sums in the same order: 0 on SwiftShader. */
function expectSame(parts: TraceResult, whole: TraceResult): void {
  for (const name of ["hidden", "eps"] as const) {
    const [a, b] = [parts, whole].map((result) => result[name].data as Float32Array);
    expect(relativeError(a!, b!), name).toBeLessThan(1e-6);
  }
}

describe("the denoiser in parts", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadGolden(HYBRID.root);
  });
  afterAll(() => model.gpu.dispose());

  it.each([
    { batch: 2, height: 12, width: 16, groups: 3, bands: 4 },
    { batch: 1, height: 11, width: 26, groups: 3, bands: 3 },
    { batch: 2, height: 5, width: 13, groups: 3, bands: 1 }, // the second picture begins at no binding boundary
  ])("$batch x $height x $width tokens: $groups groups of heads, $bands bands of rows", async (size) => {
    const { groups, bands } = size;
    const { gpu, denoiser } = model;
    const { config } = denoiser!;
    const request = requestOf(config, size);
    const { profile } = gpu;
    const whole = await traceDenoiser(model, request);
    gpu.profile = { ...profile, activationBytes: 1000, dispatchFlops: 1e6 };
    try {
      const plan = planDenoiser(config, size, gpu.profile);
      expect(plan.scan.groups.length).toBe(groups);
      for (const part of [plan.scan.bands, plan.feedForward, plan.projections]) expect(part.length).toBe(bands);
      const parts = await traceDenoiser(model, request);
      expectSame(parts, whole);
    } finally {
      gpu.profile = profile;
    }
  });
});

describe("the denoiser on a device that binds little", () => {
  let model: Model;
  beforeAll(async () => {
    // Heads of 64 may be computed in groups of any size, since their weights and biases begin at binding boundaries.
    const { transformer } = withLayers(CONFIGS.t2md, 1); // of attention
    const small = { attention_head_dim: 64, num_attention_heads: 4, cross_attention_dim: 256, caption_channels: 48 };
    const pipeline = syntheticPipeline({ transformer: { ...transformer, ...small, mamba_d_state: 16 } }, 0);
    model = await loadGolden(pipeline, "f16");
  });
  afterAll(() => model.gpu.dispose());

  it("takes keys by heads, and queries and results by rows", async () => {
    const { gpu, denoiser } = model;
    const { profile } = gpu;
    const size = { batch: 1, height: 48, width: 48 }; // 2304 tokens of 256: 2.25 MiB
    const request = requestOf(denoiser!.config, size);
    const whole = await traceDenoiser(model, request);
    gpu.profile = { ...profile, limits: { ...profile.limits, maxStorageBufferBindingSize: 1_600_000 } };
    try {
      const { attention, residual } = planDenoiser(denoiser!.config, size, gpu.profile);
      expect(attention.groups).toEqual([
        { first: 0, count: 2 },
        { first: 2, count: 2 },
      ]);
      expect([attention.bands.length, residual.length]).toEqual([2, 2]);
      expectSame(await traceDenoiser(model, request), whole);
    } finally {
      gpu.profile = profile;
    }
  });
});
