/** The worker: owns the GPU and one model. Started by client.ts; everything it offers is `WorkerApi`. */
import * as comlink from "comlink";
import { ScanvasError } from "../errors.ts";
import { Gpu } from "../gpu/device.ts";
import { LocalPipeline } from "../pipeline.ts";
import { plan, textTokensOf } from "../model_plan.ts";
import { traceDenoiser } from "../trace.ts";
import { fetchManifest } from "../weights/models.ts";
import { openStore } from "../weights/store.ts";
import type {
  CheckResult,
  GenerateRequest,
  GenerateResult,
  LoadRequest,
  ModelInfo,
  Plan,
  PlanRequest,
  Progress,
  TraceRequest,
  TraceResult,
} from "./api.ts";
import { Scheduler } from "./scheduler.ts";

const scheduler = new Scheduler();
let pipeline: LocalPipeline | undefined;

const loaded = (): LocalPipeline => {
  if (!pipeline)
    throw new ScanvasError("DisposedError", "scanvas: no model is loaded in this worker; call load() again");
  return pipeline;
};

/** Errors cross to the page as plain data: structured clone keeps no class and no property of its own. */
const job = <T>(id: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> =>
  scheduler.enqueue(id, work).catch((error: unknown) => {
    throw ScanvasError.toPlain(error);
  });

/** A job that reports: its answer goes by another port than its reports, and waits until the page has heard the last of them. */
const reportingJob = <A extends unknown[], T>(
  id: number,
  report: (...args: A) => unknown,
  work: (signal: AbortSignal, tell: (...args: A) => void) => Promise<T>,
): Promise<T> =>
  job(id, async (signal) => {
    let heard: unknown;
    const result = await work(signal, (...args) => (heard = report(...args)));
    await heard;
    return result;
  });

type OnProgress = (progress: Progress) => void;

const api = {
  ready: (): true => true,

  load: (id: number, request: LoadRequest, report: OnProgress): Promise<ModelInfo> =>
    reportingJob(id, report, async (signal, onProgress) => {
      const { url, arithmetic, limits, ...options } = request;
      await pipeline?.dispose();
      pipeline = undefined;
      pipeline = await LocalPipeline.load(url, {
        ...options,
        f16: arithmetic === "f16",
        limits: limits ?? "adapter",
        signal,
        onProgress,
      });
      const { gpu, manifest, prompts } = pipeline.model;
      const { vendor, architecture, description } = gpu.info;
      return {
        className: manifest.className,
        licence: manifest.licence,
        height: pipeline.nativeSize,
        width: pipeline.nativeSize,
        textTokens: textTokensOf(manifest),
        textEncoder: prompts?.kind,
        adapter: { vendor, architecture, description, isSoftware: gpu.isSoftware },
        weightBytes: gpu.arena.bytes,
        tier: request.tier ?? "normal",
      };
    }),

  generate: (id: number, request: GenerateRequest, report: OnProgress): Promise<GenerateResult> =>
    reportingJob(id, report, async (signal, onProgress) => {
      const result = await loaded().generate(request, { signal, onProgress });
      const buffers = [...result.images, ...Object.values(result.trace ?? {})].map(({ data }) => data.buffer);
      return comlink.transfer(result, buffers);
    }),

  /** On a device of its own; needs no loaded model. */
  selfCheck: (id: number, report: (done: number, total: number) => void): Promise<CheckResult[]> =>
    reportingJob(id, report, async (signal, onProgress) => {
      const { checkDevice } = await import("../self_check.ts");
      return checkDevice(onProgress, signal);
    }),

  embed: (id: number, prompts: string[], report: OnProgress): Promise<Uint8Array<ArrayBuffer>> =>
    reportingJob(id, report, async (signal, onProgress) => {
      const pack = await loaded().embed(prompts, { signal, onProgress });
      return comlink.transfer(pack, [pack.buffer]);
    }),

  /** Needs no loaded model, and downloads nothing but the manifest. */
  plan: (id: number, url: string, request: PlanRequest): Promise<Plan> =>
    job(id, async (signal) => {
      const store = await openStore();
      const manifest = await fetchManifest(url, { signal, keep: false, ...(store && { store }) });
      const limits = request.limits ?? (await Gpu.limits());
      return plan(manifest, { ...request, ...(limits && { limits }) });
    }),

  trace: (id: number, request: TraceRequest): Promise<TraceResult> =>
    job(id, async () => {
      await loaded().revive();
      return traceDenoiser(loaded().model, request);
    }),

  cancel: (id: number): void => scheduler.cancel(id),

  cancelAll: (): void => scheduler.cancelAll(),

  /** Gives all GPU memory back until the next job, which loads the model again. */
  park: (id: number): Promise<void> => job(id, async () => pipeline?.park()),

  memory: (): { bytes: number; peak: number } => {
    const { bytes, peak } = pipeline?.model.gpu.arena ?? { bytes: 0, peak: 0 };
    return { bytes, peak };
  },

  dispose: (id: number): Promise<void> => {
    scheduler.cancelAll();
    return job(id, async () => {
      await pipeline?.dispose();
      pipeline = undefined;
    });
  },
};

export type WorkerApi = typeof api;

comlink.expose(api);
