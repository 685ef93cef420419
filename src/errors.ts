/**
 * Every error of scanvas. One class; the kind is `name`, and each kind says what can be done about it. A message says who refused, what was got, what was expected and what to do.
 */
export type ErrorName =
  | "InvalidArgumentError" // a public call got a value it cannot use
  | "WebGPUUnavailableError" // no secure context, no navigator.gpu, no adapter
  | "LimitError" // the request needs more than this device's limits allow
  | "OutOfMemoryError" // the device had no room for a planned buffer
  | "DeviceLostError" // the GPU went away, and could not be had again
  | "NumericalError" // NaN or Inf, with the first block that produced it
  | "ModelConfigError" // a config or manifest asks for what no engine part can do
  | "TensorError" // a weight is missing, or its shape or type is wrong
  | "FormatError" // a file is not what its name says: HTML, a Git LFS pointer, a broken header
  | "NetworkError" // a fetch failed or answered with an HTTP error
  | "TruncatedError" // a file is shorter than announced
  | "IntegrityError" // bytes do not match their SHA-256
  | "WorkerCrashedError" // the worker died or never started
  | "DisposedError" // the pipeline was disposed
  | "TakenOverError" // another tab took the GPU over while this one worked
  | "InternalError" // a mistake of scanvas: please report it
  | "AbortError"; // the caller's signal was aborted

/** Where in a job it happened. */
export type ErrorStage = "load" | "encode" | "prepare" | "denoise" | "decode";

/** What can be done about each kind, and whether the same call on the same pipeline may succeed when it was done. */
const KINDS: Record<ErrorName, { recoverable: boolean; advice: string }> = {
  InvalidArgumentError: { recoverable: true, advice: "Call again with a value that the message names." },
  WebGPUUnavailableError: {
    recoverable: false,
    advice: "Use a current browser with hardware acceleration, on https or localhost.",
  },
  LimitError: { recoverable: true, advice: "Choose a smaller height or width." },
  OutOfMemoryError: {
    recoverable: true,
    advice: 'Close other tabs that use the GPU, choose a smaller size, or load the model with tier "low".',
  },
  DeviceLostError: {
    recoverable: true,
    advice: 'Try again in a minute; if it happens again, load the model with tier "low".',
  },
  NumericalError: { recoverable: true, advice: "Load the model with f32 weights and arithmetic, and report the GPU." },
  ModelConfigError: { recoverable: false, advice: "Convert the model again with this version, or use another one." },
  TensorError: { recoverable: false, advice: "Convert the model again." },
  FormatError: { recoverable: false, advice: "Check the address and what the server sends." },
  NetworkError: {
    recoverable: true,
    advice: "Check the connection and the address, then load again: what came is kept.",
  },
  TruncatedError: { recoverable: true, advice: "Load again; if it stays so, the file on the server is cut." },
  IntegrityError: {
    recoverable: false,
    advice: "The file on the server is not the one that was converted: upload it again.",
  },
  WorkerCrashedError: { recoverable: false, advice: "Load the model again." },
  DisposedError: { recoverable: false, advice: "Load the model again." },
  TakenOverError: { recoverable: true, advice: "Another tab uses the GPU now; generate again to take it back." },
  InternalError: { recoverable: true, advice: "Please report this, with the message." },
  AbortError: { recoverable: true, advice: "" },
};

/** A ScanvasError as plain data, for the way from the worker to the page. */
export interface PlainError {
  name: ErrorName;
  message: string;
  stack: string | undefined;
  stage: ErrorStage | undefined;
}

export class ScanvasError extends Error {
  override readonly name: ErrorName;
  /** Where in a job it happened, as far as it is known. */
  stage: ErrorStage | undefined;

  constructor(name: ErrorName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = name;
  }

  /** Whether the same call may succeed on the same pipeline, once `advice` is followed. After others the pipeline is of no more use. */
  get recoverable(): boolean {
    return KINDS[this.name].recoverable;
  }

  /** What to do, in a sentence for people; "" after an abort. */
  get advice(): string {
    return KINDS[this.name].advice;
  }

  /** Any error as plain data; what is not ours is a crash of the worker. */
  static toPlain(error: unknown): PlainError {
    if (error instanceof ScanvasError) {
      const { name, message, stack, stage } = error;
      return { name, message, stack, stage };
    }
    const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
    return { name: "InternalError", message: `scanvas: ${name}: ${message}`, stack, stage: undefined };
  }

  static fromPlain({ name, message, stack, stage }: PlainError): ScanvasError {
    const error = new ScanvasError(Object.hasOwn(KINDS, name) ? name : "InternalError", message);
    if (stack) error.stack = stack;
    error.stage = stage;
    return error;
  }
}

/** Throws AbortError when `signal` is aborted; called between awaits, so that a cancel takes effect within a step. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new ScanvasError("AbortError", "scanvas: cancelled by the caller");
}

/** A value of any kind for a message: at most 80 characters. `String` would throw for some objects, and says nothing of the others. */
export function show(value: unknown): string {
  const text = typeof value === "object" || typeof value === "string" ? JSON.stringify(value) : String(value); // NaN, 1n, undefined
  return text.slice(0, 80);
}
