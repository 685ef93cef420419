import { readFileSync } from "node:fs";

const folder = new URL("../golden/", import.meta.url);

export function readJson<T>(path: string): T {
  return JSON.parse(readText(path)) as T;
}

export function readText(path: string): string {
  return readFileSync(new URL(path, folder), "utf8");
}

/** The f32 tensors of a safetensors file (an 8-byte length, a JSON header, the data) by name, and its int64 ones as f32. */
export function readTensors(path: string): Record<string, Float32Array> {
  const file = new Uint8Array(readFileSync(new URL(path, folder)));
  const headerEnd = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, headerEnd))) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const tensors: Record<string, Float32Array> = {};
  for (const [name, entry] of Object.entries(header)) {
    const [start, end] = entry.data_offsets;
    const { buffer } = file.slice(headerEnd + start, headerEnd + end);
    tensors[name] =
      entry.dtype === "I64" ? Float32Array.from(new BigInt64Array(buffer), Number) : new Float32Array(buffer);
  }
  return tensors;
}
