/** The same in Node, on Dawn's `GPU`. */
import { api, type Api } from "./api.ts";
import { useGpu } from "./device.ts";

export function start(gpu: GPU): Api {
  useGpu(gpu);
  return api;
}
