import { describe, expect, it } from "vitest";
import { planMemory } from "../../src/gpu/plan.ts";
import { DEFAULT_PROFILE, Recording } from "../../src/gpu/recording.ts";
import { makeTensor, type Tensor } from "../../src/gpu/tensor.ts";
import { planDecoder } from "../../src/model/decoder_plan.ts";
import { parseImageConfig } from "../../src/model/image_config.ts";
import { recordImageDecoder, type DecodeOptions } from "../../src/model/image_decoder.ts";
import { Weights } from "../../src/model/weights.ts";

const MiB = 1 << 20;
const GiB = 1 << 30;

/** The decoder of SD and SDXL. */
const config = parseImageConfig({
  _class_name: "AutoencoderKL",
  block_out_channels: [128, 256, 512, 512],
  layers_per_block: 2,
  latent_channels: 4,
  norm_num_groups: 32,
  scaling_factor: 0.13025,
});

/** Weights of any name, without memory. */
class ShapesOnly extends Weights {
  readonly made: Tensor[] = [];

  override get(key: string, shape: readonly number[]): Tensor {
    const tensor = makeTensor(key, shape);
    this.made.push(tensor);
    return tensor;
  }

  override optional(): undefined {
    return undefined;
  }
}

function record(
  height: number,
  width: number,
  bindingBytes: number,
  options: Omit<DecodeOptions, "height" | "width"> = {},
): { flops: number; bytes: number } {
  const limits = { ...DEFAULT_PROFILE.limits, maxStorageBufferBindingSize: bindingBytes };
  const rec = new Recording("decode", { ...DEFAULT_PROFILE, limits });
  const weights = new ShapesOnly("vae", new Map());
  const latents = makeTensor("latents", [1, 4, height / 8, width / 8]);
  const image = makeTensor("image", [3, height, width]);
  recordImageDecoder(rec, config, weights, latents, image, { height, width, ...options });
  const flops = rec.commands.reduce((sum, command) => sum + (command.kind === "dispatch" ? command.flops : 0), 0);
  return { flops, bytes: planMemory([rec], [latents, image, ...weights.made]).bytes };
}

describe("the SDXL decoder without a GPU", () => {
  const unbounded = { bandBytes: Infinity, memoryBytes: Infinity };

  it.each([
    { size: 512, bindingBytes: 128 * MiB, memoryBytes: undefined, mostBytes: 400 * MiB },
    { size: 1024, bindingBytes: 128 * MiB, memoryBytes: undefined, mostBytes: 1250 * MiB },
    { size: 1024, bindingBytes: GiB, memoryBytes: undefined, mostBytes: 1250 * MiB },
    { size: 2048, bindingBytes: 128 * MiB, memoryBytes: 4.5 * GiB, mostBytes: 4.5 * GiB },
    { size: 2048, bindingBytes: GiB, memoryBytes: 4.5 * GiB, mostBytes: 4.5 * GiB },
  ])("computes nothing twice at $size px with $memoryBytes bytes, bindings of $bindingBytes", (row) => {
    const { size, bindingBytes, memoryBytes, mostBytes } = row;
    const whole = record(size, size, Infinity, unbounded);
    const banded = record(size, size, bindingBytes, memoryBytes === undefined ? {} : { memoryBytes });
    expect(banded.flops / whole.flops).toBeLessThan(1.001);
    expect(banded.bytes).toBeLessThan(mostBytes);
    expect(banded.bytes).toBeLessThan(whole.bytes / 2);
  });

  it.each([128 * MiB, GiB])(
    "needs at most 1.5 GiB at 2048 px, for 2.8 times the work, with bindings of %d",
    (bindingBytes) => {
      const whole = record(2048, 2048, Infinity, unbounded);
      const banded = record(2048, 2048, bindingBytes);
      expect(banded.bytes).toBeLessThan(1.5 * GiB);
      expect(banded.flops / whole.flops).toBeLessThan(2.8);
    },
  );

  it.each([
    { height: 1024, width: 1024, memoryBytes: 0.5 * GiB },
    { height: 1024, width: 1024, memoryBytes: 0.75 * GiB },
    { height: 1024, width: 1024, memoryBytes: 8 * GiB },
    { height: 1208, width: 712, memoryBytes: 0.75 * GiB }, // no band of any activation ends where the picture does
  ])("plans what is then recorded: $height x $width with $memoryBytes bytes", ({ height, width, memoryBytes }) => {
    const bindingBytes = 128 * MiB;
    const planned = planDecoder(config, height / 8, width / 8, { bandBytes: 16 * MiB, memoryBytes, bindingBytes });
    const recorded = record(height, width, bindingBytes, { memoryBytes });
    expect(recorded.flops / planned.flops).toBeGreaterThan(1); // norms and copies are not planned
    expect(recorded.flops / planned.flops).toBeLessThan(1.005);
    expect(recorded.bytes / planned.bytes).toBeLessThan(1);
    expect(recorded.bytes / planned.bytes).toBeGreaterThan(0.8);
  });
});

describe("planDecoder", () => {
  const plan = (memoryBytes: number, size = 2048): ReturnType<typeof planDecoder> =>
    planDecoder(config, size / 8, size / 8, { bandBytes: 16 * MiB, memoryBytes, bindingBytes: 128 * MiB });

  it("needs less work with more memory, and stays within it", () => {
    const budgets = Array.from({ length: 20 }, (_, n) => (1 + n / 4) * GiB);
    const plans = budgets.map((bytes) => plan(bytes));
    plans.forEach(({ bytes, flops }, n) => {
      expect(bytes).toBeLessThanOrEqual(budgets[n]!);
      if (n > 0) expect(flops).toBeLessThanOrEqual(plans[n - 1]!.flops);
    });
    expect(new Set(plans.map(({ flops }) => flops)).size).toBeGreaterThan(3);
  });

  it("keeps the input of the last block where the block itself is too large", () => {
    const { chain, kept } = plan(1.5 * GiB);
    const last = chain.filter(({ name }, i) => kept[i] && !name.includes("conv_out")).at(-1)!;
    expect(last).toMatchObject({ kind: "resnet", name: "decoder.up_blocks.2.resnets.2", height: 1024, channels: 256 });
  });

  it("takes the least that is possible where nothing fits", () => {
    const least = plan(0);
    expect(least.bytes).toBeGreaterThan(0);
    expect(plan(least.bytes).flops).toBe(least.flops);
    expect(plan(least.bytes - 1).flops).toBe(least.flops);
  });

  it("keeps everything where it fits", () => {
    expect(plan(Infinity).kept.every(Boolean)).toBe(true);
    expect(plan(1.5 * GiB, 1024).kept.every(Boolean)).toBe(true);
  });
});
