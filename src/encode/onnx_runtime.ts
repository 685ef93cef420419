/** onnxruntime-web: its import, its sessions, its errors. */
import type * as Ort from "onnxruntime-web";
import { ScanvasError, type ErrorName } from "../errors.ts";

export type Provider = "webgpu" | "wasm";

/** Imports the runtime; both builds run on GPU and CPU, the one for JSPI is smaller. @throws ModelConfigError when it is not there */
export async function importRuntime(wasmPaths: string | undefined): Promise<typeof Ort> {
  let ort: typeof Ort;
  try {
    ort = await ("Suspending" in WebAssembly ? import("onnxruntime-web/jspi") : import("onnxruntime-web/webgpu"));
  } catch (cause) {
    throw new ScanvasError(
      "ModelConfigError",
      `an ONNX text encoder needs onnxruntime-web, which could not be loaded: ${text(cause)}; npm install onnxruntime-web@1.30`,
      { cause },
    );
  }
  ort.env.logLevel = "error";
  if (wasmPaths !== undefined) ort.env.wasm.wasmPaths = wasmPaths;
  return ort;
}

export interface OnnxSession {
  readonly session: Ort.InferenceSession;
  /** Frees the session, and the GPU memory that the runtime would keep for the next one. */
  release(): Promise<void>;
}

/**
 * `data`: files with weights, by the name the model gives them; the runtime reads them piece by piece. The model file itself it takes only whole,
 * so large weights belong into such files. `url` is for messages.
 */
export async function createSession(
  ort: typeof Ort,
  provider: Provider,
  url: string,
  model: Blob,
  data: { path: string; data: Blob }[],
): Promise<OnnxSession> {
  const device = provider === "webgpu" ? await requestDevice() : undefined;
  try {
    const session = await ort.InferenceSession.create(new Uint8Array(await model.arrayBuffer()), {
      executionProviders: device ? [{ name: "webgpu", device, storageBufferCacheMode: "simple" }] : ["wasm"],
      externalData: data,
      logSeverityLevel: 3, // errors; which node runs where is no news
    });
    return {
      session,
      async release() {
        await session.release();
        device?.destroy();
      },
    };
  } catch (cause) {
    device?.destroy();
    throw runtimeError(cause, url, "could not be opened");
  }
}

/** A device of its own, since the runtime's pools go only with their device. */
async function requestDevice(): Promise<GPUDevice> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter)
    throw new ScanvasError("WebGPUUnavailableError", "scanvas: no WebGPU adapter for the ONNX text encoder");
  const { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize } = adapter.limits;
  const { maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupSizeX } = adapter.limits;
  const features = ["shader-f16", "subgroups"] as const;
  return adapter.requestDevice({
    requiredFeatures: features.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxBufferSize,
      maxStorageBufferBindingSize,
      maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX,
    },
  });
}

/** The runtime's failures have no kinds, only texts. */
export function runtimeError(cause: unknown, url: string, what: string): ScanvasError {
  const detail = text(cause);
  const kinds: [RegExp, ErrorName, string][] = [
    [
      /no available backend|wasm.*(fetch|mime|magic)/i,
      "NetworkError",
      "check where onnxruntime-web's wasm is served (wasmPaths)",
    ],
    [/out of memory|bad_alloc|allocat/i, "OutOfMemoryError", "use a smaller export"],
    [/protobuf|INVALID_GRAPH|ModelProto/i, "FormatError", "it is no whole ONNX file"],
    [/external data|\.data\b/i, "ModelConfigError", "give the address of its weights as externalData"],
    [/^/, "ModelConfigError", "export it again"],
  ];
  const [, name, advice] = kinds.find(([pattern]) => pattern.test(detail))!;
  return new ScanvasError(name, `${url} ${what}: ${detail}; ${advice}`, { cause });
}

const text = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
