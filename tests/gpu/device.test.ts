// What a device is asked for, and what the engine makes of what it gets.
import { describe, expect, it } from "vitest";
import { recordingDawn, testGpu } from "../kernels/gpu.ts";

describe("a device", () => {
  it("without f16 is what an adapter without it gives, asked for or not", async () => {
    const { gpu } = recordingDawn();
    const adapter = (await gpu.requestAdapter())!;
    expect(adapter.features.has("shader-f16"), "SwiftShader has it now: take another adapter").toBe(false);
    for (const f16 of [false, true]) {
      const { profile, ...device } = await testGpu({ f16 });
      expect([profile.f16, profile.matrix]).toEqual([false, undefined]);
      device.device.destroy();
    }
  });

  it("is asked for f16 only where it is wanted", async () => {
    const asked: string[][] = [];
    const { gpu } = recordingDawn();
    const requestAdapter = async () => {
      const { limits, info } = (await gpu.requestAdapter())!;
      const requestDevice = ({ requiredFeatures }: GPUDeviceDescriptor): Promise<never> => {
        asked.push([...(requiredFeatures ?? [])]);
        return Promise.reject(new Error("enough"));
      };
      return { limits, info, features: new Set(["shader-f16", "timestamp-query"]), requestDevice };
    };
    for (const f16 of [false, true]) {
      const request = testGpu({ f16, gpu: { requestAdapter } as unknown as GPU });
      await expect(request).rejects.toMatchObject({ name: "WebGPUUnavailableError" });
    }
    expect(asked).toEqual([["timestamp-query"], ["timestamp-query", "shader-f16"]]);
  });
});
