/**
 * Remembers what a tab is at while it works, so that the next visit can tell that the tab died of it, as phones end tabs that take too much
 * memory. Kept where writing is synchronous; a Web Lock tells the living from the dead. Where there is no such storage, nothing is remembered.
 */
const WORKING = "scanvas:working:";
const LOW = "scanvas:low:";
/** For so many milliseconds after a crash a model is loaded at the low tier. */
const CAUTION = 7 * 24 * 3600 * 1000;

const id = Math.random().toString(36).slice(2);
let jobs = 0;
let announced = false;

function storage(): Storage | undefined {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined; // refused, as in a sandboxed frame
  }
}

/** Says that this tab works on the model at `url` until the returned function is called. */
export function mark(url: string): () => void {
  const store = storage();
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!store || !locks) return () => undefined;
  if (!announced) {
    announced = true;
    void locks.request(WORKING + id, () => new Promise(() => undefined)).catch(() => undefined); // until the tab ends
    addEventListener("pagehide", () => store.removeItem(WORKING + id)); // left, not killed
  }
  jobs++;
  write(store, WORKING + id, url);
  return () => {
    if (--jobs === 0) store.removeItem(WORKING + id);
  };
}

/** From now on, for a week, the model at `url` is loaded at the low tier. */
export function beCautious(url: string): void {
  const store = storage();
  if (store) write(store, LOW + url, String(Date.now()));
}

/** Why the model at `url` should be loaded at the low tier; undefined when there is no reason. */
export async function reasonForCaution(url: string): Promise<string | undefined> {
  const store = storage();
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!store || !locks) return undefined;
  const { held = [] } = await locks.query().catch(() => ({ held: [] }));
  const living = new Set(held.map(({ name }) => name));
  for (const key of Object.keys(store)) {
    if (!key.startsWith(WORKING) || living.has(key) || key === WORKING + id) continue;
    const dead = store.getItem(key);
    store.removeItem(key);
    if (dead) beCautious(dead);
  }
  const since = Number(store.getItem(LOW + url) ?? NaN);
  if (!(Date.now() - since < CAUTION)) return undefined;
  return "the tab was closed by the system, or the GPU was lost, while it worked on this model";
}

function write(store: Storage, key: string, value: string): void {
  try {
    store.setItem(key, value);
  } catch {
    // full: as if there were none
  }
}
