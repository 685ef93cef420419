/** The public API: everything a page needs, and nothing else. */
import type { CheckResult, Plan } from "./worker/api.ts";
import { Pipeline, type LoadOptions, type PlanOptions, type SelfCheckOptions } from "./worker/client.ts";

/**
 * Loads a converted model (a folder with manifest.json) into a worker with a GPU of its own.
 *
 *     const pipeline = await load("/models/mine/");
 *     const { images } = await pipeline.generate({ prompt: "a red star" });
 *     document.body.append(URL.createObjectURL(await images[0].toBlob()));
 */
export const load = (url: string, options?: LoadOptions): Promise<Pipeline> => Pipeline.load(url, options);

/**
 * What a model will need on this device for a picture of a size, before any of its weights is downloaded: bytes to download, GPU bytes by
 * stage, and whether that fits.
 */
export const plan = (url: string, options?: PlanOptions): Promise<Plan> => Pipeline.plan(url, options);

/**
 * Runs each kernel on this device's GPU in small and compares it with plain arithmetic: tells a wrong driver from a wrong model. Needs no
 * model, and takes seconds.
 */
export const selfCheck = (options?: SelfCheckOptions): Promise<CheckResult[]> => Pipeline.selfCheck(options);

export { downloadSize, type DownloadSize, type DownloadSizeOptions } from "./weights/size.ts";
export {
  listModels,
  persist,
  removeModel,
  storageEstimate,
  type StorageEstimate,
  type StoredModel,
} from "./weights/storage.ts";
export { ScanvasError, type ErrorName } from "./errors.ts";
export {
  GeneratedImage,
  type Pipeline,
  type GenerateOptions,
  type GenerateResult,
  type LoadOptions,
  type PlanOptions,
  type SelfCheckOptions,
} from "./worker/client.ts";
export type {
  CheckResult,
  GenerateRequest,
  ModelInfo,
  NamedTensor,
  OnnxTextEncoder,
  Plan,
  PlanRequest,
  Progress,
  Timings,
  TraceRequest,
  TraceResult,
} from "./worker/api.ts";
export type { SamplerName } from "./sampler/step.ts";
