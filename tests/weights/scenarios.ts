/** What browser.test.ts does in Chromium. Answers are plain data. */
import { sha256Hex } from "../../src/weights/fetch.ts";
import { prefetchWeights, streamWeights } from "../../src/weights/load.ts";
import { commitModel, fetchManifest } from "../../src/weights/models.ts";
import { fetchFile } from "../../src/weights/obtain.ts";
import { Ring } from "../../src/weights/ring.ts";
import { listModels, persist, removeModel, storageEstimate } from "../../src/weights/storage.ts";
import { openStore } from "../../src/weights/store.ts";

export interface Loaded {
  /** SHA-256 of every delivered span, by tensor and first byte, when asked for. */
  hashes: Record<string, string>;
  /** Bytes of distinct buffers that the sink saw. */
  buffers: number;
  complete: boolean;
  problem: string | undefined;
  milliseconds: number;
  error: string | undefined;
}

export type Scenarios = typeof scenarios;

let stop = new AbortController();
const held: Uint8Array[] = [];

export const scenarios = {
  /** All of a model, as the engine loads it. `twice`: the component is streamed a second time with the same ring. */
  async load(url: string, { hash = true, twice = false } = {}): Promise<Loaded> {
    stop = new AbortController();
    const began = performance.now();
    const store = await openStore();
    const options = { signal: stop.signal, retryDelay: 5, ring: new Ring(), ...(store && { store }) };
    const hashes: Record<string, string> = {};
    const buffers = new Set<ArrayBuffer>();
    let complete = false;
    let error: string | undefined;
    const sink = {
      async tensor(name: string, _entry: unknown, bytes: Uint8Array<ArrayBuffer>, begin: number) {
        buffers.add(bytes.buffer);
        if (hash) hashes[`${name} ${begin}`] = await sha256Hex(bytes);
      },
    };
    try {
      const manifest = await fetchManifest(url, options);
      await fetchFile(url, manifest.tokenizer!, options);
      await streamWeights(url, manifest, "transformer", sink, options);
      if (twice) await streamWeights(url, manifest, "transformer", sink, options);
      complete = !!store && (await commitModel(url, store));
    } catch (cause) {
      const { name, message } = cause as Error;
      error = `${name}: ${message}`;
    }
    const milliseconds = performance.now() - began;
    const bytes = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
    return { hashes, buffers: bytes, complete, problem: store?.problem, milliseconds, error };
  },

  async prefetch(url: string): Promise<boolean> {
    const store = (await openStore())!;
    const manifest = await fetchManifest(url, { store });
    return prefetchWeights(url, manifest, "transformer", { store });
  },

  /** Ends the load that runs. */
  abort: () => stop.abort(),

  /** Keeps an array buffer of so many bytes, for the test of the measurement. */
  hold(bytes: number): void {
    held[0] = new Uint8Array(bytes).fill(1);
  },

  list: () => listModels(),
  remove: (url: string) => removeModel(url),
  estimate: () => storageEstimate(),
  persist: () => persist(),

  /** Names of all files that are kept. */
  async files(): Promise<string[]> {
    const root = await navigator.storage.getDirectory();
    const names: string[] = [];
    for await (const name of (await root.getDirectoryHandle("scanvas-weights", { create: true })).keys())
      names.push(name);
    return names.toSorted();
  },

  async clear(): Promise<void> {
    const root = await navigator.storage.getDirectory();
    await root.removeEntry("scanvas-weights", { recursive: true }).catch(() => {});
  },

  /** Web Locks that anybody has or waits for. */
  async locks(): Promise<{ held: number; pending: number }> {
    const { held, pending } = await navigator.locks.query();
    return { held: held?.length ?? 0, pending: pending?.length ?? 0 };
  },
};
