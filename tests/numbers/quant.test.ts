import { describe, expect, it } from "vitest";
import { fromF16 } from "../../src/numbers/half.ts";
import { dequantizeRows, quantizeRows, rowWords, type QuantType } from "../../src/numbers/quant.ts";
import { random } from "../weights/fixtures.ts";

const types: QuantType[] = ["q8", "q4"];

/** Normal numbers by Box and Muller. */
function gaussian(count: number, scale: number, seed = 1): Float32Array {
  const draw = random(seed);
  return Float32Array.from(
    { length: count },
    () => scale * Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw()),
  );
}

function relativeError(got: Float32Array, want: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < want.length; i++) {
    difference += (got[i] - want[i]) ** 2;
    norm += want[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

const there = (values: Float32Array, depth: number, type: QuantType): Float32Array =>
  dequantizeRows(quantizeRows(values, depth, type), depth, type);

/** Rounding to nearest with the scale absmax / most, not even rounded to f16: what a simple quantiser does. */
function simple(values: Float32Array, most: number): Float32Array {
  return values.map((value, i) => {
    const block = values.subarray(i - (i % 32), i - (i % 32) + 32);
    const scale = block.reduce((top, v) => Math.max(top, Math.abs(v)), 0) / most;
    return Math.round(value / scale) * scale;
  });
}

/** The quants of a block of one row, read byte by byte as the format says. */
function quants(words: Uint32Array, depth: number, type: QuantType): number[] {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return Array.from({ length: depth }, (_, i) => {
    if (type === "q8") return (bytes[i] << 24) >> 24;
    const byte = bytes[4 * Math.trunc(i / 8) + (i % 4)];
    return (i % 8 < 4 ? byte & 15 : byte >> 4) - 8;
  });
}

describe("the layout", () => {
  it("has whole rows of quants, then scales two to a word", () => {
    expect([32, 64, 96, 1152, 4608].map((depth) => rowWords(depth, "q8"))).toEqual([9, 17, 26, 306, 1224]);
    expect([32, 64, 96, 1152, 4608].map((depth) => rowWords(depth, "q4"))).toEqual([5, 9, 14, 162, 648]);
    for (const depth of [0, 16, 48, -32, NaN]) {
      expect(() => rowWords(depth, "q4")).toThrow(/q4: got rows of .* expected a multiple of 32/);
    }
  });

  it("puts q8 element 4j+b into byte b of word j", () => {
    const values = Float32Array.from({ length: 32 }, (_, i) => (i === 31 ? -127 : i) * 0.25);
    const words = quantizeRows(values, 32, "q8");
    expect([...words.subarray(0, 2), words[7]]).toEqual([0x03020100, 0x07060504, 0x811e1d1c]);
    expect(words[8]).toBe(0x3400); // 0.25, and an odd number of blocks leaves the high half 0
  });

  it("puts q4 elements 8m+b and 8m+4+b into the nibbles of byte b of word m", () => {
    const values = Float32Array.from({ length: 32 }, (_, i) => ((i % 16) - 8) * 0.5);
    const words = quantizeRows(values, 32, "q4");
    expect([...words]).toEqual([0x73625140, 0xfbead9c8, 0x73625140, 0xfbead9c8, 0x3800]);
  });

  it.each(types)("%s: decodes to scale times quant, row by row, whatever `into` held", (type) => {
    const [rows, depth] = [5, 96];
    const values = gaussian(rows * depth, 0.02);
    const words = quantizeRows(values, depth, type, new Uint32Array(rows * rowWords(depth, type)).fill(0xdeadbeef));
    expect(words).toEqual(quantizeRows(values, depth, type));
    const perRow = rowWords(depth, type);
    const decoded = dequantizeRows(words, depth, type);
    for (let row = 0; row < rows; row++) {
      const own = words.slice(row * perRow, (row + 1) * perRow);
      expect(own).toEqual(quantizeRows(values.slice(row * depth, (row + 1) * depth), depth, type));
      const [low, high] = own.subarray(-2);
      expect(high >>> 16).toBe(0);
      const scales = [low & 0xffff, low >>> 16, high].map(fromF16);
      const want = quants(own, depth, type).map((q, i) => Math.fround(scales[Math.trunc(i / 32)] * q));
      expect([...decoded.subarray(row * depth, (row + 1) * depth)]).toEqual(want);
    }
  });
});

describe("the error", () => {
  // Gaussian blocks of 32: the best scale there is leaves 0.0812 at 4 bits, rounding with absmax / 7 leaves 0.097.
  it.each([
    ["q8", 0.0053, 127],
    ["q4", 0.0816, 7],
  ] as const)("%s: of Gaussian weights is below %f and below plain rounding's", (type, most, quant) => {
    const values = gaussian(32 * 4000, 0.02);
    const error = relativeError(there(values, 32, type), values);
    expect(error).toBeLessThan(most);
    expect(error).toBeLessThan(relativeError(simple(values, quant), values));
  });

  it.each(types)("%s: is nothing for values on a grid", (type) => {
    const draw = random(4);
    const [low, high] = type === "q8" ? [-127, 127] : [-8, 7];
    for (const sign of [1, -1]) {
      const values = Float32Array.from({ length: 320 }, () => low + Math.floor(draw() * (high - low + 1)));
      for (let block = 0; block < 10; block++) values[32 * block + block] = low; // or the grid could be finer
      const scaled = values.map((q) => sign * q * 0.0078125);
      expect(relativeError(there(scaled, 64, type), scaled)).toBe(0);
    }
  });

  it.each(types)("%s: stays as small where the scale is an f16 subnormal", (type) => {
    const usual = relativeError(there(gaussian(3200, 1), 32, type), gaussian(3200, 1));
    for (const scale of type === "q8" ? [1e-4, 1e-5, 4e-6] : [1e-5, 2e-6, 6e-7]) {
      const values = gaussian(3200, scale);
      // The scale is a small integer times 2^-24 here, so the grid is at most twice as coarse as it should be.
      expect(relativeError(there(values, 32, type), values), `${scale}`).toBeLessThan(2 * usual);
    }
  });

  it.each(types)("%s: holds blocks of zeros, of values that no scale reaches, and of the largest values", (type) => {
    const values = new Float32Array(128);
    values.fill(2 ** -26, 32, 64);
    values.fill(-60000, 64, 96);
    values.set([-0, 1, -1, 0.5], 96);
    const decoded = there(values, 128, type);
    expect(decoded.subarray(0, 64).every((value) => value === 0)).toBe(true);
    expect(relativeError(decoded.subarray(64, 96), values.subarray(64, 96))).toBeLessThan(1e-3);
    expect(decoded[97]).toBeCloseTo(1, type === "q8" ? 2 : 1);
    expect(dequantizeRows(quantizeRows(new Float32Array(64), 64, type), 64, type)).toEqual(new Float32Array(64));
    const largest = Float32Array.from({ length: 32 }, (_, i) => (i - 16) * 4000 * (type === "q8" ? 127 / 8 : 1));
    expect(relativeError(there(largest, 32, type), largest)).toBeLessThan(type === "q8" ? 0.006 : 0.09);
  });

  it.each(types)("%s: names the value that it cannot hold", (type) => {
    for (const bad of [NaN, Infinity, -Infinity, 1e9]) {
      const values = gaussian(96, 1);
      values[70] = bad;
      expect(() => quantizeRows(values, 96, type)).toThrow(
        expect.objectContaining({ name: "NumericalError", message: expect.stringContaining(`element 70 is ${bad}`) }),
      );
    }
  });

  it("refuses sizes that do not fit", () => {
    expect(() => quantizeRows(new Float32Array(100), 64, "q8")).toThrow(/got 100 values/);
    expect(() => quantizeRows(new Float32Array(64), 64, "q8", new Uint32Array(16))).toThrow(/16 words, expected .* 17/);
  });
});
