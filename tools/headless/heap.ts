/** JavaScript memory of a page and its workers while something runs: objects and array buffers, sampled. */
import type { CDPSession, Page } from "playwright";

export interface HeapGrowth {
  /** Bytes above what was in use when watching began. */
  growth: number;
  peak: number;
}

interface Usage {
  usedSize: number;
  /** Array buffers, which `usedSize` leaves out. */
  backingStorageSize?: number;
}

/** Starts sampling five times a second; the answer stops it. */
export async function watchHeap(page: Page): Promise<() => Promise<HeapGrowth>> {
  const cdp = await page.context().newCDPSession(page);
  const workers = await attachWorkers(cdp);
  const total = async (): Promise<number> => {
    const own = (await cdp.send("Runtime.getHeapUsage")) as Usage;
    const theirs = await Promise.all(workers.map((ask) => ask()));
    return [own, ...theirs].reduce((sum, usage) => sum + usage.usedSize + (usage.backingStorageSize ?? 0), 0);
  };
  const collect = (): Promise<unknown> => cdp.send("HeapProfiler.collectGarbage");
  await collect();
  const start = await total();
  let peak = start;
  let watching = true;
  const loop = (async () => {
    while (watching) {
      peak = Math.max(peak, await total());
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  })();
  return async () => {
    watching = false;
    await loop;
    await cdp.detach();
    return { growth: peak - start, peak };
  };
}

/** One function for each worker of the page, also those that start later. */
async function attachWorkers(cdp: CDPSession): Promise<(() => Promise<Usage>)[]> {
  const workers: (() => Promise<Usage>)[] = [];
  const answers = new Map<string, (usage: Usage) => void>();
  let next = 0;
  cdp.on("Target.attachedToTarget", ({ sessionId }) => {
    workers.push(
      () =>
        new Promise((resolve) => {
          const id = next++;
          answers.set(`${sessionId} ${id}`, resolve);
          const message = JSON.stringify({ id, method: "Runtime.getHeapUsage" });
          cdp.send("Target.sendMessageToTarget", { sessionId, message }).catch(() => resolve({ usedSize: 0 })); // the worker has ended
        }),
    );
  });
  cdp.on("Target.receivedMessageFromTarget", ({ sessionId, message }) => {
    const { id, result } = JSON.parse(message) as { id: number; result?: Usage };
    answers.get(`${sessionId} ${id}`)?.(result ?? { usedSize: 0 });
    answers.delete(`${sessionId} ${id}`);
  });
  await cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  return workers;
}
