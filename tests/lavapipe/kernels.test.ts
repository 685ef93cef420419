/** The f16 variants of the kernels, on a device that has f16: the cases of their f32 twins, with wider tolerances. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import type { KernelCases } from "../../src/kernels/case.ts";
import { prepareCase, runCase } from "../../src/kernels/run_case.ts";
import { lavapipeGpu } from "./gpu.ts";

const modules = import.meta.glob<{ default: KernelCases }>("../../src/kernels/{gemm,conv2d}.ref.ts", { eager: true });

/** f16 keeps 11 bits: operands rounded to 5e-4, products summed 16 at a time. */
const TOLERANCE = 2e-3;

let gpu: Gpu;
beforeAll(async () => {
  gpu = await lavapipeGpu();
});
afterAll(() => gpu.dispose());

for (const { kernel, cases } of Object.values(modules).map((module) => module.default)) {
  describe(`${kernel} in f16`, () => {
    for (const kernelCase of cases.filter(({ name, benchOnly }) => name.startsWith("tile") && !benchOnly)) {
      it(kernelCase.name, async () => {
        const prepared = await prepareCase(gpu, kernelCase);
        const arithmetic = prepared.recording.commands.map((c) => c.kind === "dispatch" && c.arithmetic);
        prepared.release();
        expect(arithmetic).toContain("f16");
        const { errors, worst } = await runCase(gpu, kernelCase);
        for (const error of Object.values(errors)) expect(error, worst).toBeLessThan(TOLERANCE);
      });
    }
  });
}
