/** The device of a benchmark, what it is, and its ceilings. Runs in a page and, given Dawn's `GPU`, in Node. */
import { Gpu, type GpuOptions } from "../../../src/gpu/device.ts";
import { planMemory } from "../../../src/gpu/plan.ts";
import { Program } from "../../../src/gpu/program.ts";
import { Recording } from "../../../src/gpu/recording.ts";
import { makeTensor, type Tensor } from "../../../src/gpu/tensor.ts";
import { ceilingCopy, ceilingFma } from "../../../src/kernels/ceiling.ts";
import { chooseVariants, type Trial } from "../../../src/kernels/trial.ts";

export interface Environment {
  /** "Chromium 150.0.1", "node 22.1 with Dawn". */
  runtime: string;
  flags: string[];
  adapter: {
    vendor: string;
    architecture: string;
    device: string;
    description: string;
    /** A CPU implementation: its times say nothing of a GPU. */
    software: boolean;
    matrices: string[];
  };
  features: string[];
  limits: Record<string, number>;
  /** The kernels that won the trial. */
  variants: Trial["variants"];
  ceilings?: { flopsPerSecond: number; bytesPerSecond: number };
}

let gpu: Gpu | undefined;
let source: Pick<GpuOptions, "gpu"> = {};

/** Where WebGPU comes from when not from the browser. */
export const useGpu = (dawn: GPU): void => void (source = { gpu: dawn });
export const gpuSource = (): Pick<GpuOptions, "gpu"> => source;

/** The device, asked for once. */
export async function device(): Promise<Gpu> {
  if (gpu) return gpu;
  gpu = await Gpu.request(source);
  await chooseVariants(gpu);
  return gpu;
}

export async function describe(): Promise<Omit<Environment, "runtime" | "flags">> {
  const { device: dev, info, isSoftware, profile } = await device();
  const { vendor, architecture, device: name, description } = info;
  const limits: Record<string, number> = {};
  for (const key in dev.limits) {
    const value = (dev.limits as unknown as Record<string, unknown>)[key];
    if (typeof value === "number") limits[key] = value;
  }
  const configs = (info as { subgroupMatrixConfigs?: Iterable<Record<string, unknown>> }).subgroupMatrixConfigs ?? [];
  return {
    adapter: {
      vendor,
      architecture,
      device: name,
      description,
      software: isSoftware,
      matrices: [...configs].map(
        ({ M, N, K, componentType, resultComponentType }) => `${M}x${N}x${K} ${componentType}>${resultComponentType}`,
      ),
    },
    features: [...dev.features].sort(),
    limits,
    variants: profile.variants,
  };
}

/** GPU seconds of all dispatches of one run together. */
export const seconds = async (program: Program): Promise<number> =>
  (await program.time()).reduce((total, { milliseconds }) => total + milliseconds / 1000, 0);

/** A recording with the memory and the program it needs. */
export async function build(
  dev: Gpu,
  tensors: Tensor[],
  record: (rec: Recording) => void,
): Promise<{ program: Program; recording: Recording }> {
  await dev.arena.allocate(tensors);
  const recording = new Recording("bench", dev.profile);
  record(recording);
  await dev.arena.workspace(planMemory([recording]));
  return { program: await Program.build(dev, recording), recording };
}

export const flopsOf = (recording: Recording): number =>
  recording.commands.reduce((sum, command) => sum + (command.kind === "dispatch" ? command.flops : 0), 0);

/** Operations and bytes a second that the device reaches at this very moment, at best. */
export interface Ceilings {
  flops(): Promise<number>;
  bytes(): Promise<number>;
}

const probes = new Map<Gpu, Promise<Ceilings>>();

/** Probes that stay, to be run beside each sample. */
export function ceilings(dev: Gpu): Promise<Ceilings> {
  let made = probes.get(dev);
  if (!made) probes.set(dev, (made = makeProbes(dev)));
  return made;
}

async function makeProbes(dev: Gpu): Promise<Ceilings> {
  const out = makeTensor("ceiling_out", [1]);
  const threads = dev.isSoftware ? 1 << 13 : 1 << 20;
  const fma = await build(dev, [out], (rec) => ceilingFma(rec, out, threads, 256));
  const floats = dev.isSoftware ? 1 << 22 : 1 << 24; // beyond the last cache of what is measured
  const [x, y] = [makeTensor("ceiling_x", [floats]), makeTensor("ceiling_y", [floats])];
  const copy = await build(dev, [x, y], (rec) => ceilingCopy(rec, x, y));
  await Promise.all([fma.program.run(), copy.program.run()]);
  return {
    flops: async () => flopsOf(fma.recording) / (await seconds(fma.program)),
    bytes: async () => (2 * 4 * floats) / (await seconds(copy.program)),
  };
}
