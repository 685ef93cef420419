/**
 * Every error scanvas throws on purpose. One class; the kind is `name`, because `name`, `message` and `stack` are all that
 * survives the trip from the worker to the page. A message says who refused, what was got, what was expected and what to do.
 */
export type ErrorName =
  | "InvalidArgumentError" // a public call got a value it cannot use
  | "WebGPUUnavailableError" // no secure context, no navigator.gpu, no adapter
  | "LimitError" // the request needs more than this device's limits allow
  | "OutOfMemoryError" // the device had no room for a planned buffer
  | "DeviceLostError" // the GPU went away; load again
  | "NumericalError" // NaN or Inf, with the first block that produced it
  | "ModelConfigError" // a config or manifest asks for what no engine part can do
  | "TensorError" // a weight is missing, or its shape or type is wrong
  | "FormatError" // a file is not what its name says: HTML, a Git LFS pointer, a broken header
  | "NetworkError" // a fetch failed or answered with an HTTP error
  | "TruncatedError" // a file is shorter than announced
  | "IntegrityError" // bytes do not match their SHA-256
  | "WorkerCrashedError" // the worker died or never started
  | "DisposedError" // the pipeline was disposed
  | "AbortError"; // the caller's signal was aborted

export class ScanvasError extends Error {
  override readonly name: ErrorName;
  constructor(name: ErrorName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = name;
  }
}

/** Throws AbortError when `signal` is aborted; called between awaits, so that a cancel takes effect within a step. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ScanvasError("AbortError", "scanvas: cancelled by the caller");
}
