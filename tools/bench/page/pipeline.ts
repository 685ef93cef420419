/** The public API as a site uses it, with its worker's calls to WebGPU counted and the page's frames watched. */
import { load, type GenerateRequest, type ModelInfo, type Pipeline, type Timings } from "../../../src/index.ts";
import { CHANNEL, type Counts } from "./counts.ts";

let pipeline: Pipeline | undefined;

const channel = new BroadcastChannel(CHANNEL);

/** The counts since the last time. */
function counts(): Promise<Counts> {
  return new Promise((resolve) => {
    channel.onmessage = ({ data }) => typeof data === "object" && resolve(data as Counts);
    channel.postMessage("counts");
  });
}

interface Watched {
  seconds: number;
  /** Frames that the page should have drawn meanwhile at 60 a second, and those that it did not. */
  frames: number;
  dropped: number;
  /** The longest time without a frame, seconds. */
  longestGap: number;
}

/** Runs `work` with the page's frames watched. */
async function watched<T>(work: () => Promise<T>): Promise<Watched & { value: T }> {
  const at: number[] = [performance.now()];
  let watching = true;
  const tick = (now: number): void => {
    at.push(now);
    if (watching) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  const start = performance.now();
  try {
    const value = await work();
    const seconds = (performance.now() - start) / 1e3;
    at.push(performance.now());
    const gaps = at.slice(1).map((time, i) => time - at[i]!);
    const frames = Math.round(seconds * 60);
    return {
      value,
      seconds,
      frames,
      dropped: Math.max(0, frames - gaps.length),
      longestGap: Math.max(...gaps) / 1e3,
    };
  } finally {
    watching = false;
  }
}

export interface Loaded extends Watched {
  info: ModelInfo;
  counts: Counts;
}

export interface Made extends Watched {
  timings: Timings;
  peakBytes: number;
  counts: Counts;
  /** SHA-256 of the pixels, its beginning. */
  digest: string;
}

export const pipelineApi = {
  async loadPipeline(url: string): Promise<Loaded> {
    await pipeline?.dispose();
    const createWorker = (): Worker =>
      new Worker(new URL("./counted_worker.ts", import.meta.url), { type: "module", name: "scanvas" });
    const { value, ...watch } = await watched(() => load(url, { createWorker }));
    pipeline = value;
    return { ...watch, info: value.info, counts: await counts() };
  },

  async makePicture(request: GenerateRequest): Promise<Made> {
    await counts();
    const { value, ...watch } = await watched(() => pipeline!.generate(request));
    const hash = await crypto.subtle.digest("SHA-256", value.images[0]!.data);
    const digest = Array.from(new Uint8Array(hash, 0, 8), (b) => b.toString(16).padStart(2, "0")).join("");
    return { ...watch, timings: value.timings, peakBytes: value.peakBytes, counts: await counts(), digest };
  },
};
