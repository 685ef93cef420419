/** What a suite can ask of the runtime, page or Node: plain data in and out. */
import * as denoiser from "./denoiser.ts";
import { describe } from "./device.ts";
import * as kernels from "./kernels.ts";
import * as quality from "./quality.ts";

export const api = {
  describe: () => describe(),
  ...kernels,
  ...denoiser,
  ...quality,
};

export type Api = typeof api;
