import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Model } from "../../src/load.ts";
import { traceDenoiser } from "../../src/trace.ts";
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
