import type { DenoiserConfig } from "./config.ts";

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
