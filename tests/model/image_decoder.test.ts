import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMemory } from "../../src/gpu/plan.ts";
import { Program } from "../../src/gpu/program.ts";
import { Recording } from "../../src/gpu/recording.ts";
import { makeTensor } from "../../src/gpu/tensor.ts";
import type { Model } from "../../src/load.ts";
import { recordImageDecoder } from "../../src/model/image_decoder.ts";
import { loadGolden, readGolden, relativeError } from "./weights.ts";

const ROOT = "tests/golden/pixart";

async function decode(
  { gpu, image: part }: Model,
  latents: Float32Array<ArrayBuffer>,
  height: number,
  width: number,
  bandBytes?: number,
) {
  const z = makeTensor("latents", [1, 4, height / 8, width / 8]);
  const image = makeTensor("image", [3, height, width]);
  const rec = new Recording("decode", gpu.profile);
  recordImageDecoder(rec, part!.config, part!.weights, z, image, {
    height,
    width,
    ...(bandBytes ? { bandBytes } : {}),
  });
  await gpu.arena.allocate([z, image]);
  const plan = planMemory([rec]);
  const free = await gpu.arena.workspace(plan);
  const program = await Program.build(gpu, rec);
  try {
    gpu.write(z, latents);
    await program.run();
    return { pixels: await gpu.readF32(image), bytes: plan.bytes, dispatches: rec.commands.length };
  } finally {
    program.dispose();
    free();
    gpu.arena.release([z, image]);
  }
}

describe("the image decoder against diffusers", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadGolden(`${ROOT}/pipeline`);
  });
  afterAll(() => model.gpu.dispose());

  it.each([
    { n: 0, height: 128, width: 128 },
    { n: 1, height: 96, width: 160 },
  ])("case $n, $height x $width, and the second one in bands", async ({ n, height, width }) => {
    const golden = await readGolden(`${ROOT}/case.safetensors`);
    const steps = golden(`${n}.latents`);
    const last = steps.data.slice(-steps.data.length / steps.shape[0]!);
    const expected = golden(`${n}.image`).data;
    const whole = await decode(model, last, height, width);
    expect(relativeError(whole.pixels, expected), "whole").toBeLessThan(1e-4); // f32 sums in another order
    if (n === 0) return;
    // Small enough that the full resolution is banded; the picture must not change by more than rounding.
    const banded = await decode(model, last, height, width, 500_000);
    expect(relativeError(banded.pixels, whole.pixels), "banded").toBeLessThan(1e-5);
    expect(banded.dispatches, "bands were used").toBeGreaterThan(2 * whole.dispatches);
    expect(banded.bytes, "memory is bounded by the band").toBeLessThan(whole.bytes / 2);
  });

  it("f16 weights stay within 1e-2", async () => {
    const half = await loadGolden(`${ROOT}/pipeline`, "f16");
    const golden = await readGolden(`${ROOT}/case.safetensors`);
    const steps = golden("0.latents");
    const { pixels } = await decode(half, steps.data.slice(-steps.data.length / steps.shape[0]!), 128, 128);
    expect(relativeError(pixels, golden("0.image").data)).toBeLessThan(1e-2);
    half.gpu.dispose();
  });
});

// Unlike the reference in every way the config allows; see tools/goldens/vae.py.
describe("another decoder: three resnets a block, groups across vec4s, shift_factor, no attention, no post_quant_conv", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "scanvas-vae-"));
    for (const part of ["model_index.json", "transformer"]) {
      await cp(`${ROOT}/pipeline/${part}`, join(folder, part), { recursive: true });
    }
    await cp("tests/golden/vae/vae", join(folder, "vae"), { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true }));

  it.each([
    { dtype: "f32" as const, limit: 1e-4 }, // f32 sums in another order
    { dtype: "f16" as const, limit: 1e-2 }, // weights rounded to 11 bits
  ])("$dtype weights, 40 x 72 and 8 x 16 pixels", async ({ dtype, limit }) => {
    const model = await loadGolden(folder, dtype);
    try {
      const golden = await readGolden("tests/golden/vae/case.safetensors");
      for (const [n, height, width] of [
        [0, 40, 72],
        [1, 8, 16], // one row of latents: every convolution there is mostly padding
      ] as const) {
        const latents = golden(`${n}.latents`).data;
        const whole = await decode(model, latents, height, width);
        expect(relativeError(whole.pixels, golden(`${n}.image`).data), `case ${n}`).toBeLessThan(limit);
        if (n !== 0) continue;
        // 20 KB: the two largest resolutions are banded, 40 rows in bands of 8 with their halos.
        const banded = await decode(model, latents, height, width, 20_000);
        expect(relativeError(banded.pixels, whole.pixels), "banded").toBeLessThan(1e-5);
        expect(banded.dispatches, "bands were used").toBeGreaterThan(2 * whole.dispatches);
      }
    } finally {
      model.gpu.dispose();
    }
  });
});
