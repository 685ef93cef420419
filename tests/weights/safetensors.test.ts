import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ScanvasError } from "../../src/errors.ts";
import { DTYPE_BYTES, MAX_HEADER_BYTES, readSafetensors, writeSafetensors } from "../../src/weights/safetensors.ts";
import { encode, GOLDEN, random } from "./fixtures.ts";

interface HeaderCase {
  name: string;
  file: string;
  verdict: "ok" | "refused";
}
const cases = JSON.parse(await readFile(join(GOLDEN, "weights/headers.json"), "utf8")) as HeaderCase[];
const bytesOf = ({ file }: HeaderCase) => new Uint8Array(Buffer.from(file, "base64"));

/** "ok" or the error's name; anything but a named error of ours fails the test. */
function outcome(file: Uint8Array): string {
  try {
    readSafetensors(file);
    return "ok";
  } catch (error) {
    expect(error).toBeInstanceOf(ScanvasError);
    return (error as ScanvasError).name;
  }
}

/** What the format promises about an accepted file, checked without the reader's own logic. */
function expectSound(file: Uint8Array): void {
  const { tensors, dataStart } = readSafetensors(file);
  const covered = new Uint8Array(file.length - dataStart);
  for (const { dtype, shape, begin, end } of tensors.values()) {
    expect(end - begin).toBe(shape.reduce((product, n) => product * n, 1) * DTYPE_BYTES[dtype]);
    for (let i = begin; i < end; i++) covered[i - dataStart]++;
  }
  expect(covered.every((count) => count === 1)).toBe(true);
}

/** The library takes these, we do not, on purpose. */
const STRICTER = new Set(["no brace", "duplicate name", "duplicate name, escaped"]);

describe("headers, against the safetensors library", () => {
  const table = cases.filter(({ name }) => !name.startsWith("mutation"));

  it.each(table)("$name", (example) => {
    const ok = example.verdict === "ok" && !STRICTER.has(example.name);
    expect(outcome(bytesOf(example)) === "ok").toBe(ok);
  });

  it("names truncation as such, and everything else as a format error", () => {
    const truncated = table.filter((example) => outcome(bytesOf(example)) === "TruncatedError").map(({ name }) => name);
    expect(truncated).toEqual([
      "nothing",
      "seven bytes",
      "length only",
      "length beyond the file",
      "span beyond the file",
    ]);
  });

  it("accepts no mutation that the library refuses, and only sound files", () => {
    const mutations = cases.filter(({ name }) => name.startsWith("mutation"));
    expect(mutations.length).toBeGreaterThanOrEqual(600);
    let accepted = 0;
    for (const example of mutations) {
      if (outcome(bytesOf(example)) !== "ok") continue;
      accepted++;
      expect(example.verdict, example.name).toBe("ok");
      expectSound(bytesOf(example));
    }
    expect(accepted).toBeGreaterThan(0);
  });
});

describe("2,000 random mutations", () => {
  it("end in a sound header or a named error, at once", () => {
    const draw = random(11);
    const good = cases.filter(({ name }) => name.startsWith("good,")).map(bytesOf);
    let accepted = 0;
    const started = performance.now();
    for (let i = 0; i < 2000; i++) {
      const file = good[Math.floor(draw() * good.length)].slice();
      for (let k = 0; k <= draw() * 3; k++) file[Math.floor(draw() * file.length)] = Math.floor(draw() * 256);
      if (outcome(file) !== "ok") continue;
      accepted++;
      expectSound(file);
    }
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(2000);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  it("does not hang on 20 MB of brackets, quotes or digits", () => {
    for (const [open, repeat] of [
      ['{"a":', "["],
      ['{"', "a"],
      ['{"a":{"shape":[', "1,"],
      ['{"a":', '{"a":'],
    ]) {
      const text = open + repeat.repeat(Math.floor(20e6 / repeat.length));
      const file = new Uint8Array(8 + text.length);
      new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
      new TextEncoder().encodeInto(text, file.subarray(8));
      expect(outcome(file)).toBe("FormatError");
    }
  });
});

describe("names", () => {
  it("keeps __proto__ and constructor as ordinary names", () => {
    const data = encode(Float32Array.of(1), "F32");
    const tensors = ["__proto__", "constructor"].map((name) => ({ name, dtype: "F32" as const, shape: [1], data }));
    const { tensors: read } = readSafetensors(writeSafetensors(tensors));
    expect([...read.keys()]).toEqual(["__proto__", "constructor"]);
  });

  it("refuses a name of 257 characters", () => {
    const tensor = (length: number) => ({
      name: "n".repeat(length),
      dtype: "U8" as const,
      shape: [0],
      data: new Uint8Array(),
    });
    expect(outcome(writeSafetensors([tensor(256)]))).toBe("ok");
    expect(outcome(writeSafetensors([tensor(257)]))).toBe("FormatError");
  });
});

describe("header length", () => {
  it("is capped before anything is read", () => {
    const prefix = new Uint8Array(16);
    new DataView(prefix.buffer).setBigUint64(0, BigInt(MAX_HEADER_BYTES + 1), true);
    expect(outcome(prefix)).toBe("FormatError");
    new DataView(prefix.buffer).setBigUint64(0, BigInt(MAX_HEADER_BYTES), true);
    expect(outcome(prefix)).toBe("TruncatedError");
  });
});

describe("writeSafetensors", () => {
  const tensors = [
    { name: "b", dtype: "F16" as const, shape: [3], data: Uint8Array.of(1, 2, 3, 4, 5, 6) },
    { name: "a", dtype: "F32" as const, shape: [1, 1], data: Uint8Array.of(7, 8, 9, 10) },
  ];

  it("is read back as it was given, in order, tensors from a multiple of 8 on", () => {
    const file = writeSafetensors(tensors, { origin: "test" });
    const { tensors: read, metadata, dataStart } = readSafetensors(file);
    expect([...read.keys()]).toEqual(["b", "a"]);
    expect(dataStart % 8).toBe(0);
    expect(metadata.get("origin")).toBe("test");
    for (const { name, data } of tensors) {
      const { begin, end } = read.get(name)!;
      expect(file.subarray(begin, end)).toEqual(data);
    }
  });

  it("refuses data of the wrong size and names given twice", () => {
    expect(() => writeSafetensors([{ ...tensors[0], shape: [4] }])).toThrow(/"b": got 6 bytes, expected 8/);
    expect(() => writeSafetensors([tensors[0], tensors[0]])).toThrow(/two tensors "b"/);
  });
});
