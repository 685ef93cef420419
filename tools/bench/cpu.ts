/** What software adapters spend: CPU time of the process that they run in. */
import { readFileSync, readdirSync } from "node:fs";

/** Clock ticks a second in /proc, as every Linux has them. */
const TICKS = 100;

interface Process {
  pid: number;
  parent: number;
  seconds: number;
}

function read(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the name may hold anything
    return { pid, parent: Number(fields[1]), seconds: (Number(fields[11]) + Number(fields[12])) / TICKS };
  } catch {
    return undefined; // ended meanwhile, or no Linux
  }
}

/** The GPU process of the Chromium that this process started; undefined where /proc does not tell. */
export function gpuProcess(): number | undefined {
  try {
    const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
    const all = new Map(pids.flatMap((pid) => (read(pid) ? [[pid, read(pid)!]] : [])));
    const ours = (pid: number): boolean =>
      pid === process.pid || (all.has(pid) && pid > 1 && ours(all.get(pid)!.parent));
    return [...all.keys()].find(
      (pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=gpu-process") && ours(pid),
    );
  } catch {
    return undefined;
  }
}

/** User and system seconds of a process so far. */
export const cpuSeconds = (pid: number): number => read(pid)?.seconds ?? NaN;
