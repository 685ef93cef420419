import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planMemory } from "../../src/gpu/plan.ts";
import { Program } from "../../src/gpu/program.ts";
import { Recording } from "../../src/gpu/recording.ts";
import { makeTensor } from "../../src/gpu/tensor.ts";
import type { Model } from "../../src/load.ts";
import { recordImageDecoder, type DecodeOptions } from "../../src/model/image_decoder.ts";
import { loadGolden, readGolden, relativeError } from "./weights.ts";

const ROOT = "tests/golden/pixart";

type Limits = Pick<DecodeOptions, "bandBytes" | "memoryBytes">;

async function decode(
  { gpu, image: part }: Model,
  latents: Float32Array<ArrayBuffer>,
  height: number,
  width: number,
  limits: Limits = {},
) {
  const z = makeTensor("latents", [1, 4, height / 8, width / 8]);
  const image = makeTensor("image", [3, height, width]);
  const rec = new Recording("decode", gpu.profile);
  const stageRows: Record<string, number> = {};
  recordImageDecoder(rec, part!.config, part!.weights, z, image, {
    height,
    width,
    ...limits,
    onStage: ({ shape }, name) => (stageRows[name] = (stageRows[name] ?? 0) + shape[0]!),
  });
  await gpu.arena.allocate([z, image]);
  const plan = planMemory([rec]);
  const free = await gpu.arena.workspace(plan);
  const program = await Program.build(gpu, rec);
  try {
    gpu.write(z, latents);
    await program.run();
    const flops = rec.commands.reduce((sum, command) => sum + (command.kind === "dispatch" ? command.flops : 0), 0);
    return { pixels: await gpu.readF32(image), bytes: plan.bytes, flops, stageRows };
  } finally {
    program.dispose();
    free();
    gpu.arena.release([z, image]);
  }
}

/** The rows that finite checks must have seen of every stage, whatever the bands were. */
const allRows = (height: number) => ({
  "mid block": height / 8,
  "up block 0": height / 4,
  "up block 1": height / 2,
  "up block 2": height,
  output: height,
});

describe("the image decoder against diffusers", () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadGolden(`${ROOT}/pipeline`);
  });
  afterAll(() => model.gpu.dispose());

  const lastLatents = async (n: number): Promise<Float32Array<ArrayBuffer>> => {
    const steps = (await readGolden(`${ROOT}/case.safetensors`))(`${n}.latents`);
    return steps.data.slice(-steps.data.length / steps.shape[0]!);
  };

  it.each([
    { n: 0, height: 128, width: 128 },
    { n: 1, height: 96, width: 160 },
  ])("case $n, $height x $width", async ({ n, height, width }) => {
    const expected = (await readGolden(`${ROOT}/case.safetensors`))(`${n}.image`).data;
    const { pixels, stageRows } = await decode(model, await lastLatents(n), height, width);
    expect(relativeError(pixels, expected)).toBeLessThan(1e-4); // f32 sums in another order
    expect(stageRows).toEqual(allRows(height));
  });

  it("in bands, with and without keeping them: no seams, memory as announced", async () => {
    const [height, width] = [96, 160];
    const latents = await lastLatents(1);
    const whole = await decode(model, latents, height, width);
    // Even the mid block's attention has two bands of queries.
    const kept = await decode(model, latents, height, width, { bandBytes: 25_000, memoryBytes: Infinity });
    expect(relativeError(kept.pixels, whole.pixels), "kept").toBeLessThan(1e-5); // rounding of the statistics
    expect(kept.stageRows).toEqual(allRows(height));
    expect(kept.flops / whole.flops, "nothing is convolved twice").toBeLessThan(1.01);
    expect(kept.bytes, "bands are freed early").toBeLessThan(0.7 * whole.bytes);
    const streamed = await decode(model, latents, height, width, { bandBytes: 25_000, memoryBytes: 900_000 });
    expect(relativeError(streamed.pixels, whole.pixels), "streamed").toBeLessThan(1e-5);
    expect(streamed.stageRows).toEqual(allRows(height));
    expect(streamed.flops, "the last layers are computed for each norm").toBeGreaterThan(1.5 * whole.flops);
    expect(streamed.bytes).toBeLessThan(900_000);
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
        // Bands that end in the middle, at odd rows, and of a single row; all kept and as little as possible kept.
        for (const bandBytes of [20_000, 7_000, 1]) {
          for (const memoryBytes of [Infinity, 1]) {
            const banded = await decode(model, latents, height, width, { bandBytes, memoryBytes });
            const name = `bands of ${bandBytes} in ${memoryBytes}`;
            expect(relativeError(banded.pixels, whole.pixels), name).toBeLessThan(1e-5);
            expect(banded.stageRows, name).toEqual(allRows(height));
            if (memoryBytes === 1) expect(banded.flops, name).toBeGreaterThan(1.2 * whole.flops);
            else expect(banded.flops / whole.flops, name).toBeLessThan(1.1); // of single rows, halos are copied a lot
          }
        }
      }
    } finally {
      model.gpu.dispose();
    }
  });
});
