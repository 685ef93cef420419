import { describe, expect, it } from "vitest";
import { imageSeed, randomSeed, torchRandn } from "../../src/sampler/noise.ts";
import { readTensors } from "./golden.ts";

// Made by tools/goldens/sampler.py: "seed.count" -> torch.randn(1, count, generator=torch.Generator("cpu").manual_seed(seed)).
const tensors = readTensors("sampler/noise.safetensors");
const keys = Object.keys(tensors);

describe("torchRandn", () => {
  it.each([...new Set(keys.map((key) => key.split(".")[0]))])("seed %s equals torch.randn for every size", (seed) => {
    const counts = keys.filter((key) => key.startsWith(`${seed}.`)).map((key) => Number(key.split(".")[1]));
    expect(counts).toEqual(expect.arrayContaining([1, 2, 5, 15, 16, 17, 31, 33, 100, 1000, 1024, 960]));
    for (const count of counts) {
      const noise = torchRandn(BigInt(seed), count);
      const expected = tensors[`${seed}.${count}`];
      expect(noise.length).toBe(count);
      // 1e-6: torch's vectorised log, sin and cos may differ from V8's by an f32 bit or two. Values reach 5.8.
      noise.forEach((value, i) => expect(Math.abs(value - expected[i])).toBeLessThan(1e-6));
    }
  });

  it("takes numbers and bigints alike", () => {
    expect(torchRandn(7, 33)).toEqual(torchRandn(7n, 33));
    expect(torchRandn(2 ** 53 - 1, 20)).toEqual(torchRandn(2n ** 53n - 1n, 20));
    expect(torchRandn(7, 33)).not.toEqual(torchRandn(8, 33));
    expect(torchRandn(0, 0).length).toBe(0);
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 53, -1n, 2n ** 64n, "7" as unknown as number, undefined as unknown as number])(
    "refuses the seed %s",
    (seed) => {
      const error = expect.objectContaining({ name: "InvalidArgumentError" }) as Error;
      expect(() => torchRandn(seed, 16)).toThrow(error);
    },
  );

  it("is standard normal", () => {
    const noise = torchRandn(3, 100_000);
    const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
    const variance = noise.reduce((sum, value) => sum + value * value, 0) / noise.length;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
  });
});

describe("seeds", () => {
  it("count up over a batch and wrap at 2^64", () => {
    expect(imageSeed(5, 0)).toBe(5n);
    expect(imageSeed(5n, 3)).toBe(8n);
    expect(imageSeed(2n ** 64n - 1n, 1)).toBe(0n);
  });

  it("are valid and differ when drawn at random", () => {
    const seeds = Array.from({ length: 20 }, randomSeed);
    for (const seed of seeds) expect(() => torchRandn(seed, 1)).not.toThrow();
    expect(new Set(seeds).size).toBeGreaterThan(15);
  });
});
