import { describe, expect, it } from "vitest";
import { bf16ToF32, decodeFloats, f16ToF32, f32ToBf16, f32ToF16, fromF16, toF16 } from "../../src/numbers/half.ts";
import { random } from "../weights/fixtures.ts";

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Finite non-negative f16 values in rising order; their index is their bit pattern. */
const ladder = Array.from({ length: 0x7c00 }, (_, bits) => {
  const exponent = bits >> 10;
  const mantissa = bits & 1023;
  return exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : (mantissa / 1024) * 2 ** -14;
});

/** Rounding by search: the nearer neighbour, the even one when they are equally near. Valid below 65504. */
function nearest(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  let low = 0;
  let high = ladder.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ladder[middle] <= size) low = middle;
    else high = middle;
  }
  const below = size - ladder[low];
  const above = ladder[high] - size;
  if (below === above) return sign | (low % 2 ? high : low);
  return sign | (below < above ? low : high);
}

describe("f16", () => {
  it("decodes every bit pattern", () => {
    const values = new Float32Array(65536);
    f16ToF32(all, values);
    expect([...values.subarray(0, 0x7c00)]).toEqual(ladder);
    expect([...values.subarray(0x8000, 0xfc00)]).toEqual(ladder.map((value) => -value));
    expect(ladder.map((_, bits) => fromF16(bits))).toEqual(ladder);
    expect(values[0x7c00]).toBe(Infinity);
    expect(values[0xfc00]).toBe(-Infinity);
    expect(values[0x7c01]).toBeNaN();
  });

  it("encodes every f16 value as itself", () => {
    const values = new Float32Array(65536);
    f16ToF32(all, values);
    const wrong = [...all].filter((bits) => {
      const back = toF16(values[bits]);
      return Number.isNaN(values[bits]) ? (back & 0x7fff) <= 0x7c00 : back !== bits;
    });
    expect(wrong).toEqual([]);
  });

  it.each([
    [1 + 2 ** -11, 0x3c00, "a tie goes down to the even neighbour"],
    [1 + 3 * 2 ** -11, 0x3c02, "a tie goes up to the even neighbour"],
    [1 + 2 ** -11 + 2 ** -23, 0x3c01, "just above a tie"],
    [1 + 2 ** -11 - 2 ** -23, 0x3c00, "just below a tie"],
    [2 - 2 ** -12, 0x4000, "rounding up into the next exponent"],
    [2 ** -14, 0x0400, "smallest normal"],
    [2 ** -14 - 2 ** -25, 0x0400, "tie between subnormal and normal"],
    [2 ** -14 - 2 ** -24, 0x03ff, "largest subnormal"],
    [2 ** -24, 0x0001, "smallest subnormal"],
    [2 ** -25, 0x0000, "half of it: a tie, to zero"],
    [2 ** -25 * (1 + 2 ** -23), 0x0001, "just over half of it"],
    [3 * 2 ** -25, 0x0002, "a tie between subnormals"],
    [2 ** -149, 0x0000, "smallest f32 subnormal"],
    [-(2 ** -26), 0x8000, "minus zero"],
    [65504, 0x7bff, "largest"],
    [65519.99, 0x7bff, "still rounds down"],
    [65520, 0x7c00, "the tie above goes to infinity"],
    [-Infinity, 0xfc00, "infinity"],
  ])("rounds %f to %i: %s", (value, bits) => {
    expect(toF16(value)).toBe(bits);
  });

  it("rounds 200,000 random values as a search for the nearest does", () => {
    const draw = random(3);
    const value = new Float32Array(1);
    const wrong: number[] = [];
    for (let i = 0; i < 200_000; i++) {
      value[0] = (draw() < 0.5 ? -1 : 1) * (1 + draw()) * 2 ** Math.floor(draw() * 44 - 29);
      if (Math.abs(value[0]) < 65504 && toF16(value[0]) !== nearest(value[0])) wrong.push(value[0]);
    }
    expect(wrong).toEqual([]);
  });

  it("clamps and counts what lies beyond +-65504", () => {
    const values = Float32Array.of(65504, -65504, 65505, 65519, 65520, -70000, 1e9, Infinity, -Infinity, 1);
    const halves = new Uint16Array(values.length);
    expect(f32ToF16(values, halves)).toBe(7);
    const back = new Float32Array(values.length);
    f16ToF32(halves, back);
    expect([...back]).toEqual([65504, -65504, 65504, 65504, 65504, -65504, 65504, 65504, -65504, 1]);
  });

  it("keeps NaN", () => {
    const halves = new Uint16Array(1);
    expect(f32ToF16(Float32Array.of(NaN), halves)).toBe(0);
    expect(fromF16(halves[0])).toBeNaN();
  });
});

describe("bf16", () => {
  it("is the upper half of f32", () => {
    const values = new Float32Array(5);
    bf16ToF32(Uint16Array.of(0x3f80, 0xc049, 0x0001, 0x7f80, 0x8000), values);
    expect([...values]).toEqual([1, -3.140625, 2 ** -133, Infinity, -0]);
  });

  it("rounds to the nearest, ties to even", () => {
    const halves = new Uint16Array(8);
    const tie = 1 + 2 ** -8;
    f32ToBf16(Float32Array.of(tie, tie + 2 ** -23, 1 + 3 * 2 ** -8, -tie, 3.4028235e38, Infinity, NaN, 0.5), halves);
    expect([...halves.subarray(0, 6)]).toEqual([0x3f80, 0x3f81, 0x3f82, 0xbf80, 0x7f80, 0x7f80]);
    expect(halves[6] & 0x7fff).toBeGreaterThan(0x7f80);
    expect(halves[7]).toBe(0x3f00);
  });
});

describe("decodeFloats", () => {
  it("reads at any byte offset", () => {
    const target = new Float32Array(2);
    const halves = Uint8Array.of(9, 0x00, 0x3c, 0x00, 0xc0).subarray(1);
    decodeFloats(halves, "F16", target);
    expect([...target]).toEqual([1, -2]);
    decodeFloats(Uint8Array.of(9, 0x80, 0x3f, 0x00, 0xc0).subarray(1), "BF16", target);
    expect([...target]).toEqual([1, -2]);
    decodeFloats(Uint8Array.of(9, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0).subarray(1), "F32", target);
    expect([...target]).toEqual([1, -2]);
  });

  it("refuses integers by name", () => {
    expect(() => decodeFloats(new Uint8Array(8), "I64", new Float32Array(1), 'tensor "x"')).toThrow(
      /"x": got dtype I64/,
    );
  });
});
