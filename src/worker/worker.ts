/** The worker: owns the GPU and one model. Started by client.ts; everything it offers is `WorkerApi`. */
import * as comlink from "comlink";
import { ScanvasError } from "../errors.ts";
import { Gpu } from "../gpu/device.ts";
import { LocalPipeline } from "../pipeline.ts";
import { traceDenoiser } from "../trace.ts";
import type {
  CheckResult,
  GenerateRequest,
  GenerateResult,
  LoadRequest,
  ModelInfo,
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

type OnProgress = (progress: Progress) => void;

const api = {
  ready: (): true => true,

  load: (id: number, { url, arithmetic, limits, integrity }: LoadRequest, onProgress: OnProgress): Promise<ModelInfo> =>
    scheduler.enqueue(id, async (signal) => {
      pipeline?.dispose();
      pipeline = undefined;
      pipeline = await LocalPipeline.load(url, {
        f16: arithmetic === "f16",
        limits: limits ?? "adapter",
        ...(integrity !== undefined && { integrity }),
        signal,
        onProgress,
      });
      const { gpu, manifest } = pipeline.model;
      const { vendor, architecture, description } = gpu.info;
      return {
        className: manifest.className,
        licence: manifest.licence,
        height: pipeline.nativeSize,
        width: pipeline.nativeSize,
        textTokens: pipeline.textTokens,
        adapter: { vendor, architecture, description, isSoftware: gpu.isSoftware },
        weightBytes: gpu.arena.bytes,
      };
    }),

  generate: (id: number, request: GenerateRequest, onProgress: OnProgress): Promise<GenerateResult> =>
    scheduler.enqueue(id, async (signal) => {
      const result = await loaded().generate(request, { signal, onProgress });
      const buffers = [...result.images, ...Object.values(result.trace ?? {})].map(({ data }) => data.buffer);
      return comlink.transfer(result, buffers);
    }),

  /** On a device of its own; needs no loaded model. */
  selfCheck: (id: number, onProgress: (done: number, total: number) => void): Promise<CheckResult[]> =>
    scheduler.enqueue(id, async (signal) => {
      const { selfCheck } = await import("../self_check.ts");
      const gpu = await Gpu.request();
      try {
        return await selfCheck(gpu, onProgress, signal);
      } finally {
        gpu.dispose();
      }
    }),

  trace: (id: number, request: TraceRequest): Promise<TraceResult> =>
    scheduler.enqueue(id, () => traceDenoiser(loaded().model, request)),

  cancel: (id: number): void => scheduler.cancel(id),

  /** GPU bytes in use now, by the engine's own count. */
  bytes: (): number => pipeline?.model.gpu.arena.bytes ?? 0,

  dispose: (id: number): Promise<void> => {
    scheduler.cancelAll();
    return scheduler.enqueue(id, async () => {
      pipeline?.dispose();
      pipeline = undefined;
      return Promise.resolve();
    });
  },
};

export type WorkerApi = typeof api;

comlink.expose(api);
