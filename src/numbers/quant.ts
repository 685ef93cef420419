/**
 * Matrices [rows, depth] of 8 or 4 bits: value = scale * q, one f16 scale for each block of 32 along the depth. A row is whole in
 * itself, little-endian 32-bit words: its quants, then its scales, two to a word (the even block in the low half, 0 in an odd last half).
 *
 *     q8: word j holds elements 4j..4j+3, one a byte, lowest first, signed, -127..127
 *     q4: byte b of word m holds element 8m+b in its low nibble and 8m+4+b in its high one; nibble n means q = n - 8
 *
 * The kernels read the same words (shaders/prelude/weights_q8.wgsl, weights_q4.wgsl).
 */
import { ScanvasError } from "../errors.ts";
import { F16_MAX, fromF16, toF16 } from "./half.ts";

export type QuantType = "q8" | "q4";

/** Elements that share a scale. */
export const QUANT_BLOCK = 32;

/**
 * Scales are tried that take the block's extreme value to these quants; then the best one's least-squares fit. Four bits reach one further
 * down than up, so the extreme goes there. On Gaussian blocks this leaves 0.2 % more error than the best scale there is.
 */
const REACHES = { q8: [127], q4: [-9, -8.7, -8.4, -8.1, -7.8, -7.5, -7.2, -6.9, -6.6] };

/** 32-bit words in a row of `depth` elements. @throws TensorError when depth is not a positive multiple of 32 */
export function rowWords(depth: number, type: QuantType): number {
  if (!(depth > 0) || depth % QUANT_BLOCK !== 0) {
    throw new ScanvasError(
      "TensorError",
      `${type}: got rows of ${depth} elements, expected a multiple of ${QUANT_BLOCK}`,
    );
  }
  return quantWords(depth, type) + Math.ceil(depth / (2 * QUANT_BLOCK));
}

const quantWords = (depth: number, type: QuantType): number => depth / (type === "q8" ? 4 : 8);

/**
 * Quantises whole rows, each block with the scale of least squared error among those tried.
 * @param values [rows, depth]
 * @param into takes the words, `rowWords(depth, type)` a row; made when not given
 * @throws NumericalError for values that are not finite, or too large for an f16 scale; TensorError for sizes that do not fit
 */
export function quantizeRows(
  values: Float32Array,
  depth: number,
  type: QuantType,
  into?: Uint32Array<ArrayBuffer>,
): Uint32Array<ArrayBuffer> {
  const perRow = rowWords(depth, type);
  const rows = values.length / depth;
  const words = into ?? new Uint32Array(Math.ceil(rows) * perRow);
  if (!Number.isInteger(rows) || words.length !== rows * perRow) {
    throw new ScanvasError(
      "TensorError",
      `quantizeRows: got ${values.length} values and ${words.length} words, expected whole rows of ${depth} values and ${perRow} words`,
    );
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const scalesAt = quantWords(depth, type);
  const blockWords = QUANT_BLOCK / (type === "q8" ? 4 : 8);
  const pack = type === "q8" ? packQ8 : packQ4;
  for (let row = 0; row < rows; row++) {
    const start = row * perRow;
    words.fill(0, start + scalesAt, start + perRow);
    for (let block = 0; block < depth / QUANT_BLOCK; block++) {
      const at = row * depth + block * QUANT_BLOCK;
      const half = chooseScale(values, at, extremeOf(values, bits, at, type), type);
      words[start + scalesAt + (block >> 1)] |= half << (16 * (block & 1));
      pack(values, at, half === 0 ? 0 : 1 / fromF16(half), words, start + block * blockWords);
    }
  }
  return words;
}

/** The values [rows, depth] that quantised rows stand for, exactly as the kernels read them. */
export function dequantizeRows(words: Uint32Array, depth: number, type: QuantType): Float32Array<ArrayBuffer> {
  const perRow = rowWords(depth, type);
  const scalesAt = quantWords(depth, type);
  const values = new Float32Array((words.length / perRow) * depth);
  for (let row = 0; row * perRow < words.length; row++) {
    const start = row * perRow;
    for (let block = 0; block < depth / QUANT_BLOCK; block++) {
      const scale = fromF16((words[start + scalesAt + (block >> 1)] >>> (16 * (block & 1))) & 0xffff);
      const at = row * depth + block * QUANT_BLOCK;
      for (let i = 0; i < QUANT_BLOCK; i++) {
        const element = block * QUANT_BLOCK + i;
        const q =
          type === "q8"
            ? (words[start + (element >> 2)] << (24 - 8 * (element & 3))) >> 24
            : ((words[start + (element >> 3)] >>> (8 * (element & 3) + (element & 4))) & 15) - 8;
        values[at + i] = scale * q;
      }
    }
  }
  return values;
}

/** The value of largest magnitude in a block; the bits of magnitudes sort as the magnitudes do. */
function extremeOf(values: Float32Array, bits: Uint32Array, at: number, type: QuantType): number {
  let largest = 0;
  let where = at;
  for (let i = at; i < at + QUANT_BLOCK; i++) {
    const magnitude = bits[i] & 0x7fffffff;
    if (magnitude > largest) {
      largest = magnitude;
      where = i;
    }
  }
  const extreme = values[where];
  const most = F16_MAX * (type === "q8" ? 127 : 8);
  if (!(Math.abs(extreme) <= most)) {
    throw new ScanvasError(
      "NumericalError",
      `quantizeRows: element ${where} is ${extreme}, expected finite values up to ${most} in ${type}; store this tensor as f32`,
    );
  }
  return extreme;
}

/** f16 bits of the scale that takes most of the squared error away; 0 for a block that no f16 scale reaches. */
function chooseScale(values: Float32Array, at: number, extreme: number, type: QuantType): number {
  if (extreme === 0) return 0;
  const reaches = REACHES[type];
  const reached = type === "q8" ? Math.abs(extreme) : extreme;
  let best = 0;
  let bestGain = 0;
  let fitted = 0;
  for (let i = 0; i <= reaches.length; i++) {
    const half = scaleBits(i < reaches.length ? reached / reaches[i] : fitted);
    const scale = fromF16(half);
    if (type === "q8") sumQ8(values, at, 1 / scale);
    else sumQ4(values, at, 1 / scale);
    // sum (v - s q)^2 = sum v^2 - (2 s sum vq - s^2 sum qq), least at s = sum vq / sum qq
    const gain = scale * (2 * sums[0] - scale * sums[1]);
    if (gain > bestGain) {
      best = half;
      bestGain = gain;
      fitted = sums[0] / sums[1];
    }
    if (bestGain === 0 && i === reaches.length - 1) break; // nothing to fit
  }
  return best;
}

/** The nearest f16, at most the largest; below the normal range the next larger one, since a smaller one would cut the block off. */
function scaleBits(scale: number): number {
  const half = toF16(scale);
  if ((half & 0x7fff) > 0x7bff) return half - 1;
  if ((half & 0x7fff) < 0x400 && Math.abs(fromF16(half)) < Math.abs(scale)) return half + 1;
  return half;
}

/** Of the last block looked at: sum of v q, sum of q^2. An array, since two numbers returned are an allocation. */
const sums = new Float64Array(2);

// The conversions to integers truncate, so a half more makes them round; the shift by 8 or 128 keeps what is truncated positive.

function sumQ8(values: Float32Array, at: number, inverse: number): void {
  let vq = 0;
  let qq = 0;
  for (let i = at; i < at + QUANT_BLOCK; i++) {
    const n = (values[i] * inverse + 128.5) | 0;
    const q = (n < 1 ? 1 : n > 255 ? 255 : n) - 128;
    vq += values[i] * q;
    qq += q * q;
  }
  sums[0] = vq;
  sums[1] = qq;
}

function sumQ4(values: Float32Array, at: number, inverse: number): void {
  let vq = 0;
  let qq = 0;
  for (let i = at; i < at + QUANT_BLOCK; i++) {
    const n = (values[i] * inverse + 8.5) | 0;
    const q = (n < 0 ? 0 : n > 15 ? 15 : n) - 8;
    vq += values[i] * q;
    qq += q * q;
  }
  sums[0] = vq;
  sums[1] = qq;
}

function packQ8(values: Float32Array, at: number, inverse: number, words: Uint32Array, to: number): void {
  for (let j = 0; j < QUANT_BLOCK / 4; j++) {
    let word = 0;
    for (let b = 3; b >= 0; b--) {
      const n = (values[at + 4 * j + b] * inverse + 128.5) | 0;
      word = (word << 8) | (((n < 1 ? 1 : n > 255 ? 255 : n) - 128) & 255);
    }
    words[to + j] = word;
  }
}

function packQ4(values: Float32Array, at: number, inverse: number, words: Uint32Array, to: number): void {
  for (let m = 0; m < QUANT_BLOCK / 8; m++) {
    let word = 0;
    for (let i = 7; i >= 0; i--) {
      const n = (values[at + 8 * m + i] * inverse + 8.5) | 0;
      word |= (n < 0 ? 0 : n > 15 ? 15 : n) << (8 * (i & 3) + (i & 4));
    }
    words[to + m] = word;
  }
}
