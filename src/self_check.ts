/** Every kernel on this very GPU against its CPU twin: the cases that tests run, those of them that take a moment only. Loaded when asked for. */
import { throwIfAborted } from "./errors.ts";
import type { Gpu } from "./gpu/device.ts";
import type { KernelCase, KernelCases } from "./kernels/case.ts";
import { runCase } from "./kernels/run_case.ts";
import type { CheckResult } from "./worker/api.ts";

const modules = import.meta.glob<KernelCases>("./kernels/*.ref.ts", { eager: true, import: "default" });

/** Elements of all outputs that a small case has at most. */
const SMALL = 20_000;

function isSmall({ outputs, benchOnly }: KernelCase): boolean {
  const elements = Object.values(outputs).map((shape) => shape.reduce((n, d) => n * d, 1));
  return !benchOnly && elements.reduce((sum, n) => sum + n, 0) <= SMALL;
}

/** A case that cannot even run counts as failed, with its message; a lost device ends the check. */
export async function selfCheck(
  gpu: Gpu,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<CheckResult[]> {
  const checks = Object.values(modules).flatMap(({ kernel, cases }) =>
    cases.filter(isSmall).map((kernelCase) => ({ kernel, kernelCase })),
  );
  const results: CheckResult[] = [];
  for (const { kernel, kernelCase } of checks) {
    throwIfAborted(signal);
    onProgress(results.length, checks.length);
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
