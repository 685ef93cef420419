/**
 * diffusers' `scheduler_config.json`: reading it, checking it, and the rule by which one scheduler's config serves another
 * (`ConfigMixin.from_config`: keys that both know are carried over, everything else takes the new class's own default).
 */
import { ScanvasError } from "../errors.ts";
import type { SamplerName } from "./step.ts";

/** The file as it was read, keys and values untouched. `readSchedulerConfig` makes one; `resolveConfig` gives the keys types. */
export interface SchedulerConfig {
  readonly _class_name?: string;
  readonly [key: string]: unknown;
}

export type PredictionType = "epsilon" | "v_prediction" | "sample";

/** Every option that reaches the numbers, as one of our samplers will use it. */
export interface ResolvedConfig {
  num_train_timesteps: number;
  beta_start: number;
  beta_end: number;
  beta_schedule: "linear" | "scaled_linear" | "squaredcos_cap_v2";
  trained_betas: readonly number[] | null;
  rescale_betas_zero_snr: boolean;
  prediction_type: PredictionType;
  timestep_spacing: "linspace" | "leading" | "trailing";
  steps_offset: number;
  final_sigmas_type: "zero" | "sigma_min";
  use_karras_sigmas: boolean;
  sigma_min: number | null;
  sigma_max: number | null;
  solver_order: 1 | 2;
  solver_type: "midpoint" | "heun";
  lower_order_final: boolean;
  euler_at_final: boolean;
  lambda_min_clipped: number;
  set_alpha_to_one: boolean;
  clip_sample: boolean;
  clip_sample_range: number;
}

/** diffusers' class names of the samplers we have. */
export const SAMPLER_CLASSES: ReadonlyMap<string, SamplerName> = new Map([
  ["DPMSolverMultistepScheduler", "dpm_solver"],
  ["DDIMScheduler", "ddim"],
  ["EulerDiscreteScheduler", "euler"],
]);

// The other members of diffusers' KarrasDiffusionSchedulers that share these betas: diffusers itself lets from_config go from one
// to another. Such a config is run by dpm_solver unless the caller names a sampler.
const COMPATIBLE_CLASSES = [
  ..."DDPM PNDM LMSDiscrete HeunDiscrete EulerAncestralDiscrete DPMSolverSinglestep KDPM2Discrete".split(" "),
  ..."KDPM2AncestralDiscrete DEISMultistep UniPCMultistep DPMSolverSDE".split(" "),
].map((name) => `${name}Scheduler`);

// Constructor arguments of all these classes in diffusers 0.42. One that the chosen class does not take is ignored, as diffusers does.
const KNOWN_KEYS = new Set(
  (
    "algorithm_type beta_end beta_schedule beta_start clip_sample clip_sample_range disable_corrector dynamic_thresholding_ratio " +
    "euler_at_final final_sigmas_type flow_shift interpolation_type lambda_min_clipped lower_order_final num_train_timesteps " +
    "predict_x0 prediction_type rescale_betas_zero_snr rho sample_max_value set_alpha_to_one shift_terminal sigma_data sigma_max " +
    "sigma_min sigma_schedule skip_prk_steps solver_order solver_p solver_type steps_offset thresholding time_shift_type " +
    "timestep_spacing timestep_type trained_betas use_beta_sigmas use_dynamic_shifting use_exponential_sigmas use_flow_sigmas " +
    "use_karras_sigmas use_lu_lambdas variance_type"
  ).split(" "),
);

/** What an option may be. */
interface Rule {
  ok(value: unknown): boolean;
  expected: string;
}
const oneOf = (...values: unknown[]): Rule => ({
  ok: (value) => values.includes(value),
  expected: values.map((value) => JSON.stringify(value)).join(" or "),
});
const orNull = (rule: Rule): Rule => ({
  ok: (value) => value === null || rule.ok(value),
  expected: `${rule.expected} or null`,
});
const flag: Rule = { ok: (value) => typeof value === "boolean" || value === null, expected: "true or false" };
const off: Rule = {
  ok: (value) => value === false || value === null,
  expected: "false: scanvas does not have this option",
};
const number: Rule = { ok: (value) => typeof value === "number" && !Number.isNaN(value), expected: "a number" };
const positive: Rule = { ok: (value) => Number.isFinite(value) && Number(value) > 0, expected: "a positive number" };
const beta: Rule = { ok: (value) => positive.ok(value) && Number(value) < 1, expected: "a number between 0 and 1" };
const betas: Rule = {
  ok: (value) => Array.isArray(value) && value.every(beta.ok),
  expected: "numbers between 0 and 1",
};
const integer = (low: number, high: number): Rule => ({
  ok: (value) => Number.isInteger(value) && Number(value) >= low && Number(value) <= high,
  expected: `an integer from ${low} to ${high}`,
});

const SHARED = {
  num_train_timesteps: integer(2, 1e6),
  beta_start: beta,
  beta_end: beta,
  beta_schedule: oneOf("linear", "scaled_linear", "squaredcos_cap_v2"),
  trained_betas: orNull(betas),
  rescale_betas_zero_snr: flag,
  prediction_type: oneOf("epsilon", "v_prediction", "sample"),
  timestep_spacing: oneOf("linspace", "leading", "trailing"),
  steps_offset: integer(0, 1e6),
};
const SIGMAS = {
  final_sigmas_type: oneOf("zero", "sigma_min"),
  use_karras_sigmas: flag,
  sigma_min: orNull(positive),
  sigma_max: orNull(positive),
  use_exponential_sigmas: off,
  use_beta_sigmas: off,
};

/** What each class takes, and what of it we can do. */
const OPTIONS: Readonly<Record<SamplerName, Readonly<Record<string, Rule>>>> = {
  dpm_solver: {
    ...SHARED,
    ...SIGMAS,
    algorithm_type: oneOf("dpmsolver++"),
    solver_order: oneOf(1, 2),
    solver_type: oneOf("midpoint", "heun", "logrho", "bh1", "bh2"), // from_config turns DEIS' and UniPC's into midpoint
    lower_order_final: flag,
    euler_at_final: flag,
    lambda_min_clipped: orNull(number), // null is what JSON.stringify makes of -Infinity
    thresholding: off,
    use_lu_lambdas: off,
    use_flow_sigmas: off,
    variance_type: oneOf(null, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
  },
  ddim: { ...SHARED, set_alpha_to_one: flag, clip_sample: flag, clip_sample_range: positive, thresholding: off },
  euler: { ...SHARED, ...SIGMAS, interpolation_type: oneOf("linear"), timestep_type: oneOf("discrete") },
};

const DEFAULTS: ResolvedConfig = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: "linear",
  trained_betas: null,
  rescale_betas_zero_snr: false,
  prediction_type: "epsilon",
  timestep_spacing: "linspace", // ddim: leading
  steps_offset: 0,
  final_sigmas_type: "zero",
  use_karras_sigmas: false,
  sigma_min: null,
  sigma_max: null,
  solver_order: 2,
  solver_type: "midpoint",
  lower_order_final: true,
  euler_at_final: false,
  lambda_min_clipped: -Infinity,
  set_alpha_to_one: true,
  clip_sample: true,
  clip_sample_range: 1,
};

/**
 * Reads `scheduler_config.json`: its text, or an object. Python writes `-Infinity` (PixArt's lambda_min_clipped), which is not JSON;
 * in text it is read as such, and in an object the strings "-Infinity", "Infinity" and "NaN" of our converter's manifest stand for
 * it. Throws ModelConfigError.
 */
export function readSchedulerConfig(source: unknown): SchedulerConfig {
  let value = source;
  if (typeof source === "string") {
    try {
      value = JSON.parse(source.replace(/("(?:[^"\\]|\\.)*")|(-?)\bInfinity\b|\bNaN\b/g, pythonNumber)) as unknown;
    } catch (cause) {
      throw new ScanvasError("ModelConfigError", "scheduler_config.json: not JSON", { cause });
    }
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw refuse("scheduler_config.json", value, "an object");
  }
  const numbers = new Map<unknown, number>([-Infinity, Infinity, NaN].map((number) => [String(number), number]));
  const entries = Object.entries(value).map(([key, option]: [string, unknown]) => [key, numbers.get(option) ?? option]);
  const config = Object.fromEntries(entries) as SchedulerConfig;
  const className: unknown = config._class_name;
  if (className !== undefined && !(typeof className === "string" && isKnownClass(className))) {
    throw refuse("scheduler_config.json: _class_name", className, [...SAMPLER_CLASSES.keys()].join(", "));
  }
  for (const [key, option] of Object.entries(config)) {
    if (KNOWN_KEYS.has(key) || key.startsWith("_") || option === null || option === false) continue;
    throw refuse(`scheduler_config.json: unknown option ${key}`, option, "an option of diffusers 0.42's schedulers");
  }
  return config;
}

/** The sampler that a config asks for when the caller names none. */
export function defaultSampler(config: SchedulerConfig): SamplerName {
  return SAMPLER_CLASSES.get(config._class_name ?? "") ?? "dpm_solver";
}

/** The options of `config` as sampler `name` uses them: `Class.from_config(config)`. Throws ModelConfigError for what we cannot do. */
export function resolveConfig(name: SamplerName, config: SchedulerConfig): ResolvedConfig {
  const resolved: Record<string, unknown> = { ...DEFAULTS };
  if (name === "ddim") resolved.timestep_spacing = "leading";
  const defaulted = Array.isArray(config._use_default_values) ? (config._use_default_values as unknown[]) : [];
  for (const [key, rule] of Object.entries(OPTIONS[name])) {
    const value = config[key];
    if (value === undefined || defaulted.includes(key)) continue;
    if (!rule.ok(value)) throw refuse(`${name}: ${key}`, value, rule.expected);
    if (key in DEFAULTS) resolved[key] = rule === flag ? value === true : value;
  }
  if (resolved.solver_type !== "heun") resolved.solver_type = "midpoint";
  resolved.lambda_min_clipped ??= -Infinity;
  const { trained_betas: trained, num_train_timesteps: count } = resolved as unknown as ResolvedConfig;
  if (trained !== null && trained.length !== count) {
    throw refuse(`${name}: trained_betas`, `${trained.length} numbers`, `num_train_timesteps = ${count} numbers`);
  }
  return resolved as unknown as ResolvedConfig;
}

function isKnownClass(name: string): boolean {
  return SAMPLER_CLASSES.has(name) || COMPATIBLE_CLASSES.includes(name);
}

function pythonNumber(match: string, quoted: string | undefined, minus: string | undefined): string {
  if (quoted !== undefined) return match;
  return match === "NaN" ? "null" : `${minus}1e999`; // JSON.parse reads 1e999 as Infinity
}

function refuse(what: string, got: unknown, expected: string): ScanvasError {
  const shown = typeof got === "string" ? got : (JSON.stringify(got) ?? String(got));
  return new ScanvasError("ModelConfigError", `${what}: got ${shown.slice(0, 80)}, supported: ${expected}`);
}
