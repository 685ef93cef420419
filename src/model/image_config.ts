import { ScanvasError } from "../errors.ts";

/** `vae/config.json` of a diffusers AutoencoderKL, as far as its decoder goes, checked and with diffusers' defaults filled in. */
export interface ImageConfig {
  readonly latentChannels: number;
  readonly imageChannels: number;
  /** Channels of the up blocks, in the order they run: from the latents' resolution to the picture's. */
  readonly channels: readonly number[];
  readonly resnetsPerBlock: number;
  readonly groups: number;
  readonly midAttention: boolean;
  readonly postQuantConv: boolean;
  readonly scalingFactor: number;
  readonly shiftFactor: number;
}

const refuse = (message: string): never => {
  throw new ScanvasError("ModelConfigError", `vae/config.json: ${message}`);
};

/** ModelConfigError for anything this engine cannot compute; nothing is guessed. */
export function parseImageConfig(config: Readonly<Record<string, unknown>>): ImageConfig {
  const count = (value: unknown, key: string): number =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= 1 << 16
      ? value
      : refuse(`${key} is ${JSON.stringify(value)}, expected a positive integer`);
  const expect = <T>(key: string, allowed: readonly T[], fallback: T): T => {
    const value = (config[key] ?? fallback) as T;
    return allowed.includes(value)
      ? value
      : refuse(`${key} is ${JSON.stringify(value)}; supported: ${allowed.map((v) => JSON.stringify(v)).join(", ")}`);
  };
  const real = (key: string, fallback: number): number => {
    const value = config[key] ?? fallback;
    return typeof value === "number" && Number.isFinite(value)
      ? value
      : refuse(`${key} is ${JSON.stringify(value)}, expected a number`);
  };
  expect("_class_name", ["AutoencoderKL"], "AutoencoderKL");
  expect("act_fn", ["silu"], "silu");
  const blockChannels = config.block_out_channels;
  if (!Array.isArray(blockChannels) || blockChannels.length !== 4) {
    return refuse(`block_out_channels is ${JSON.stringify(blockChannels)}; four levels (a factor of 8) are supported`);
  }
  const channels = blockChannels.map((value) => count(value, "block_out_channels")).reverse();
  const groups = count(config.norm_num_groups ?? 32, "norm_num_groups");
  for (const value of channels) {
    if (value % groups !== 0 || value % 4 !== 0)
      refuse(`block_out_channels holds ${value}, not a multiple of 4 and of ${groups} groups`);
  }
  if (channels[0]! > 512)
    refuse(`block_out_channels ends in ${channels[0]}; the mid block's attention takes at most 512`);
  for (const type of (config.up_block_types as unknown[] | undefined) ?? []) {
    if (type !== "UpDecoderBlock2D")
      refuse(`up_block_types holds ${JSON.stringify(type)}; supported: "UpDecoderBlock2D"`);
  }
  for (const key of ["latents_mean", "latents_std"]) {
    if (config[key] !== undefined && config[key] !== null)
      refuse(`${key} is set; only scaling_factor and shift_factor are supported`);
  }
  const scalingFactor = real("scaling_factor", 0.18215);
  if (scalingFactor === 0) refuse("scaling_factor is 0");
  return {
    latentChannels: count(config.latent_channels ?? 4, "latent_channels"),
    imageChannels: expect("out_channels", [3], 3),
    channels,
    resnetsPerBlock: count(config.layers_per_block ?? 1, "layers_per_block") + 1,
    groups,
    midAttention: expect("mid_block_add_attention", [true, false], true),
    postQuantConv: expect("use_post_quant_conv", [true, false], true),
    scalingFactor,
    shiftFactor: real("shift_factor", 0),
  };
}
