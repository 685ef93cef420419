/** What `scanvas convert --report` and `--stats` print. */
/** The `count` tensors that lost most, worst first; tensors that lost nothing are left out. */
export function printErrors(errors: ReadonlyMap<string, number>, count: number): void {
  const worst = [...errors].filter(([, error]) => error > 0).sort(([, a], [, b]) => b - a);
  console.log(`relative error |stored - given| / |given|, ${Math.min(count, worst.length)} of ${worst.length} tensors`);
  for (const [name, error] of worst.slice(0, count)) console.log(`  ${error.toExponential(2)}  ${name}`);
}

/** Rates over `seconds` of bytes that came in and went out, and the peak of this process's memory, threads and all. */
export function printStats(seconds: number, read: number, written: number): void {
  const flow = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB (${(bytes / 1e6 / seconds).toFixed(0)} MB/s)`;
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(`${seconds.toFixed(1)} s, in ${flow(read)}, out ${flow(written)}, memory ${peak.toFixed(0)} MiB`);
}
