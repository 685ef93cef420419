/**
 * Which kernels this very GPU uses, and every kernel on it against its CPU twin: the cases that tests run, those of them that take a moment only.
 * Loaded when asked for.
 */
import { throwIfAborted } from "./errors.ts";
import { Gpu } from "./gpu/device.ts";
import { canRun, type KernelCase, type KernelCases } from "./kernels/case.ts";
import { runCase } from "./kernels/run_case.ts";
import { chooseVariants, isRight } from "./kernels/trial.ts";
import type { CheckResult } from "./worker/api.ts";

const modules = import.meta.glob<KernelCases>("./kernels/*.ref.ts", { eager: true, import: "default" });

/** Elements of all outputs that a small case has at most. */
const SMALL = 20_000;

function isSmall({ outputs, benchOnly }: KernelCase): boolean {
  const elements = Object.values(outputs).map((shape) => shape.reduce((n, d) => n * d, 1));
  return !benchOnly && elements.reduce((sum, n) => sum + n, 0) <= SMALL;
}

/** On a device of its own. */
export async function checkDevice(
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<CheckResult[]> {
  const gpu = await Gpu.request({ f16: true });
  try {
    return await selfCheck(gpu, onProgress, signal);
  } finally {
    gpu.dispose();
  }
}

/** A case that cannot even run counts as failed, with its message; a lost device ends the check. */
export async function selfCheck(
  gpu: Gpu,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<CheckResult[]> {
  const checks = Object.values(modules).flatMap(({ kernel, cases }) =>
    cases.filter((c) => isSmall(c) && canRun(gpu.profile, c)).map((kernelCase) => ({ kernel, kernelCase })),
  );
  let done = 0;
  const results: CheckResult[] = await chosenKernels(gpu);
  for (const { kernel, kernelCase } of checks) {
    throwIfAborted(signal);
    onProgress(done++, checks.length);
    const { name, tolerance } = kernelCase;
    const result = { kernel, name, tolerance };
    try {
      const { errors, worst } = await runCase(gpu, kernelCase);
      const error = Math.max(...Object.values(errors));
      const passed = error <= tolerance; // false for NaN too
      results.push({ ...result, error, passed, ...(!passed && { reason: worst }) });
    } catch (error) {
      gpu.checkLost();
      results.push({ ...result, error: Infinity, passed: false, reason: String(error) });
    }
  }
  onProgress(checks.length, checks.length);
  return results;
}

/** The outcome of the trial, a line for each family of kernels: what was chosen, how fast the candidates were, and which were wrong. */
async function chosenKernels(gpu: Gpu): Promise<CheckResult[]> {
  const { results, variants } = await chooseVariants(gpu);
  return Object.entries(results).map(([family, candidates]) => {
    const variant = variants[family as keyof typeof variants];
    const { error, tolerance } = candidates.find((candidate) => candidate.variant === variant)!;
    const rates = candidates.map(
      (one) => one.variant + (!isRight(one) ? " wrong" : one.rate > 0 ? ` ${(one.rate / 1e9).toFixed(1)} GFLOP/s` : ""),
    );
    const wrong = candidates.filter((candidate) => !isRight(candidate));
    return {
      kernel: `chosen for ${family}`,
      name: rates.length > 1 ? `${variant} of ${rates.join(", ")}` : variant,
      error: error!,
      tolerance,
      passed: true,
      ...(wrong.length > 0 && {
        reason: `${wrong.map((one) => one.variant).join(" and ")} gives wrong numbers here, and is not used`,
      }),
    };
  });
}
