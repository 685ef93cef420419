/**
 * Random numbers by position: element i of a tensor depends on the seed, the tensor's name and i alone, so any range can be made
 * at any time, by any thread. Integer arithmetic only: the same on every machine.
 */

/** How the elements of a tensor are distributed. */
export type Distribution =
  /** The sum of four uniform bytes: bell-shaped, kurtosis -0.3, within 3.45 deviations. */
  | { kind: "normal"; mean: number; deviation: number }
  /** `map` of a uniform number in (0, 1); for small tensors. */
  | { kind: "uniform"; map: (u: number) => number };

/** Two words that no other tensor of this seed has. */
export type Key = readonly [number, number];

export function keyOf(seed: number, name: string): Key {
  let hash = Math.imul(seed, 0x9e3779b1) ^ 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193); // FNV-1a
  return [mix(hash, seed, 0x2545f491), mix(hash, seed, 0x6a09e667)];
}

/** Elements [begin, begin + values.length) of a tensor, begin + length < 2^32. */
export function fill(values: Float32Array, begin: number, [first, second]: Key, distribution: Distribution): void {
  if (distribution.kind === "uniform") {
    for (let i = 0; i < values.length; i++) {
      values[i] = distribution.map(((mix(begin + i, first, second) >>> 0) + 0.5) / 2 ** 32);
    }
    return;
  }
  const { mean, deviation } = distribution;
  const scale = deviation / Math.sqrt((4 * (256 ** 2 - 1)) / 12);
  const offset = mean - 510 * scale; // 4 bytes of mean 127.5
  for (let i = 0; i < values.length; i++) {
    const bits = mix(begin + i, first, second);
    const pairs = (bits & 0xff00ff) + ((bits >>> 8) & 0xff00ff);
    values[i] = ((pairs & 0xffff) + (pairs >>> 16)) * scale + offset;
  }
}

/** 32 random bits: murmur3's finaliser with a key word before either product. */
function mix(index: number, first: number, second: number): number {
  let x = index ^ first;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) + second;
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}
