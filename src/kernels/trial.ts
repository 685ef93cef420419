import { ScanvasError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { KernelVariant, KernelVariants } from "../gpu/recording.ts";
import type { KernelCase } from "./case.ts";
import { prepareCase, runCase } from "./run_case.ts";

/** What one variant did in the trial of its family. */
export interface TrialResult {
  readonly variant: KernelVariant;
  /** The worst of its outputs, relative; Infinity where it could not even run. */
  readonly error: number;
  readonly tolerance: number;
  /** Floating-point operations a second; 0 for a wrong result. */
  readonly rate: number;
}

/** Of each family that was tried, every candidate; `variants` are the fastest of those with right results. */
export interface Trial {
  readonly variants: KernelVariants;
  readonly results: Readonly<Partial<Record<keyof KernelVariants, readonly TrialResult[]>>>;
}

/** A small odd case that shows whether a variant is right, and a larger one that shows how fast it is. */
export interface TrialCases {
  readonly check: KernelCase;
  readonly time: KernelCase;
}

const remembered = new Map<string, Trial>();
const FILE = "scanvas-adapters.json";
/** Raise when a kernel that is tried changes, so that the trial runs again. */
const TRIAL_VERSION = 4;

/**
 * Finds the kernels for this device by trying them: each variant that the device could run is held to its CPU twin and timed for a moment, and
 * the fastest right one is taken. Names of devices and drivers play no part. A tile in workgroup memory wins on most GPUs, registers
 * alone on Apple's and on CPU implementations; f16 and subgroup matrices are tried where they were asked for and exist. Without
 * them the families have the same two candidates, and gemm's choice holds for all. Remembered per adapter, on disk where the
 * origin has a file system. Also sets how much work a submit may hold: a tenth of a second of the best gemm.
 */
export async function chooseVariants(gpu: Gpu): Promise<Trial> {
  const { f16, matrix } = gpu.profile;
  const key = `${TRIAL_VERSION}|${gpu.adapterKey}|${f16 ? `f16 ${JSON.stringify(matrix)}` : "f32"}`;
  let trial = remembered.get(key) ?? (await readTrials())[key];
  if (!trial) {
    trial = await runTrial(gpu);
    await writeTrial(key, trial);
  }
  remembered.set(key, trial);
  gpu.profile = { ...gpu.profile, variants: trial.variants };
  gpu.submitFlops = Math.max(...trial.results.gemm!.map(({ rate }) => rate)) / 10;
  return trial;
}

async function runTrial(gpu: Gpu): Promise<Trial> {
  const { trialCases } = await import("./trial_cases.ts");
  const { f16, matrix } = gpu.profile;
  const plain: KernelVariant[] = ["tile", "register"];
  const all: KernelVariant[] = f16 ? [...plain, "tile_f16", ...(matrix ? ["matrix" as const] : [])] : plain;
  const tryAll = async (family: keyof KernelVariants, candidates: readonly KernelVariant[]): Promise<TrialResult[]> => {
    const results: TrialResult[] = [];
    for (const variant of candidates) results.push(await tryOne(gpu, variant, trialCases(family, variant)));
    return results;
  };
  const gemm = await tryAll("gemm", all);
  const variant = best(gemm);
  if (!f16) {
    const both = variant as KernelVariants["conv"];
    return { variants: { gemm: both, attention: both, scan: both, conv: both }, results: { gemm } };
  }
  // "register" keeps its sums in an f32 result, and has none here.
  const attention = await tryAll(
    "attention",
    all.filter((candidate) => candidate !== "register"),
  );
  const scan = await tryAll("scan", all);
  const conv = await tryAll(
    "conv",
    all.filter((candidate) => candidate !== "matrix"),
  );
  return {
    variants: {
      gemm: variant,
      attention: best(attention),
      scan: best(scan),
      conv: best(conv) as KernelVariants["conv"],
    },
    results: { gemm, attention, scan, conv },
  };
}

/** @throws NumericalError when no variant is right */
function best(results: readonly TrialResult[]): KernelVariant {
  const [first] = [...results].sort((a, b) => b.rate - a.rate);
  if (first!.rate > 0) return first!.variant;
  throw new ScanvasError(
    "NumericalError",
    `scanvas: no kernel gives right results on this device (errors ${results.map(({ variant, error }) => `${variant} ${error}`).join(", ")}); ` +
      "update the graphics driver, or use another browser",
  );
}

async function tryOne(gpu: Gpu, variant: KernelVariant, { check, time }: TrialCases): Promise<TrialResult> {
  const { tolerance } = check;
  try {
    const { errors } = await runCase(gpu, check);
    const error = Math.max(...Object.values(errors));
    return { variant, error, tolerance, rate: error <= tolerance ? await rateOf(gpu, time) : 0 };
  } catch (error) {
    await gpu.blame(error).catch(() => gpu.checkLost()); // of a lost device nothing may be concluded
    return { variant, error: Infinity, tolerance, rate: 0 }; // does not compile, or no memory for it: not a candidate
  }
}

/** Operations a second, repeated until 20 ms have passed, so that slow timers and launches do not decide. */
async function rateOf(gpu: Gpu, kernelCase: KernelCase): Promise<number> {
  const { program, recording, release } = await prepareCase(gpu, kernelCase);
  try {
    const flops = recording.commands.reduce(
      (sum, command) => sum + (command.kind === "dispatch" ? command.flops : 0),
      0,
    );
    const done = (): Promise<void> => gpu.wait(gpu.device.queue.onSubmittedWorkDone());
    await program.run(); // drivers finish compiling on the first run
    await done();
    for (let repeat = 1; ; repeat *= 4) {
      const start = performance.now();
      for (let i = 0; i < repeat; i++) await program.run();
      await done();
      const elapsed = performance.now() - start;
      if (elapsed >= 20) return (flops * repeat) / (elapsed / 1000);
    }
  } finally {
    release();
  }
}

async function readTrials(): Promise<Record<string, Trial>> {
  try {
    const root = await navigator.storage.getDirectory();
    const file = await (await root.getFileHandle(FILE)).getFile();
    return JSON.parse(await file.text()) as Record<string, Trial>;
  } catch {
    return {}; // no file yet, no file system, storage refused: the trial runs again
  }
}

async function writeTrial(key: string, trial: Trial): Promise<void> {
  try {
    const trials = { ...(await readTrials()), [key]: trial };
    const root = await navigator.storage.getDirectory();
    const writable = await (await root.getFileHandle(FILE, { create: true })).createWritable();
    await writable.write(JSON.stringify(trials));
    await writable.close();
  } catch {
    // Not remembered: the next load runs the trial again.
  }
}
