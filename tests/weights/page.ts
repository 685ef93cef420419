/** The loader in a page and in a worker of it: the same scenarios, because browsers write files in two ways. */
import { wrap, type Remote } from "comlink";
import { scenarios, type Scenarios } from "./scenarios.ts";

declare global {
  interface Window {
    loader: { page: Scenarios; worker: Remote<Scenarios>; endWorker: () => void };
  }
}

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
window.loader = { page: scenarios, worker: wrap<Scenarios>(worker), endWorker: () => worker.terminate() };
