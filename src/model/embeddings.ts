import type { DenoiserConfig } from "./config.ts";
import type { TextConfig } from "./text_config.ts";

/**
 * The sine-cosine embedding of one axis: [size, width / 2], each row [sin(c w_k), cos(c w_k)], w_k = 10000^(-k / (width / 4)).
 * `sincos` is diffusers' get_2d_sincos_pos_embed; `centered_sincos` puts any size and shape inside the trained range.
 */
export function positionTable(config: DenoiserConfig, size: number, otherSize: number): Float32Array<ArrayBuffer> {
  const quarter = config.width / 4;
  const { position } = config;
  const table = new Float32Array(size * quarter * 2);
  for (let i = 0; i < size; i++) {
    const coordinate =
      position.type === "sincos"
        ? i / (size / position.baseSize) / position.interpolationScale
        : ((i - (size - 1) / 2) * position.baseSize) / Math.max(size, otherSize);
    for (let k = 0; k < quarter; k++) {
      const angle = coordinate * 10000 ** (-k / quarter);
      table[i * 2 * quarter + k] = Math.sin(angle);
      table[i * 2 * quarter + quarter + k] = Math.cos(angle);
    }
  }
  return table;
}

export const TIMESTEP_CHANNELS = 256;

/**
 * [values.length, 256]: [cos(t w_k), sin(t w_k)], w_k = 10000^(-k / 128). Rounded to f32 where PyTorch rounds, since at t = 999 the last
 * bit of the angle is visible. Source: diffusers get_timestep_embedding (flip_sin_to_cos, downscale_freq_shift 0).
 */
export function timestepEmbedding(values: readonly number[]): Float32Array<ArrayBuffer> {
  const half = TIMESTEP_CHANNELS / 2;
  const out = new Float32Array(values.length * TIMESTEP_CHANNELS);
  const logBase = Math.fround(-Math.log(10000));
  values.forEach((value, row) => {
    for (let k = 0; k < half; k++) {
      const frequency = Math.fround(Math.exp(Math.fround(Math.fround(logBase * k) / half)));
      const angle = Math.fround(Math.fround(value) * frequency);
      out[row * TIMESTEP_CHANNELS + k] = Math.cos(angle);
      out[row * TIMESTEP_CHANNELS + half + k] = Math.sin(angle);
    }
  });
  return out;
}

/**
 * Bucket of every distance key - query from -(n - 1) to n - 1, for the encoder's bidirectional attention: half of the buckets for
 * each sign; of these, half for the distances below it one by one, the rest logarithmic up to maxDistance. Rounds to f32 where
 * transformers does (T5Attention._relative_position_bucket), since a logarithm may fall on a boundary.
 */
export function relativeBuckets(
  n: number,
  { buckets, maxDistance }: Pick<TextConfig, "buckets" | "maxDistance">,
): Uint32Array<ArrayBuffer> {
  const half = Math.floor(buckets / 2);
  const exact = Math.floor(half / 2);
  const span = Math.fround(Math.log(maxDistance / exact));
  return Uint32Array.from({ length: 2 * n - 1 }, (_, i) => {
    const distance = Math.abs(i - (n - 1));
    const log = Math.fround(Math.log(Math.fround(distance / exact)));
    const far = exact + Math.trunc(Math.fround(Math.fround(log / span) * (half - exact)));
    return (i > n - 1 ? half : 0) + (distance < exact ? distance : Math.min(far, half - 1));
  });
}
