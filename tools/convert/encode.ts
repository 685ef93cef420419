/** Values -> the bytes of a stored dtype, and what was lost on the way. */
import { dequantizeRows, quantizeRows, rowWords } from "../../src/numbers/quant.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../src/numbers/half.ts";
import type { WeightDtype } from "../../src/weights/manifest.ts";

/** BF16 is for pipeline directories only. */
export type StoredDtype = WeightDtype | "BF16";

/** Losses of one tensor. `difference` and `norm` are sums of squares, of stored - given and of given. */
export interface Loss {
  /** Values beyond +-65504 in f16. */
  clamped: number;
  difference: number;
  norm: number;
}

/**
 * The bytes of whole rows of `depth` elements. Adds to `loss`: clamped values always, the sums when `measure` is set (it costs
 * a decode and a pass).
 */
export function encode(
  values: Float32Array,
  dtype: StoredDtype,
  depth: number,
  loss: Loss,
  measure: boolean,
): Uint8Array<ArrayBufferLike> {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let stored: Uint16Array | Uint32Array;
  let back: Float32Array | undefined;
  if (dtype === "Q8" || dtype === "Q4") {
    const type = dtype === "Q8" ? "q8" : "q4";
    const words = new Uint32Array((values.length / depth) * rowWords(depth, type));
    stored = quantizeRows(values, depth, type, words);
    if (measure) back = dequantizeRows(words, depth, type);
  } else {
    const halves = new Uint16Array(values.length);
    stored = halves;
    if (dtype === "F16") loss.clamped += f32ToF16(values, halves);
    else f32ToBf16(values, halves);
    if (measure) (dtype === "F16" ? f16ToF32 : bf16ToF32)(halves, (back = new Float32Array(values.length)));
  }
  if (back) addLoss(values, back, loss);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

function addLoss(values: Float32Array, back: Float32Array, loss: Loss): void {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    const error = back[i] - value;
    difference += error * error;
    norm += value * value;
  }
  loss.difference += difference;
  loss.norm += norm;
}
