/** f16 through a whole step: what the trial chooses, and the denoiser with f16 activations on every variant against PyTorch in f32. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { KernelVariants } from "../../src/gpu/recording.ts";
import { chooseVariants } from "../../src/kernels/trial.ts";
import { random } from "../../src/kernels/case.ts";
import type { Model } from "../../src/load.ts";
import { planDenoiser } from "../../src/model/bands.ts";
import { traceDenoiser } from "../../src/trace.ts";
import { loadGolden, readGolden, relativeError } from "../model/weights.ts";
import { lavapipe, lavapipeGpu } from "./gpu.ts";

const ROOT = "tests/golden/t2md";

describe("the trial on a device with f16 and subgroup matrices", () => {
  it("holds every candidate to its CPU twin and takes the fastest of each family", async () => {
    const gpu = await lavapipeGpu();
    const { variants, results } = await chooseVariants(gpu);
    const candidates = Object.fromEntries(
      Object.entries(results).map(([family, tried]) => [family, tried.map(({ variant }) => variant)]),
    );
    expect(candidates).toEqual({
      gemm: ["tile", "register", "tile_f16", "matrix"],
      attention: ["tile", "tile_f16", "matrix"],
      scan: ["tile", "register", "tile_f16", "matrix"],
      conv: ["tile", "register", "tile_f16"],
      convFew: ["register"], // the other is for devices where it is wrong
    });
    for (const [family, tried] of Object.entries(results)) {
      for (const { variant, error, tolerance, rate } of tried) {
        expect(error, `${family} ${variant}`).toBeLessThanOrEqual(tolerance);
        if (tried.length > 1) expect(rate, `${family} ${variant}`).toBeGreaterThan(0);
      }
      const fastest = [...tried].sort((a, b) => b.rate - a.rate)[0]!;
      expect(variants[family as keyof KernelVariants]).toBe(fastest.variant);
    }
    expect(gpu.profile.variants).toEqual(variants);
    expect(await chooseVariants(gpu), "remembered").toEqual({ variants, results });
    gpu.dispose();
  });
});

describe("the denoiser in f16 against PyTorch", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadGolden(ROOT, "f16", { gpu: lavapipe, f16: true, limits: "adapter" });
  });
  afterAll(() => model.gpu.dispose());

  const all = (variant: "tile_f16" | "matrix"): KernelVariants => ({
    gemm: variant,
    attention: variant,
    scan: variant,
    conv: "tile_f16",
    convFew: "register",
  });

  // 1e-2 is what the contract asks of f16 weights; 1e-3 is measured.
  it.each([
    { variant: "what the trial chose", variants: undefined },
    { variant: "subgroup matrices", variants: all("matrix") },
  ])("eps and every block with $variant", async ({ variants }) => {
    const { gpu } = model;
    if (variants) gpu.profile = { ...gpu.profile, variants };
    const golden = await readGolden(`${ROOT}/case.safetensors`);
    const input = (name: string) => {
      const { shape, data } = golden(`0.${name}`);
      return { dtype: "F32" as const, shape: [...shape], data };
    };
    const { eps, hidden } = await traceDenoiser(model, {
      latent: input("latent"),
      embeds: input("embeds"),
      mask: input("mask"),
      t: golden("0.t").integers!,
    });
    const expected = golden("0.hidden");
    const blocks = expected.shape[0]!;
    const size = expected.data.length / blocks;
    for (let i = 0; i < blocks; i++) {
      const part = (data: Float32Array) => data.subarray(i * size, (i + 1) * size);
      const error = relativeError(part(hidden.data as Float32Array), part(expected.data));
      expect(error, `block ${i}`).toBeLessThan(1e-2);
    }
    const error = relativeError(eps.data as Float32Array, golden("0.eps").data);
    console.log(`eps in f16 with ${JSON.stringify(gpu.profile.variants)}: ${error.toExponential(2)} from f32`);
    expect(error, "eps").toBeLessThan(1e-2);
  });

  it("makes the same of a residual stream that no binding can show whole", async () => {
    const { gpu, denoiser } = model;
    const { config } = denoiser!;
    const grid = { batch: 1, height: 32, width: 32 };
    const input = (shape: number[], seed: number) => ({
      dtype: "F32" as const,
      shape,
      data: random(shape, seed).data as Float32Array<ArrayBuffer>,
    });
    const request = {
      latent: input([1, config.inChannels, grid.height * config.patchSize, grid.width * config.patchSize], 1),
      embeds: input([1, 20, config.captionChannels], 2),
      mask: { dtype: "F32" as const, shape: [1, 20], data: new Float32Array(20).fill(1) },
      t: [900],
      blocks: [0], // of attention; the products of a scan at this width are larger than its residual stream
    };
    const { profile } = gpu;
    const whole = await traceDenoiser(model, request);
    const half = 2 * grid.height * grid.width * config.width; // bytes of all rows in f16: the residual stream, in f32, has twice as many
    gpu.profile = { ...profile, limits: { ...profile.limits, maxStorageBufferBindingSize: half } };
    try {
      const { residual, projections } = planDenoiser(config, grid, gpu.profile);
      expect([residual.length, projections.length]).toEqual([2, 2]);
      const parts = await traceDenoiser(model, request);
      for (const name of ["hidden", "eps"] as const) {
        const error = relativeError(parts[name].data as Float32Array, whole[name].data as Float32Array);
        expect(error, name).toBeLessThan(1e-6);
      }
    } finally {
      gpu.profile = profile;
    }
  });
});
