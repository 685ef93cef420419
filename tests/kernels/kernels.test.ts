import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import type { KernelCases } from "../../src/kernels/case.ts";
import { runCase } from "../../src/kernels/run_case.ts";
import { testGpu } from "./gpu.ts";

const modules = import.meta.glob<{ default: KernelCases }>("../../src/kernels/*.ref.ts", { eager: true });

describe("kernels against their CPU twins, at default limits", () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await testGpu();
  });
  afterAll(() => gpu.dispose());

  for (const { kernel, cases } of Object.values(modules).map((module) => module.default)) {
    describe(kernel, () => {
      for (const kernelCase of cases) {
        if (kernelCase.benchOnly || kernelCase.needs) continue; // tests/lavapipe runs those that need more than WebGPU itself
        it(kernelCase.name, async () => {
          const before = gpu.arena.bytes;
          const { errors, worst } = await runCase(gpu, kernelCase);
          for (const [output, error] of Object.entries(errors)) {
            expect(error, `${output}; worst ${worst}`).toBeLessThanOrEqual(kernelCase.tolerance);
          }
          expect(gpu.arena.bytes, "bytes left behind").toBe(before);
        });
      }
    });
  }
});
