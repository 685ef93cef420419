/**
 * A cheap look at latents [C, h, w] as a picture of w x h pixels: each pixel's colour is a linear function of its C values, fitted for
 * each VAE on what it decodes (tools/fit_preview.ts). The real decoder costs a thousand times as much.
 */

/** A colour, 0..1, as a linear function of a latent pixel: `weights[channel][colour]` and `bias[colour]`. */
export interface PreviewFit {
  readonly weights: readonly (readonly number[])[];
  readonly bias: readonly number[];
}

/** RGBA, 8 bits each, row by row. */
export function projectLatents(
  latents: Float32Array,
  pixels: number,
  fit: PreviewFit = guess(latents, pixels),
): Uint8ClampedArray<ArrayBuffer> {
  const data = new Uint8ClampedArray(pixels * 4);
  const { weights, bias } = fit;
  for (let i = 0; i < pixels; i++) {
    for (let colour = 0; colour < 3; colour++) {
      let value = bias[colour]!;
      for (let c = 0; c < weights.length; c++) value += weights[c]![colour]! * latents[c * pixels + i]!;
      data[4 * i + colour] = value * 255;
    }
    data[4 * i + 3] = 255;
  }
  return data;
}

/** Without a fit: the first three channels as red, green and blue, each spread over its own range. Shapes show, colours do not. */
function guess(latents: Float32Array, pixels: number): PreviewFit {
  const channels = latents.length / pixels;
  const weights = Array.from({ length: channels }, () => [0, 0, 0]);
  const bias = [0, 0, 0];
  for (let c = 0; c < Math.min(3, channels); c++) {
    const values = latents.subarray(c * pixels, (c + 1) * pixels);
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const scale = 1 / Math.max(high - low, 1e-6);
    weights[c]![c] = scale;
    bias[c] = -low * scale;
  }
  return { weights, bias };
}
