/**
 * The noise of a seed, as torch's CPU generator draws it: `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`.
 * A seed given here and to diffusers then means the same picture.
 * Sources: ATen/core/MT19937RNGEngine.h, ATen/core/DistributionsHelper.h, ATen/native/cpu/DistributionTemplates.h (normal_fill).
 */
import { ScanvasError } from "../errors.ts";

const f32 = Math.fround;
const TWO_PI = f32(2 * Math.PI);

/**
 * `count` standard normal f32, equal to torch's within 1e-6 (log and cos are the machine's own). torch keeps the low 32 bits of a
 * seed: seeds that differ by a multiple of 2^32 give the same noise, there and here. Throws InvalidArgumentError.
 */
export function torchRandn(seed: number | bigint, count: number): Float32Array {
  const next = mt19937(Number(checkedSeed(seed) & 0xffffffffn));
  const values = new Float32Array(count);
  if (count < 16) {
    fillOneByOne(values, next);
    return values;
  }
  for (let i = 0; i < count; i++) values[i] = uniform24(next);
  for (let i = 0; i + 16 <= count; i += 16) boxMuller16(values, i);
  if (count % 16 !== 0) {
    // The last 16 are drawn again, over values that the block before has already turned normal.
    for (let i = count - 16; i < count; i++) values[i] = uniform24(next);
    boxMuller16(values, count - 16);
  }
  return values;
}

/**
 * The seed of picture `index` of a batch: seed + index modulo 2^64. A batch is thus the same as its pictures made one by one, which in
 * diffusers is `generator=[torch.Generator().manual_seed(seed + i) for i in range(n)]`, not one generator for the whole batch.
 */
export function imageSeed(seed: number | bigint, index: number): bigint {
  return BigInt.asUintN(64, checkedSeed(seed) + BigInt(index));
}

/** A seed for a caller who gave none: 32 random bits, all that torch's generator uses. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

function checkedSeed(seed: number | bigint): bigint {
  const value = typeof seed === "bigint" ? seed : Number.isSafeInteger(seed) ? BigInt(seed) : -1n;
  if (value >= 0n && value < 1n << 64n) return value;
  throw new ScanvasError(
    "InvalidArgumentError",
    `seed: got ${String(seed)}, expected an integer from 0 to 2^53 - 1, or a bigint up to 2^64 - 1`,
  );
}

/** Uniform in [0, 1) on the 2^-24 grid. */
function uniform24(next: () => number): number {
  return (next() & 0xffffff) * 2 ** -24;
}

/** Sixteen uniforms into sixteen normals, f32 throughout: 0..7 give the radii and cosines, 8..15 the angles and sines. */
function boxMuller16(values: Float32Array, at: number): void {
  for (let i = at; i < at + 8; i++) {
    const radius = f32(Math.sqrt(f32(-2 * f32(Math.log(f32(1 - values[i]))))));
    const angle = f32(TWO_PI * values[i + 8]);
    values[i] = radius * f32(Math.cos(angle));
    values[i + 8] = radius * f32(Math.sin(angle));
  }
}

/** Fewer than 16 values: pairs from two 53-bit uniforms in f64, the sine kept for the next value. */
function fillOneByOne(values: Float32Array, next: () => number): void {
  const uniform53 = () => {
    const high = next() & 0x1fffff; // a 64-bit draw is (first << 32) | second; its low 53 bits count
    return (high * 2 ** 32 + next()) * 2 ** -53;
  };
  for (let i = 0; i < values.length; i += 2) {
    const angle = 2 * Math.PI * uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-uniform53()));
    values[i] = radius * Math.cos(angle);
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
  }
}

/** MT19937 (Matsumoto & Nishimura 1998); returns a function that draws 32 bits, as an integer in [0, 2^32). */
function mt19937(seed: number): () => number {
  const [N, M] = [624, 397];
  const state = new Uint32Array(N);
  state[0] = seed;
  for (let i = 1; i < N; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let index = N;
  return () => {
    if (index === N) {
      for (let i = 0; i < N; i++) {
        const mixed = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
        state[i] = state[(i + M) % N] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      }
      index = 0;
    }
    let y = state[index++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}
