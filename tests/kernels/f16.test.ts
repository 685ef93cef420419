/**
 * The f16 arithmetic variants. SwiftShader has no `shader-f16`, so here Dawn's null backend compiles every one of them (a wrong conversion is
 * refused there). Run on an adapter that has the feature, for instance lavapipe, the second test also checks their numbers.
 */
import { create } from "webgpu";
import { describe, expect, it } from "vitest";
import { Gpu } from "../../src/gpu/device.ts";
import type { KernelCases } from "../../src/kernels/case.ts";
import { prepareCase, runCase } from "../../src/kernels/run_case.ts";
import { testGpu } from "./gpu.ts";

// Kept for the life of the process: Dawn ends badly when an instance is collected before its devices.
const nullBackend = create(["backend=null"]);

const modules = import.meta.glob<{ default: KernelCases }>("../../src/kernels/{gemm,conv2d}.ref.ts", { eager: true });
const cases = Object.values(modules).flatMap(({ default: suite }) =>
  suite.cases.filter(({ name, benchOnly }) => name.startsWith("tile") && !benchOnly),
);

describe("f16 arithmetic", () => {
  it("compiles in every kernel that has it", async () => {
    const gpu = await Gpu.request({ gpu: nullBackend, f16: true, limits: "default" });
    expect(gpu.profile.f16).toBe(true);
    let variants = 0;
    for (const kernelCase of cases) {
      gpu.device.pushErrorScope("validation");
      const prepared = await prepareCase(gpu, kernelCase);
      variants += prepared.recording.commands.filter((c) => c.kind === "dispatch" && c.arithmetic === "f16").length;
      prepared.release();
      expect((await gpu.device.popErrorScope())?.message).toBeUndefined();
    }
    expect(variants).toBeGreaterThanOrEqual(cases.length);
    gpu.dispose();
  });

  it("agrees within 2e-3 where the device has shader-f16, and is not chosen elsewhere", async () => {
    const gpu = await testGpu({ f16: true });
    const kernelCase = cases.find(({ name }) => name.includes("37x345x72"))!;
    const prepared = await prepareCase(gpu, kernelCase);
    const arithmetic = prepared.recording.commands.map((c) => c.kind === "dispatch" && c.arithmetic);
    prepared.release();
    expect(new Set(arithmetic)).toEqual(new Set([gpu.profile.f16 ? "f16" : "f32"]));
    const { errors } = await runCase(gpu, kernelCase);
    // f16 keeps 11 bits: inputs rounded to 5e-4, products summed 16 at a time.
    for (const error of Object.values(errors))
      expect(error).toBeLessThan(gpu.profile.f16 ? 2e-3 : kernelCase.tolerance);
    gpu.dispose();
  });
});
