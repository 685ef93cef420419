/** What runs in a thread of `pool.ts`: writes the files it is told, one at a time. */
import { parentPort, workerData } from "node:worker_threads";
import type { SourceSpec } from "./open.ts";
import { openSource } from "./open.ts";
import type { Task } from "./pool.ts";
import type { Written } from "./write.ts";
import { writeFile } from "./write.ts";

export type Answer = { written: Written } | { error: { name: string; message: string } };

const { spec, measure } = workerData as { spec: SourceSpec; measure: boolean };
const source = openSource(spec);
source.catch(() => undefined); // it is told with the first task

parentPort!.on("message", ({ plan, path }: Task) => {
  const say = (answer: Answer): void => parentPort!.postMessage(answer);
  source
    .then((opened) => writeFile(plan, path, opened, measure))
    .then(
      (written) => say({ written }),
      (error: Error) => say({ error: { name: error.name, message: error.message } }),
    );
});
