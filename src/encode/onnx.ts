/**
 * The text encoder as an ONNX graph, run by onnxruntime-web: for T5 exports that are there already. The runtime (an optional peer
 * dependency, 4 to 7 MB compressed) is imported only here and only then. Model files go from storage to the runtime as Blobs.
 */
import type * as Ort from "onnxruntime-web";
import { ScanvasError, throwIfAborted } from "../errors.ts";
import { fetchBlob, type FileOptions } from "../weights/file.ts";
import { fromF16 } from "../numbers/half.ts";
import { checkGraph, type GraphInfo } from "./onnx_graph.ts";
import { createSession, importRuntime, runtimeError, type OnnxSession, type Provider } from "./onnx_runtime.ts";

/** Absolute addresses. */
export interface OnnxSource {
  onnx: string;
  /** SHA-256 of the model file in hex: then it is verified, and its download resumed over visits. */
  sha256?: string | undefined;
  /** File with the weights of a model that keeps them apart; the model names it by its last path segment. */
  externalData?: string | undefined;
  externalDataSha256?: string | undefined;
}

export interface OnnxOptions extends FileOptions {
  /** Folder with onnxruntime-web's wasm files, ending in a slash. Default: where the bundler put them. */
  wasmPaths?: string | undefined;
  /** Default: WebGPU where there is an adapter that is not a CPU's, else wasm. */
  provider?: Provider | undefined;
}

export interface OnnxEncoder {
  readonly kind: "onnx";
  readonly provider: Provider;
  /** Channels of an embedding. */
  readonly width: number;
  /**
   * ids [n], real tokens only -> [n, width] f32. Calls wait for each other.
   * @throws NumericalError for NaN or Inf; OutOfMemoryError, ModelConfigError when the runtime fails; DisposedError; AbortError at
   * once, though the runtime cannot be interrupted: it is released when it comes back (on "wasm" it keeps the thread until then)
   */
  encode(ids: Int32Array, signal?: AbortSignal): Promise<Float32Array<ArrayBuffer>>;
  /** Frees the runtime's memory until the next `encode`, which reads the model from storage again. */
  release(): Promise<void>;
  /** For good. */
  dispose(): Promise<void>;
}

/**
 * @throws ModelConfigError when onnxruntime-web is not installed, or the graph is no text encoder: input_ids [1, n] int32 or int64,
 * attention_mask alike or absent, last_hidden_state (else the first output) [1, n, width] f32 or f16; NetworkError, FormatError,
 * TruncatedError, IntegrityError as `fetchBlob`; FormatError for what is no ONNX file; AbortError
 */
export async function createOnnxEncoder(source: OnnxSource, options: OnnxOptions = {}): Promise<OnnxEncoder> {
  const { signal } = options;
  const ort = await importRuntime(options.wasmPaths); // first: without it nothing needs to be downloaded
  const model = await fetchBlob({ url: source.onnx, sha256: source.sha256 }, options);
  const { externalData, externalDataSha256 } = source;
  const data =
    externalData === undefined
      ? []
      : [
          {
            path: decodeURIComponent(new URL(externalData).pathname.split("/").at(-1)!),
            data: await fetchBlob({ url: externalData, sha256: externalDataSha256 }, options),
          },
        ];
  const provider = options.provider ?? (await chooseProvider());
  const start = (): Promise<OnnxSession> => createSession(ort, provider, source.onnx, model, data);

  let session: OnnxSession | undefined = await start();
  let disposed = false;
  let last: Promise<unknown> = Promise.resolve(); // the runtime does one thing at a time
  const release = async (): Promise<void> => {
    const old = session;
    session = undefined;
    await old?.release();
  };
  /** Runs `work` after all that was asked before. An abort settles the promise at once; the work then cleans up by itself. */
  const queued = <T>(work: () => Promise<T>, abort?: AbortSignal): Promise<T> => {
    const before = last;
    const result = before.then(work);
    last = result.catch(() => {});
    return abort ? orAborted(result, abort) : result;
  };

  let graph: GraphInfo;
  try {
    throwIfAborted(signal);
    graph = checkGraph(session.session, source.onnx);
  } catch (error) {
    await release();
    throw error;
  }
  return {
    kind: "onnx",
    provider,
    width: graph.width,
    async encode(ids, abort) {
      throwIfAborted(abort);
      return queued(async () => {
        throwIfAborted(abort);
        if (disposed) throw new ScanvasError("DisposedError", "scanvas: the text encoder was disposed");
        session ??= await start();
        try {
          return await run(ort, session.session, graph, ids, source.onnx);
        } finally {
          if (abort?.aborted) await release();
        }
      }, abort);
    },
    release: () => queued(release),
    dispose() {
      disposed = true;
      return queued(release);
    },
  };
}

/** A software adapter is slower than the runtime's own code for CPUs. */
async function chooseProvider(): Promise<Provider> {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter();
  return adapter && !adapter.info.isFallbackAdapter ? "webgpu" : "wasm";
}

async function run(
  ort: typeof Ort,
  session: Ort.InferenceSession,
  graph: GraphInfo,
  ids: Int32Array,
  url: string,
): Promise<Float32Array<ArrayBuffer>> {
  const input = (type: "int32" | "int64", values: Int32Array): Ort.Tensor =>
    type === "int64"
      ? new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length])
      : new ort.Tensor("int32", values, [1, ids.length]);
  const feeds: Record<string, Ort.Tensor> = { input_ids: input(graph.idType, ids) };
  if (graph.maskType) feeds.attention_mask = input(graph.maskType, new Int32Array(ids.length).fill(1));
  let output: Ort.Tensor;
  try {
    output = (await session.run(feeds, [graph.output]))[graph.output]!;
  } catch (cause) {
    throw runtimeError(cause, url, `failed on ${ids.length} tokens`);
  }
  if (output.dims.join() !== [1, ids.length, graph.width].join()) {
    throw new ScanvasError(
      "ModelConfigError",
      `${url}: ${graph.output} is [${output.dims}] for ${ids.length} tokens, expected [1, ${ids.length}, ${graph.width}]`,
    );
  }
  const embeds = toF32(output);
  output.dispose();
  if (embeds.every(Number.isFinite)) return embeds;
  throw new ScanvasError(
    "NumericalError",
    `${url} produced NaN or Inf; T5 overflows in f16: use an export that computes in f32 or bf16`,
  );
}

/** Browsers differ in what they hold f16 in: Float16Array or Uint16Array. */
function toF32({ type, data }: Ort.Tensor): Float32Array<ArrayBuffer> {
  if (type === "float32") return Float32Array.from(data as Float32Array);
  const { buffer, byteOffset, length } = data as Uint16Array;
  return Float32Array.from(new Uint16Array(buffer, byteOffset, length), fromF16);
}

/** `work`, or AbortError if `signal` is aborted before it settles. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new ScanvasError("AbortError", "scanvas: cancelled by the caller"));
    signal.addEventListener("abort", stop);
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
