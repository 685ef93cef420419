/**
 * The diffusion time grid, with diffusers' float semantics: betas and cumulative products as torch computes them in f32, timesteps
 * and interpolation as numpy does in f64. Small t is why this is exact to the bit: there 1 - alpha_bar is about 1e-4, so one f32
 * rounding too many already shows in the fourth digit of sigma.
 * Source: diffusers scheduling_dpmsolver_multistep.py, scheduling_ddim.py, scheduling_euler_discrete.py (0.42).
 */
import { ScanvasError } from "../errors.ts";
import type { ResolvedConfig } from "./scheduler_config.ts";

const f32 = Math.fround;

/** alpha_bar [num_train_timesteps] f32. Scheduler classes other than DDIM put 2^-24 in the place of a final zero (zero SNR). */
export function alphasCumprod(config: ResolvedConfig, avoidZero: boolean): Float32Array {
  const betas = config.rescale_betas_zero_snr ? rescaleToZeroSnr(trainingBetas(config)) : trainingBetas(config);
  const product = cumulativeProduct(betas);
  if (config.rescale_betas_zero_snr && avoidZero) product[product.length - 1] = 2 ** -24;
  return product;
}

/** sigma = sqrt((1 - alpha_bar) / alpha_bar), [num_train_timesteps] f32. */
export function sigmasOf(alphaBar: Float32Array): Float32Array {
  return alphaBar.map((a) => Math.sqrt(f32(f32(1 - a) / a)));
}

function trainingBetas(config: ResolvedConfig): Float32Array {
  const { num_train_timesteps: count, beta_start: start, beta_end: end } = config;
  if (config.trained_betas !== null) return Float32Array.from(config.trained_betas);
  if (config.beta_schedule === "linear") return torchLinspace(start, end, count);
  if (config.beta_schedule === "scaled_linear") {
    return torchLinspace(Math.sqrt(start), Math.sqrt(end), count).map((root) => root * root);
  }
  const alphaBar = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2; // squaredcos_cap_v2, Nichol & Dhariwal 2021
  return Float32Array.from({ length: count }, (_, i) =>
    Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999),
  );
}

/** torch.linspace in f32: from both ends to the middle, each value one fused multiply-add (what AVX2 and AVX-512 machines give). */
function torchLinspace(start: number, end: number, count: number): Float32Array {
  const [first, last] = [f32(start), f32(end)];
  const step = f32(f32(last - first) / (count - 1));
  // A product of f32 and a small integer is exact in f64, so storing to f32 rounds once, as the fused operation does.
  const at = (i: number) => (i < count >> 1 ? first + step * i : last - step * (count - 1 - i));
  return Float32Array.from({ length: count }, (_, i) => at(i));
}

/** cumprod(1 - betas): torch's CPU kernel keeps the running product in f64 and stores f32. */
function cumulativeProduct(betas: Float32Array): Float32Array {
  let product = 1;
  return betas.map((beta) => (product *= f32(1 - beta)));
}

/** Algorithm 1 of Lin et al., arXiv 2305.08891, with torch's f32 rounding (diffusers rescale_zero_terminal_snr). */
function rescaleToZeroSnr(betas: Float32Array): Float32Array {
  const roots = cumulativeProduct(betas).map(Math.sqrt);
  const [first, last] = [roots[0], roots[roots.length - 1]];
  const stretch = f32(first / f32(first - last));
  const alphaBar = roots.map((root) => {
    const shifted = f32(f32(root - last) * stretch);
    return shifted * shifted;
  });
  return alphaBar.map((a, i) => 1 - (i === 0 ? a : f32(a / alphaBar[i - 1])));
}

/**
 * Timesteps of `steps` inference steps, descending, f64 and not yet rounded. The three classes differ in how many points they lay
 * over which range, hence the arguments: `points` of linspace and leading (DPM-Solver lays one more and leaves the last one out),
 * `range` the number of training steps in use. Table 2 of arXiv 2305.08891.
 */
export function spacedTimesteps(config: ResolvedConfig, steps: number, points: number, range: number): number[] {
  if (config.timestep_spacing === "linspace") {
    const stride = points > 1 ? (range - 1) / (points - 1) : 0;
    const grid = Array.from({ length: points }, (_, i) => (i > 0 && i === points - 1 ? range - 1 : i * stride));
    return grid.reverse().slice(0, steps);
  }
  if (config.timestep_spacing === "leading") {
    const stride = Math.floor(range / points);
    if (stride === 0) {
      throw new ScanvasError(
        "InvalidArgumentError",
        `numInferenceSteps: got ${steps}; with timestep_spacing "leading" this sampler takes at most ${range - points + steps}`,
      );
    }
    const grid = Array.from({ length: points }, (_, i) => i * stride + config.steps_offset);
    return grid.reverse().slice(0, steps);
  }
  // trailing: numpy.arange(range, 0, -N / steps), whose spacing is that of its first two values. For some counts (61, 103, ...) f64
  // rounding gives arange one value too many, near 0, and diffusers then runs an extra step at timestep -1. We do not.
  const stride = range - config.num_train_timesteps / steps - range;
  const length = Math.min(steps, Math.ceil((0 - range) / (-config.num_train_timesteps / steps)));
  return Array.from({ length }, (_, i) => roundHalfEven(range + i * stride) - 1);
}

/** numpy's and torch's round. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** numpy.interp of a table over 0, 1, 2, ... at x. */
export function interpolate(table: ArrayLike<number>, x: number): number {
  const last = table.length - 1;
  if (x <= 0) return table[0];
  if (x >= last) return table[last];
  const i = Math.floor(x);
  return (table[i + 1] - table[i]) * (x - i) + table[i];
}

/** Sigmas [steps] from largest to smallest as Karras et al. space them (arXiv 2206.00364, equation 5, rho 7). */
export function karrasSigmas(config: ResolvedConfig, largest: number, smallest: number, steps: number): number[] {
  const low = (config.sigma_min ?? smallest) ** (1 / 7);
  const high = (config.sigma_max ?? largest) ** (1 / 7);
  return Array.from({ length: steps }, (_, i) => (high + (steps > 1 ? i / (steps - 1) : 0) * (low - high)) ** 7);
}

/** The fractional timestep whose sigma is `sigma`, linear in log sigma, within 0 .. N - 1 (diffusers _sigma_to_t). */
export function timestepOfSigma(logSigmas: Float32Array, sigma: number): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  let low = 0;
  while (low < logSigmas.length - 2 && logSigmas[low + 1] <= logSigma) low++;
  const weight = (logSigmas[low] - logSigma) / f32(logSigmas[low] - logSigmas[low + 1]);
  const clipped = Math.min(Math.max(weight, 0), 1);
  return (1 - clipped) * low + clipped * (low + 1);
}
