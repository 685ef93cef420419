/** What browser.test.ts does in the page: the public API alone. Answers are plain data. */
import { load, ScanvasError, type GenerateOptions, type GenerateRequest, type LoadOptions } from "../../src/index.ts";
import type { Pipeline } from "../../src/index.ts";

declare global {
  interface Window {
    faults: typeof faults;
    /** Given by Playwright: crashes the browser's GPU process. */
    crashGpu: () => Promise<void>;
  }
}

let pipeline: Pipeline;
let worker: Worker | undefined;
/** Of the picture that was begun. */
let at = "";
let running: Promise<Ending>;
let controller: AbortController;
const unhandled: string[] = [];
addEventListener("unhandledrejection", ({ reason }) => unhandled.push(String(reason)));

interface Ending {
  name: string;
  message: string;
  recoverable: boolean | undefined;
}

const endingOf = (work: Promise<unknown>): Promise<Ending> =>
  work.then(
    () => ({ name: "", message: "", recoverable: undefined }),
    (error: unknown) => {
      if (!(error instanceof ScanvasError)) throw error;
      const { name, message, recoverable } = error;
      return { name, message, recoverable };
    },
  );

async function hashOf(request: GenerateRequest, options: GenerateOptions = {}): Promise<string> {
  const { images } = await pipeline.generate(request, options);
  const digest = await crypto.subtle.digest("SHA-256", images[0].data);
  return Array.from(new Uint8Array(digest, 0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const faults = {
  async load(url: string, options: Pick<LoadOptions, "recoveries"> = {}) {
    pipeline = await load(url, options);
    return pipeline.info;
  },

  loadFails: (url: string) => endingOf(load(url)),

  /** In a worker that does what `tell` says. */
  async loadMortal(url: string) {
    const createWorker = (): Worker =>
      (worker = new Worker(new URL("./mortal_worker.ts", import.meta.url), { type: "module" }));
    pipeline = await load(url, { createWorker });
  },
  tell: (what: "fail" | "hang") => worker!.postMessage(what),

  picture: (request: GenerateRequest, options?: Pick<GenerateOptions, "takeOver">) => hashOf(request, options),

  /** Crashes the GPU process when `stage` reaches `step`. */
  async disturbed(request: GenerateRequest, crash: { stage: string; step: number }) {
    let crashed: Promise<void> | undefined;
    const hash = await hashOf(request, {
      onProgress({ stage, step }) {
        if (stage === crash.stage && step === crash.step) crashed ??= window.crashGpu();
      },
    });
    return { hash, crashed: crashed !== undefined };
  },

  /** Begins a picture: `at` says how far it is, `ended` how it ended. */
  begin(request: GenerateRequest) {
    at = "";
    controller = new AbortController();
    const onProgress: GenerateOptions["onProgress"] = ({ stage, step }) => (at = `${stage} ${step}`);
    running = endingOf(pipeline.generate(request, { onProgress, signal: controller.signal }));
  },
  at: () => at,
  abort: () => controller.abort(),
  ended: () => running,
  fails: (request: GenerateRequest, options?: GenerateOptions) => endingOf(pipeline.generate(request, options)),

  /** Aborted at once. */
  async abortedWait(request: GenerateRequest) {
    const aborter = new AbortController();
    const ending = endingOf(pipeline.generate(request, { signal: aborter.signal }));
    aborter.abort();
    return ending;
  },

  /** Within ten seconds: a GPU process needs a moment to start. */
  async offersGpu() {
    for (let n = 0; n < 20; n++) {
      if (await navigator.gpu.requestAdapter()) return true;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    return false;
  },

  memory: async () => (await pipeline.gpuMemory()).bytes,
  unhandled: () => unhandled,

  async files() {
    const root = await navigator.storage.getDirectory();
    const names: string[] = [];
    for await (const name of (await root.getDirectoryHandle("scanvas-weights")).keys()) names.push(name);
    return names.toSorted();
  },
};

window.faults = faults;
