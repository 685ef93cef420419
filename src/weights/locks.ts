/** Turns over all tabs and workers of this origin, by Web Locks: a lock goes with the tab that held it, however that ends. */
import { throwIfAborted } from "../errors.ts";

/**
 * Runs `work` when no one else of this origin works on `name`; at once where there are no locks.
 * @throws AbortError at once when `signal` is aborted while waiting; what `work` throws
 */
export async function inTurn<T>(name: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const locks = (globalThis.navigator as Navigator | undefined)?.locks as LockManager | undefined;
  if (!locks) return work();
  let running = false;
  const run = () => {
    running = true;
    return work();
  };
  try {
    return await locks.request(`scanvas:${name}`, signal ? { signal } : {}, run);
  } catch (error) {
    throwIfAborted(signal);
    if (running) throw error;
    return work(); // locks are refused here, as in a sandboxed frame
  }
}
