import { ScanvasError } from "../errors.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";
import { f16ToF32 } from "../numbers/half.ts";
import { dequantizeRows, rowWords } from "../numbers/quant.ts";

/**
 * Rows `ids` of an embedding table that streams by: [n, width] f32. `stream` hands over every byte of the table once, as a
 * sink of weights gets it; only the wanted rows are kept.
 */
export async function embedRows(
  table: Tensor,
  ids: Int32Array,
  stream: (sink: (name: string, bytes: Uint8Array, begin: number) => void) => Promise<void>,
): Promise<Float32Array<ArrayBuffer>> {
  const { shape, type } = table;
  const [rows, width] = shape as [number, number];
  const rowBytes = type === "q8" || type === "q4" ? 4 * rowWords(width, type) : width * (type === "f16" ? 2 : 4);
  const outside = ids.findIndex((id) => id < 0 || id >= rows);
  if (outside >= 0) {
    throw new ScanvasError("TensorError", `${table.label}: token id ${ids[outside]} is outside its ${rows} rows`);
  }
  const picked = new Uint8Array(ids.length * rowBytes);
  await stream((_name, bytes, begin) => {
    ids.forEach((id, i) => {
      const from = Math.max(id * rowBytes, begin);
      const to = Math.min((id + 1) * rowBytes, begin + bytes.length);
      if (from < to) picked.set(bytes.subarray(from - begin, to - begin), i * rowBytes + from - id * rowBytes);
    });
  });
  if (type === "f32") return new Float32Array(picked.buffer);
  if (type !== "f16") return dequantizeRows(new Uint32Array(picked.buffer), width, type as "q8" | "q4");
  const values = new Float32Array(elementCount([ids.length, width]));
  f16ToF32(new Uint16Array(picked.buffer), values);
  return values;
}
