/** Files are independent of each other, so several threads write them, each with its own handles on the source. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { ScanvasError } from "../../src/errors.ts";
import type { StoredDtype } from "./encode.ts";
import type { SourceSpec } from "./open.ts";
import { openSource } from "./open.ts";
import type { FilePlan } from "./shards.ts";
import type { Answer } from "./worker.ts";
import type { Written } from "./write.ts";
import { writeFile } from "./write.ts";

export interface Task {
  plan: FilePlan<StoredDtype>;
  path: string;
}

export interface WriteOptions {
  /** Threads to write with. Default: one a core, at most 8; but this thread alone where there is little to write. */
  threads?: number;
  /** Also measure what each tensor lost; see `encode`. */
  measure?: boolean;
}

/** Less is written before a thread has started. */
const SMALL = 96 * 2 ** 20;

/** Writes files of one source; yields what each gave, in the order of `tasks`. @throws as writeFile; nothing runs on then */
export async function* writeFiles(
  spec: SourceSpec,
  tasks: Task[],
  { threads, measure = false }: WriteOptions,
): AsyncGenerator<Written> {
  if (!tasks.length) return;
  const small = tasks.reduce((sum, { plan }) => sum + plan.bytes, 0) < SMALL;
  const count = Math.min(threads ?? (small ? 1 : Math.min(availableParallelism(), 8)), tasks.length);
  if (count > 1) yield* inThreads(count, spec, tasks, measure);
  else {
    const source = await openSource(spec);
    try {
      for (const { plan, path } of tasks) yield await writeFile(plan, path, source, measure);
    } finally {
      await source.close();
    }
  }
}

async function* inThreads(count: number, spec: SourceSpec, tasks: Task[], measure: boolean): AsyncGenerator<Written> {
  const script = new URL("./worker.mjs", import.meta.url);
  const workers = Array.from(
    { length: count },
    () => new Worker(script, { workerData: { spec, measure }, execArgv: [] }),
  );
  const idle = [...workers];
  const waiting: ((worker: Worker) => void)[] = [];
  const write = async (task: Task): Promise<Written> => {
    const worker = idle.pop() ?? (await new Promise<Worker>((resolve) => waiting.push(resolve)));
    const written = await ask(worker, task); // one that failed gets no other task: all ends then
    const next = waiting.shift();
    if (next) next(worker);
    else idle.push(worker);
    return written;
  };
  try {
    const results = tasks.map(write);
    for (const result of results) result.catch(() => undefined); // the first is thrown below
    for (const result of results) yield await result;
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function ask(worker: Worker, task: Task): Promise<Written> {
  return new Promise((resolve, reject) => {
    const settle = (): void => void worker.off("message", answer).off("error", reject).off("exit", died);
    const answer = (message: Answer): void => {
      settle();
      if ("written" in message) resolve(message.written);
      else reject(new ScanvasError(message.error.name as ScanvasError["name"], message.error.message));
    };
    const died = (code: number): void => reject(new Error(`a thread ended with ${code} while it wrote ${task.path}`));
    worker.once("message", answer).once("error", reject).once("exit", died);
    worker.postMessage(task);
  });
}
