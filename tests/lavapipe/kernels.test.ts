/** The cases that need `shader-f16` or subgroup matrices: the shapes of their f32 twins, odd ones included. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import type { KernelCases } from "../../src/kernels/case.ts";
import { runCase } from "../../src/kernels/run_case.ts";
import { lavapipeGpu } from "./gpu.ts";

const modules = import.meta.glob<{ default: KernelCases }>("../../src/kernels/*.ref.ts", { eager: true });

describe("kernels in f16 against their CPU twins", () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await lavapipeGpu();
  });
  afterAll(() => gpu.dispose());

  for (const { kernel, cases } of Object.values(modules).map((module) => module.default)) {
    const own = cases.filter(({ needs, benchOnly }) => needs && !benchOnly);
    if (own.length === 0) continue;
    describe(kernel, () => {
      for (const kernelCase of own) {
        it(kernelCase.name, async () => {
          const { errors, worst } = await runCase(gpu, kernelCase);
          for (const [output, error] of Object.entries(errors)) {
            expect(error, `${output}; worst ${worst}`).toBeLessThanOrEqual(kernelCase.tolerance);
          }
        });
      }
    });
  }
});
