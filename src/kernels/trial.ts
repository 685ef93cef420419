import { ScanvasError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { KernelVariant, KernelVariants } from "../gpu/recording.ts";
import type { KernelCase } from "./case.ts";
import { prepareCase, runCase } from "./run_case.ts";

/** What one variant did in the trial of its family. */
export interface TrialResult {
  readonly variant: KernelVariant;
  /** The worst of its outputs, relative; null (NaN and Infinity in JSON) where it made no numbers or could not even run. */
  readonly error: number | null;
  readonly tolerance: number;
  /** Floating-point operations a second; 0 for a wrong result, and where it was not timed. */
  readonly rate: number;
}

/** Whether a variant may be used: its numbers are those of the CPU twin. */
export const isRight = ({ error, tolerance }: TrialResult): boolean => error !== null && error <= tolerance;

/** Of each family, the candidates that were tried; `variants` are the fastest of those with right results. */
export interface Trial {
  readonly variants: KernelVariants;
  readonly results: Readonly<Record<keyof KernelVariants, readonly TrialResult[]>>;
}

/** A small odd case that shows whether a variant is right, and a larger one that shows how fast it is. */
export interface TrialCases {
  readonly check: KernelCase;
  /** Left out where being right is all that matters. */
  readonly time?: KernelCase;
}

/** Operations a second of a variant, on a case that is made for it. */
export type Rate = (gpu: Gpu, kernelCase: KernelCase, variant: KernelVariant) => Promise<number>;

const remembered = new Map<string, Trial>();
const FILE = "scanvas-adapters.json";
/** Raise when a kernel that is tried changes, so that the trial runs again. */
const TRIAL_VERSION = 6;

/**
 * Finds the kernels for this device by trying them: each variant that the device could run is held to its CPU twin and timed for a moment, and
 * the fastest right one is taken. Names of devices and drivers play no part. A tile in workgroup memory wins on most GPUs, registers
 * alone on Apple's and on CPU implementations; f16 and subgroup matrices are tried where they were asked for and exist. Without
 * them the families have the same two candidates, and gemm's choice holds for all in which it is right. Remembered per adapter and browser
 * version, on disk where the origin has a file system. Also tells the pacer how fast this device is, and has no dispatch planned that is longer
 * than a submit should be. `rate` is for tests, to which no clock may decide what is fast.
 */
export async function chooseVariants(gpu: Gpu, rate: Rate = measuredRate): Promise<Trial> {
  const { f16, matrix } = gpu.profile;
  const browser = globalThis.navigator?.userAgent ?? ""; // another version has another compiler
  const key = `${TRIAL_VERSION}|${browser}|${gpu.adapterKey}|${f16 ? `f16 ${JSON.stringify(matrix)}` : "f32"}`;
  let trial = remembered.get(key) ?? (await readTrials())[key];
  if (!trial) {
    trial = await runTrial(gpu, rate);
    await writeTrial(key, trial);
  }
  remembered.set(key, trial);
  gpu.pacer.expect(Math.max(...trial.results.gemm.map(({ rate }) => rate)));
  const dispatchFlops = Math.min(gpu.profile.dispatchFlops, gpu.pacer.budget(gpu.pacer.pace()));
  gpu.profile = { ...gpu.profile, variants: trial.variants, dispatchFlops };
  return trial;
}

async function runTrial(gpu: Gpu, rate: Rate): Promise<Trial> {
  const { trialCases } = await import("./trial_cases.ts");
  const { f16, matrix } = gpu.profile;
  const plain: KernelVariant[] = ["tile", "register"];
  const all: KernelVariant[] = f16 ? [...plain, "tile_f16", ...(matrix ? ["matrix" as const] : [])] : plain;
  const tryAll = async (family: keyof KernelVariants, candidates: readonly KernelVariant[]): Promise<TrialResult[]> => {
    const results: TrialResult[] = [];
    for (const variant of candidates) results.push(await tryOne(gpu, variant, trialCases(family, variant), rate));
    return results;
  };
  const gemm = await tryAll("gemm", all);
  const first = best("gemm", gemm);
  /** `wanted`, and the other only where that is wrong; not timed, which would be most of the trial. */
  const check = async (family: keyof KernelVariants, wanted: KernelVariant): Promise<TrialResult[]> => {
    const results: TrialResult[] = [];
    for (const variant of [wanted, wanted === "tile" ? "register" : "tile"] as const) {
      results.push(await tryOne(gpu, variant, { check: trialCases(family, variant).check }, rate));
      if (isRight(results.at(-1)!)) break;
    }
    return results;
  };
  const others = f16
    ? {
        // "register" keeps its sums in an f32 result, and has none here.
        attention: await tryAll(
          "attention",
          all.filter((candidate) => candidate !== "register"),
        ),
        scan: await tryAll("scan", all),
        conv: await tryAll(
          "conv",
          all.filter((candidate) => candidate !== "matrix"),
        ),
      }
    : {
        attention: await check("attention", first),
        scan: await check("scan", first),
        conv: await check("conv", first),
      };
  const results = { gemm, ...others, convFew: await check("convFew", "register") };
  return {
    variants: {
      gemm: first,
      attention: best("attention", results.attention),
      scan: best("scan", results.scan),
      conv: best("conv", results.conv) as KernelVariants["conv"],
      convFew: best("convFew", results.convFew) as KernelVariants["convFew"],
    },
    results,
  };
}

/** @throws NumericalError when no variant is right */
function best(family: keyof KernelVariants, results: readonly TrialResult[]): KernelVariant {
  const [first] = results.filter(isRight).sort((a, b) => b.rate - a.rate);
  if (first) return first.variant;
  const errors = results.map(({ variant, error }) => `${variant} ${error ?? "none"}`).join(", ");
  throw new ScanvasError(
    "NumericalError",
    `scanvas: no kernel of ${family} gives right results on this device (errors ${errors}); update the graphics driver, or use another browser`,
  );
}

async function tryOne(gpu: Gpu, variant: KernelVariant, { check, time }: TrialCases, rate: Rate): Promise<TrialResult> {
  const { tolerance } = check;
  try {
    const { errors } = await runCase(gpu, check);
    const worst = Math.max(...Object.values(errors));
    const result = { variant, error: Number.isFinite(worst) ? worst : null, tolerance, rate: 0 };
    return time && isRight(result) ? { ...result, rate: await rate(gpu, time, variant) } : result;
  } catch (error) {
    await gpu.blame(error).catch(() => gpu.checkLost()); // of a lost device nothing may be concluded
    return { variant, error: null, tolerance, rate: 0 }; // does not compile, or no memory for it: not a candidate
  }
}

/** Repeated until 20 ms have passed, so that slow timers and launches do not decide. */
async function measuredRate(gpu: Gpu, kernelCase: KernelCase): Promise<number> {
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
