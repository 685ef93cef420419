/** Tensors between the page (base64) and files (safetensors). */
import type { SafetensorsHeader } from "../../src/weights/safetensors.ts";
import type { WireTensor } from "./page.ts";

/** What `writeSafetensors` takes. */
export const toNamed = (tensors: Record<string, WireTensor>) =>
  Object.entries(tensors).map(([name, { dtype, shape, base64 }]) => ({
    name,
    dtype,
    shape,
    data: new Uint8Array(Buffer.from(base64, "base64")),
  }));

/** One tensor of a file that was read whole; integers become I64, everything else must be F32. */
export function fromFile(file: Uint8Array, header: SafetensorsHeader, name: string): WireTensor {
  const info = header.tensors.get(name);
  if (!info) throw new Error(`there is no tensor ${name}; the file holds ${[...header.tensors.keys()].join(", ")}`);
  if (info.dtype !== "F32" && info.dtype !== "I64") throw new Error(`${name} is ${info.dtype}, expected F32 or I64`);
  return {
    dtype: info.dtype,
    shape: [...info.shape],
    base64: Buffer.from(file.subarray(info.begin, info.end)).toString("base64"),
  };
}
