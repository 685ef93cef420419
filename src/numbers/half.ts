/**
 * The 16-bit float formats. F16 is IEEE binary16, BF16 the upper half of binary32; both little-endian, as everything in
 * safetensors and on the GPU. Only little-endian hosts exist for WebGPU and Node, so typed arrays are used as they are.
 */
import { ScanvasError } from "../errors.ts";

/** The largest finite f16. */
export const F16_MAX = 65504;

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The f16 bits nearest to `value` (ties to even), +-Inf beyond the range, NaN kept. */
export function toF16(value: number): number {
  scratch[0] = value;
  return f16FromBits(scratchBits[0]);
}

/** f32 bits -> f16 bits, round to nearest, ties to even. */
function f16FromBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above round to Inf
  if (magnitude >= 0x38800000) {
    // normal: move the exponent's zero from 127 to 15 and drop 13 bits
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign; // below half of the smallest subnormal, 2^-25
  const shift = 126 - (magnitude >>> 23); // 14 for 2^-15 .. 24 for 2^-25
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const half = 1 << (shift - 1);
  return sign | ((mantissa + half - 1 + ((mantissa >>> shift) & 1)) >>> shift);
}

/** The number that f16 bits stand for. */
export function fromF16(bits: number): number {
  const exponent = bits & 0x7c00;
  if (exponent === 0x7c00) return bits & 0x3ff ? NaN : bits & 0x8000 ? -Infinity : Infinity;
  // The same mantissa under f32's exponent is 2^112 times smaller, for subnormals too.
  scratchBits[0] = ((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13);
  return scratch[0] * 2 ** 112;
}

let halfTable: Float32Array | undefined;

/** F16 elements -> f32, exact. */
export function f16ToF32(source: Uint16Array, target: Float32Array): void {
  halfTable ??= Float32Array.from({ length: 65536 }, (_, bits) => fromF16(bits));
  for (let i = 0; i < source.length; i++) target[i] = halfTable[source[i]];
}

/** BF16 elements -> f32, exact. */
export function bf16ToF32(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i] << 16;
}

/**
 * f32 -> f16, round to nearest even; values beyond +-65504 are clamped to it (Inf too, NaN stays NaN).
 * @returns how many values were clamped; report it, it is a loss
 */
export function f32ToF16(source: Float32Array, target: Uint16Array): number {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  let clamped = 0;
  for (let i = 0; i < bits.length; i++) {
    let half = f16FromBits(bits[i]);
    if ((half & 0x7fff) === 0x7c00) {
      half -= 1; // Inf -> 65504
      clamped++;
    } else if ((bits[i] & 0x7fffffff) > 0x477fe000 && (bits[i] & 0x7fffffff) <= 0x7f800000) {
      clamped++; // between 65504 and 65520: rounded down to 65504, which is the same clamp
    }
    target[i] = half;
  }
  return clamped;
}

/** f32 -> bf16, round to nearest, ties to even. NaN and Inf stay what they are. */
export function f32ToBf16(source: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) {
    const nan = (bits[i] & 0x7fffffff) > 0x7f800000;
    target[i] = (nan ? bits[i] | 0x400000 : bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16;
  }
}

/** Raw bytes of F32, F16 or BF16 elements -> f32. `bytes` may lie at any offset. @throws TensorError for other dtypes. */
export function decodeFloats(bytes: Uint8Array, dtype: string, target: Float32Array, where = "tensor"): void {
  if (dtype === "F32") {
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes);
    return;
  }
  if (dtype !== "F16" && dtype !== "BF16") {
    throw new ScanvasError("TensorError", `${where}: got dtype ${dtype}, expected F32, F16 or BF16`);
  }
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const halves = new Uint16Array(aligned.buffer, aligned.byteOffset, target.length);
  (dtype === "F16" ? f16ToF32 : bf16ToF32)(halves, target);
}
