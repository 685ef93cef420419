/** Each kernel at the real model's shapes, as shares of what this device reaches at best. */
import type { Host } from "../host.ts";
import { median } from "../page/stats.ts";
import { fact, noResults, row, type Progress, type Results } from "../report.ts";

export interface KernelOptions {
  quick?: boolean;
  /** Only cases whose name holds this. */
  only?: string;
}

export async function kernels(
  host: Host,
  { quick = false, only }: KernelOptions,
  { say, keep }: Progress,
): Promise<Results> {
  const ceilings = await host.call("measureCeilings");
  const results = noResults({ ...host.environment, ceilings });
  const giga = (value: number): string => (value / 1e9).toFixed(2);
  say(`ceilings: ${giga(ceilings.flopsPerSecond)} GFLOP/s, ${giga(ceilings.bytesPerSecond)} GB/s`);
  for (const id of await host.call("kernelCases", quick)) {
    if (only && !id.includes(only)) continue;
    const { kernel, name, warmup, samples, bounds, flops, bytes, error, tolerance, against } = await host.call(
      "timeKernel",
      id,
      quick ? 1 : 3,
    );
    const share = median(samples.map((time, i) => bounds[i]! / time));
    const passed = error <= tolerance;
    const check = { against, error, tolerance, passed };
    const one = row(kernel, name, samples, check, { warmup: [warmup], flops, bytes, bound: median(bounds), share });
    results.rows.push(one);
    await keep(results);
    say(
      `${kernel.padEnd(18)} ${name.padEnd(62)} ${(one.median * 1e3).toFixed(2).padStart(10)} ms ` +
        `${giga(flops / one.median).padStart(9)} GFLOP/s ${giga(bytes / one.median).padStart(8)} GB/s ${(share * 100).toFixed(0).padStart(4)} % of bound`,
    );
  }
  results.facts.push(
    fact("measured f32 multiply-add ceiling", ceilings.flopsPerSecond / 1e9, "GFLOP/s"),
    fact("measured copy ceiling", ceilings.bytesPerSecond / 1e9, "GB/s"),
  );
  return results;
}
