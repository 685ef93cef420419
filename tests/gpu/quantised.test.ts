/** q8 and q4 tensors: their bytes, views of their rows, and where they may be bound. */
import { describe, expect, it } from "vitest";
import { Recording } from "../../src/gpu/recording.ts";
import { bytesOf, dataBytes, makeTensor, viewTensor } from "../../src/gpu/tensor.ts";
import { gemm } from "../../src/kernels/gemm.ts";

const error = (message: RegExp) =>
  expect.objectContaining({ name: "TensorError", message: expect.stringMatching(message) });

describe("quantised tensors", () => {
  it("count rows of quants and scales", () => {
    expect(dataBytes([3456, 1152], "q8")).toBe(3456 * (1152 + 18 * 4));
    expect(dataBytes([3456, 1152], "q4")).toBe(3456 * (576 + 18 * 4));
    expect(dataBytes([2, 5, 96], "q4")).toBe(10 * (48 + 2 * 4)); // three scales need two words
    expect(bytesOf([1, 32], "q4")).toBe(32); // 20, rounded up to 16
    expect(() => makeTensor("w", [8, 1000], "q8")).toThrow(error(/1000 elements, expected a multiple of 32/));
  });

  it("are viewed by whole rows on a binding boundary", () => {
    const w = makeTensor("w", [96, 1152], "q8");
    const view = viewTensor(w, "k", [64, 1152], 32 * 1152);
    expect([view.offset, view.bytes]).toEqual([32 * 1224, 64 * 1224]);
    expect(() => viewTensor(w, "k", [64, 1152], 100)).toThrow(error(/got 100 elements, expected whole rows of 1152/));
    expect(() => viewTensor(w, "k", [8, 1152], 1152)).toThrow(error(/byte 1224, not a multiple of 256/));
    expect(() => viewTensor(w, "k", [96 * 2, 576])).toThrow(error(/viewed by whole rows/));
    expect(() => viewTensor(w, "k", [65, 1152], 32 * 1152)).toThrow(error(/larger than/));
  });

  it("are bound as weights only", () => {
    const rec = new Recording("test");
    const [x, w, y] = [makeTensor("x", [8, 64]), makeTensor("w", [8, 64], "q4"), makeTensor("y", [8, 8])];
    gemm(rec, x, w, y);
    expect(rec.commands[0]).toMatchObject({ kind: "dispatch", weights: "q4" });
    expect(() => gemm(rec, makeTensor("x", [8, 64], "q8"), w, y)).toThrow(error(/x is q8, x expects f32/));
    expect(() => gemm(rec, x, makeTensor("w", [8, 64], "u32"), y)).toThrow(
      error(/w is u32, w expects f32, f16, q8 or q4/),
    );
  });

  it("are copied by whole rows", () => {
    const rec = new Recording("test");
    const [a, b] = [makeTensor("a", [8, 64], "q8"), makeTensor("b", [2, 64], "q8")];
    rec.copy(a, b, { count: 128, from: 64 });
    expect(rec.commands[0]).toMatchObject({ bytes: 2 * 68, fromOffset: 68, toOffset: 0 });
    expect(() => rec.copy(a, b, { count: 32 })).toThrow(error(/whole rows of 64/));
  });
});
