/** The page behind `scanvas bench`. */
import { api } from "./api.ts";
import { peers } from "./peers.ts";
import { pipelineApi } from "./pipeline.ts";

const bench = { ...api, ...peers, ...pipelineApi };

export type PageApi = typeof bench;

declare global {
  interface Window {
    bench: PageApi;
  }
}
window.bench = bench;
