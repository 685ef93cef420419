// The real model at large sizes, recorded and planned only: what it binds and what it needs, without a device.
import { describe, expect, it } from "vitest";
import { DEFAULT_PROFILE, Recording, type DeviceProfile } from "../../src/gpu/recording.ts";
import { makeTensor } from "../../src/gpu/tensor.ts";
import { TIMESTEP_CHANNELS } from "../../src/model/embeddings.ts";
import { makeConditions, recordDenoiser } from "../../src/model/denoiser.ts";
import { Session } from "../../src/session.ts";
import { fullModel } from "./full_model.ts";

const MIB = 2 ** 20;
const profileOf = (bytes: number, f16 = false): DeviceProfile => ({
  ...DEFAULT_PROFILE,
  f16,
  limits: { ...DEFAULT_PROFILE.limits, maxStorageBufferBindingSize: bytes, maxBufferSize: Math.max(bytes, 256 * MIB) },
});
const DEFAULT_LIMIT = 128 * MIB;

/** One pass of the denoiser over `batch` pictures. */
function recordPass(profile: DeviceProfile, height: number, width: number, batch: number): Recording {
  const { config, weights } = fullModel.denoiser;
  const recording = new Recording("step", profile);
  const latents = [4, height / 8, width / 8];
  recordDenoiser(
    recording,
    config,
    weights,
    {
      latents: makeTensor("latents", [1, ...latents]),
      step: makeTensor("step", [9]),
      timestep: makeTensor("timestep", [batch, TIMESTEP_CHANNELS]),
      columnTable: makeTensor("column_table", [width / 16, config.width / 2]),
      rowTable: makeTensor("row_table", [height / 16, config.width / 2]),
      conditions: makeConditions(config, batch, 128),
    },
    makeTensor("output", [batch, ...latents]),
  );
  return recording;
}

describe("the full-size model", () => {
  // Mebibytes of a session besides the weights, as planned: conditions and latents included.
  it.each([
    { height: 512, width: 512, limit: DEFAULT_LIMIT, passes: 1, mebibytes: 250 },
    { height: 1024, width: 1024, limit: DEFAULT_LIMIT, passes: 1, mebibytes: 470 },
    { height: 2048, width: 2048, limit: DEFAULT_LIMIT, passes: 2, mebibytes: 670 },
    { height: 2048, width: 2048, limit: 1024 * MIB, passes: 1, mebibytes: 1180 },
    { height: 2160, width: 3840, limit: 1024 * MIB, passes: 1, mebibytes: 2260 },
    { height: 2160, width: 3840, limit: 256 * MIB, passes: 2, mebibytes: 1170 },
    { height: 2160, width: 3840, limit: DEFAULT_LIMIT, passes: 2, mebibytes: 1260 },
    { height: 2160, width: 3840, limit: DEFAULT_LIMIT, passes: 2, mebibytes: 900, f16: true },
  ])("makes $width x $height with bindings of $limit bytes", ({ height, width, limit, passes, mebibytes, f16 }) => {
    const session = new Session(fullModel, profileOf(limit, f16), {
      height,
      width,
      halves: 2,
      guidanceMode: "auto",
      textTokens: 128,
    });
    expect(session.passes).toBe(passes);
    expect(session.bytes / MIB).toBeLessThan(mebibytes);
  });

  it("says which tensor of 2048 x 2048 in one batch is beyond default limits", () => {
    const shape = { height: 2048, width: 2048, halves: 2, guidanceMode: "batch", textTokens: 128 } as const;
    expect(() => new Session(fullModel, DEFAULT_PROFILE, shape)).toThrow(/needs a binding of 150994944 bytes/);
  });

  it.each([
    { height: 512, width: 512, batch: 2, limit: DEFAULT_LIMIT },
    { height: 2048, width: 2048, batch: 1, limit: DEFAULT_LIMIT },
    { height: 2160, width: 3840, batch: 2, limit: 1024 * MIB },
    { height: 2160, width: 3840, batch: 1, limit: DEFAULT_LIMIT },
    { height: 2160, width: 3840, batch: 1, limit: DEFAULT_LIMIT, f16: true },
  ])(
    "binds within $limit bytes and keeps no dispatch long at $width x $height",
    ({ height, width, batch, limit, f16 }) => {
      const dispatches = recordPass(profileOf(limit, f16), height, width, batch).commands.filter(
        (c) => c.kind === "dispatch",
      );
      for (const { label, tensors, flops } of dispatches) {
        for (const tensor of tensors) {
          if (tensor) expect(tensor.bytes, `${label}: ${tensor.label}`).toBeLessThanOrEqual(limit);
        }
        expect(flops, label).toBeLessThanOrEqual(DEFAULT_PROFILE.dispatchFlops);
      }
    },
  );

  it("is recorded in as few dispatches as ever at 512 x 512", () => {
    const perBlock = (batch: number): number[] => {
      const { commands } = recordPass(DEFAULT_PROFILE, 512, 512, batch);
      return [0, 1, 2].map((i) => commands.filter(({ label }) => label.startsWith(`block${i}.`)).length);
    };
    for (const batch of [1, 2]) expect(perBlock(batch)).toEqual([10, 16, 16]); // attention, mamba_h, mamba_w
  });
});
