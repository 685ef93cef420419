import { readFileSync } from "node:fs";

const folder = new URL("../golden/", import.meta.url);

export function readJson<T>(path: string): T {
  return JSON.parse(readText(path)) as T;
}

export function readText(path: string): string {
  return readFileSync(new URL(path, folder), "utf8");
}

/** All f32 tensors of a safetensors file (an 8-byte length, a JSON header, the data), by name. */
export function readTensors(path: string): Record<string, Float32Array> {
  const file = new Uint8Array(readFileSync(new URL(path, folder)));
  const headerEnd = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, headerEnd))) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensors: Record<string, Float32Array> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (entry.dtype !== "F32") continue;
    const [start, end] = entry.data_offsets;
    tensors[name] = new Float32Array(file.slice(headerEnd + start, headerEnd + end).buffer);
  }
  return tensors;
}

/** |actual - expected| / |expected|, Frobenius. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let [difference, size] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return Math.sqrt(difference / Math.max(size, 1e-30));
}
