/** The kernels' bench cases, timed on the GPU's own clock beside the ceilings. */
import { canRun, type KernelCase, type KernelCases } from "../../../src/kernels/case.ts";
import { compareCase, prepareCase } from "../../../src/kernels/run_case.ts";
import { ceilings, device, flopsOf, seconds } from "./device.ts";
import { median } from "./stats.ts";

const modules = import.meta.glob<{ default: KernelCases }>("../../../src/kernels/*.ref.ts", { eager: true });
const suites = Object.values(modules).map((module) => module.default);

export interface KernelTiming {
  kernel: string;
  name: string;
  warmup: number;
  samples: number[];
  /** Of each sample: the least time that the ceilings measured beside it allow. */
  bounds: number[];
  flops: number;
  bytes: number;
  error: number;
  tolerance: number;
  against: string;
}

/** Work up to which the CPU twin is run also for the large shapes: seconds of plain loops. */
const TWIN_FLOPS = 4e9;
const EVERY_BIT = "the first sample, in every bit";

const find = (id: string): [string, KernelCase] => {
  const [kernel, name] = id.split(" | ") as [string, string];
  return [kernel, suites.find((suite) => suite.kernel === kernel)!.cases.find((one) => one.name === name)!];
};

/**
 * The cases marked `bench`; of a kernel that has none, because launching it costs more than running it, the largest. `quick`: a small case of
 * each kernel.
 */
export async function kernelCases(quick: boolean): Promise<string[]> {
  const { profile } = await device();
  return suites.flatMap(({ kernel, cases: all }) => {
    const cases = all.filter((one) => canRun(profile, one));
    const marked = cases.filter((one) => one.bench);
    const bySize = cases.filter((one) => !one.benchOnly).sort((a, b) => size(a) - size(b));
    const small = bySize.find((one) => size(one) >= 500) ?? bySize.at(-1)!;
    const chosen = quick ? [small] : marked.length > 0 ? marked : [bySize.at(-1)!];
    return chosen.map(({ name }) => `${kernel} | ${name}`);
  });
}

const size = ({ outputs }: KernelCase): number =>
  Object.values(outputs).reduce((sum, shape) => sum + shape.reduce((n, d) => n * d, 1), 0);

/** Times one case; `least` samples, and more for up to half a second. */
export async function timeKernel(id: string, least: number): Promise<KernelTiming> {
  const gpu = await device();
  const { flops: peakFlops, bytes: peakBytes } = await ceilings(gpu);
  const [kernel, kernelCase] = find(id);
  const prepared = await prepareCase(gpu, kernelCase);
  try {
    const { program, recording, tensors, inputs } = prepared;
    const flops = flopsOf(recording);
    const bytes = kernelCase.bench?.bytes ?? Object.values(tensors).reduce((sum, tensor) => sum + tensor.bytes, 0);
    const warmup = await seconds(program);
    const twin = !kernelCase.benchOnly || flops <= TWIN_FLOPS;
    let expected: Record<string, Float32Array> | undefined;
    if (twin) expected = kernelCase.reference(inputs);
    let error = 0;
    const samples: number[] = [];
    const bounds: number[] = [];
    const began = performance.now();
    while (samples.length < least || (performance.now() - began < 500 && samples.length < 20 && least > 1)) {
      const reachable = [flops / (await peakFlops()), bytes / (await peakBytes())];
      prepared.upload();
      samples.push(await seconds(program));
      bounds.push(Math.max(...reachable));
      if (expected) {
        const { errors, worst } = await compareCase(gpu, prepared, expected);
        error = Math.max(error, ...Object.values(errors));
        if (!(error <= kernelCase.tolerance || !twin)) throw new Error(`${id}: wrong result, ${worst}`);
      } else {
        expected = {};
        for (const name of Object.keys(kernelCase.outputs)) expected[name] = await gpu.readF32(tensors[name]!);
        if (Object.values(expected).some((values) => !values.every(Number.isFinite)))
          throw new Error(`${id}: NaN or infinity`);
      }
    }
    return {
      kernel,
      name: kernelCase.name,
      warmup,
      samples,
      bounds,
      flops,
      bytes,
      error,
      tolerance: twin ? kernelCase.tolerance : 0,
      against: twin ? "CPU twin, relative" : EVERY_BIT,
    };
  } finally {
    prepared.release();
  }
}

/** The ceilings now, medians of a few. */
export async function measureCeilings(): Promise<{ flopsPerSecond: number; bytesPerSecond: number }> {
  const probe = await ceilings(await device());
  const several = async (measure: () => Promise<number>): Promise<number> => {
    const values = [];
    for (let i = 0; i < 5; i++) values.push(await measure());
    return median(values);
  };
  return { flopsPerSecond: await several(probe.flops), bytesPerSecond: await several(probe.bytes) };
}
