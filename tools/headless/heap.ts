/** JavaScript memory of a page and its workers while something runs: objects and array buffers, sampled. */
import type { CDPSession, Page } from "playwright";

export interface HeapGrowth {
  /** Bytes above what was in use when watching began. */
  growth: number;
  peak: number;
}

interface Usage {
  usedSize?: number;
  /** Array buffers, which `usedSize` leaves out. */
  backingStorageSize?: number;
}

export interface Heap {
  /** Bytes in use now, garbage included. */
  total(): Promise<number>;
  /** Bytes in use after everything that nobody holds was collected. */
  live(): Promise<number>;
  close(): Promise<void>;
}

export async function openHeap(page: Page): Promise<Heap> {
  const cdp = await page.context().newCDPSession(page);
  const workers = await attachWorkers(cdp);
  const total = async (): Promise<number> => {
    const own = (await cdp.send("Runtime.getHeapUsage")) as Usage;
    const theirs = await Promise.all([...workers].map((ask) => ask("Runtime.getHeapUsage")));
    return [own, ...theirs].reduce(
      (sum, { usedSize = 0, backingStorageSize = 0 }) => sum + usedSize + backingStorageSize,
      0,
    );
  };
  const live = async (): Promise<number> => {
    await Promise.all([...workers].map((ask) => ask("HeapProfiler.collectGarbage")));
    await cdp.send("HeapProfiler.collectGarbage");
    return total();
  };
  return { total, live, close: () => cdp.detach() };
}

/** Starts sampling five times a second; the answer stops it. */
export async function watchHeap(page: Page): Promise<() => Promise<HeapGrowth>> {
  const { total, live, close } = await openHeap(page);
  const start = await live();
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
    await close();
    return { growth: peak - start, peak };
  };
}

type Ask = (method: string) => Promise<Usage>;

/** One function for each worker that is alive; workers come and go. */
async function attachWorkers(cdp: CDPSession): Promise<Iterable<Ask>> {
  const workers = new Map<string, Ask>();
  const answers = new Map<string, Map<number, (usage: Usage) => void>>();
  let next = 0;
  cdp.on("Target.attachedToTarget", ({ sessionId }) => {
    const waiting = new Map<number, (usage: Usage) => void>();
    answers.set(sessionId, waiting);
    workers.set(
      sessionId,
      (method) =>
        new Promise((resolve) => {
          const id = next++;
          waiting.set(id, resolve);
          const message = JSON.stringify({ id, method });
          cdp.send("Target.sendMessageToTarget", { sessionId, message }).catch(() => resolve(NOTHING));
        }),
    );
  });
  cdp.on("Target.detachedFromTarget", ({ sessionId }) => {
    workers.delete(sessionId);
    for (const resolve of answers.get(sessionId)?.values() ?? []) resolve(NOTHING);
    answers.delete(sessionId);
  });
  cdp.on("Target.receivedMessageFromTarget", ({ sessionId, message }) => {
    const { id, result } = JSON.parse(message) as { id: number; result?: Usage };
    const waiting = answers.get(sessionId);
    waiting?.get(id)?.(result ?? NOTHING);
    waiting?.delete(id);
  });
  await cdp.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  return { [Symbol.iterator]: () => workers.values() };
}

/** Of a worker that has ended. */
const NOTHING: Usage = {};
