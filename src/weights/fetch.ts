/**
 * Downloads that are either right or a named error. Nothing is handed on before its SHA-256 matches; what a misconfigured host
 * sends instead of weights (a web page, a Git LFS pointer, half a file) is recognised and said. A broken transfer is resumed
 * where it stopped when the host allows it.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";
import type { FileEntry, Manifest } from "./manifest.ts";
import { MAX_MANIFEST_BYTES, parseManifest } from "./manifest.ts";

export interface FetchOptions {
  signal?: AbortSignal;
  /** Instead of the global fetch (tests, authentication). */
  fetch?: typeof fetch;
  /** Wait before the second try in ms; doubles for each further one. Default 500. A Retry-After header goes first. */
  retryDelay?: number;
  /** A transfer that brings no byte for so many ms is cut and resumed. Default 30000. */
  idleTimeout?: number;
}

/** Bytes [begin, end) of the file at `url`, which has `fileBytes` bytes, and their SHA-256 in hex. */
export interface Piece {
  url: string;
  begin: number;
  end: number;
  fileBytes: number;
  sha256: string;
}

const TRIES = 3;
const MAX_WAIT = 60_000;
const LFS = "version https://git-lfs";

/** A failure that another try may mend. */
class Retryable extends Error {
  constructor(
    readonly error: ScanvasError,
    readonly status = 0,
    readonly wait = 0,
  ) {
    super(error.message);
  }
}

/** The directory URL of a model, ending in a slash. @throws InvalidArgumentError when it is not http(s) */
export function modelUrl(baseUrl: string): URL {
  const page = (globalThis as { location?: { href: string } }).location?.href;
  let url: URL | undefined;
  try {
    url = new URL(baseUrl, page);
  } catch {
    // refused below
  }
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new ScanvasError("InvalidArgumentError", `model URL "${baseUrl}" is not an http(s) address`);
  }
  url.pathname = url.pathname.replace(/(\/manifest\.json|\/?)$/, "/");
  url.hash = "";
  return url;
}

/** The address of a file of a model; the query of `base` (signed URLs) is kept. `file` has passed `parseManifest`. */
export function fileUrl(base: URL, file: string): string {
  const url = new URL(file, base);
  url.search = base.search;
  return url.href;
}

/**
 * Fetches and checks manifest.json under `baseUrl`. `integrity`, the SHA-256 of the manifest in hex, pins the whole model.
 * @throws NetworkError, FormatError, ModelConfigError, IntegrityError, AbortError
 */
export async function fetchManifest(
  baseUrl: string,
  options: FetchOptions & { integrity?: string } = {},
): Promise<Manifest> {
  const url = fileUrl(modelUrl(baseUrl), "manifest.json");
  const bytes = await retrying(options, async () => {
    const attempt = await open(url, {}, options);
    const parts: Uint8Array[] = [];
    let size = 0;
    await attempt.read((chunk) => {
      parts.push(chunk.slice());
      size += chunk.length;
      if (size > MAX_MANIFEST_BYTES)
        throw new ScanvasError("FormatError", `${url} is over ${MAX_MANIFEST_BYTES} bytes`);
      return true;
    });
    return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  });
  refuseImpostor(bytes, url);
  if (options.integrity !== undefined) await verify(bytes, options.integrity, url);
  return parseManifest(new TextDecoder().decode(bytes));
}

/** Fetches one small file that the manifest names, verified. @throws as `fetchPiece` */
export async function fetchFile(baseUrl: string, entry: FileEntry, options: FetchOptions = {}): Promise<Uint8Array> {
  const target = new Uint8Array(entry.bytes);
  const url = fileUrl(modelUrl(baseUrl), entry.file);
  await fetchPiece({ url, begin: 0, end: entry.bytes, fileBytes: entry.bytes, sha256: entry.sha256 }, target, options);
  return target;
}

/**
 * Fills `target` (end - begin bytes) with verified bytes. `onBytes` hears every gain, negative when a try starts over.
 * @throws NetworkError (no connection, HTTP error), FormatError (web page, LFS pointer), TruncatedError, IntegrityError, AbortError
 */
export async function fetchPiece(
  piece: Piece,
  target: Uint8Array<ArrayBuffer>,
  options: FetchOptions = {},
  onBytes: (change: number) => void = () => {},
): Promise<void> {
  let got = 0; // bytes of target that are filled
  let reload = false; // the HTTP cache may hold the broken copy
  const restart = () => {
    onBytes(-got);
    got = 0;
  };
  const attempt = async () => {
    const from = piece.begin + got;
    // no If-Range: across origins it would need a preflight, and a file that changed in between fails its hash
    const partial = from > 0 || piece.end < piece.fileBytes;
    const headers: HeadersInit = partial ? { Range: `bytes=${from}-${piece.end - 1}` } : {};
    const { response, read } = await open(piece.url, { headers, ...(reload && { cache: "reload" }) }, options).catch(
      (error: unknown) => {
        if (error instanceof Retryable && error.status === 416) restart();
        throw error;
      },
    );
    let skip = 0;
    const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
    if (response.status !== 206 || Number(start ?? from) !== from) {
      // the whole file, or a range other than the one asked for
      if (got) restart();
      skip = piece.begin - (response.status === 206 ? Number(start) : 0);
    }
    let tooLong = skip < 0;
    await read((chunk) => {
      const part = chunk.subarray(Math.min(Math.max(skip, 0), chunk.length));
      skip -= chunk.length - part.length;
      const fits = part.subarray(0, target.length - got);
      target.set(fits, got);
      got += fits.length;
      onBytes(fits.length);
      if (fits.length < part.length && piece.end === piece.fileBytes) tooLong = true;
      return !tooLong && (got < target.length || piece.end === piece.fileBytes);
    });
    if (piece.begin === 0) refuseImpostor(target.subarray(0, got), piece.url);
    if (got < target.length) {
      const what = `${piece.url} ended after ${piece.begin + got} of ${piece.fileBytes} bytes`;
      throw new Retryable(new ScanvasError("TruncatedError", what));
    }
    try {
      if (tooLong) throw new ScanvasError("IntegrityError", `${piece.url} is longer than ${piece.fileBytes} bytes`);
      await verify(target, piece.sha256, piece.url);
    } catch (error) {
      restart();
      if (reload) throw error;
      reload = true; // one more time, past every cache
      throw new Retryable(error as ScanvasError);
    }
  };
  await retrying(options, attempt, () => got / target.length);
}

/**
 * Runs `attempt` up to three times. A try that moved `progress` (0..1) by a sixteenth or more counts as the first again: a line
 * that drops every few MB gets through.
 */
async function retrying<T>(options: FetchOptions, attempt: () => Promise<T>, progress = () => 0): Promise<T> {
  let best = 0;
  for (let tries = 1; ; tries++) {
    throwIfAborted(options.signal);
    try {
      return await attempt();
    } catch (error) {
      throwIfAborted(options.signal);
      if (!(error instanceof Retryable)) throw error;
      if (progress() >= best + 1 / 16) tries = 1;
      best = Math.max(best, progress());
      if (tries >= TRIES) throw error.error;
      const backoff = (options.retryDelay ?? 500) * 2 ** (tries - 1);
      await sleep(error.wait || backoff * (0.75 + Math.random() / 2), options.signal);
    }
  }
}

/** Starts one request and looks at its head; `read` hands chunks to a callback until it returns false or the body ends. */
async function open(url: string, init: RequestInit, options: FetchOptions) {
  const patience = options.idleTimeout ?? 30_000;
  const idle = new AbortController();
  const cancel = () => idle.abort(options.signal?.reason ?? new Error(`no byte for ${patience} ms`));
  options.signal?.addEventListener("abort", cancel, { once: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(cancel, patience);
  };
  const close = () => {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", cancel);
  };
  const failed = (cause: unknown): never => {
    close();
    idle.abort(); // frees the connection
    if (cause instanceof ScanvasError || cause instanceof Retryable) throw cause;
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new Retryable(new ScanvasError("NetworkError", `${url}: ${detail}; check the connection`, { cause }));
  };
  alive();
  const response = await (options.fetch ?? fetch)(url, { ...init, signal: idle.signal }).catch(failed);
  try {
    checkHead(response, url);
  } catch (error) {
    failed(error);
  }
  const read = async (onChunk: (chunk: Uint8Array) => boolean): Promise<void> => {
    try {
      const reader = response.body!.getReader();
      for (;;) {
        alive();
        const { done, value } = await reader.read();
        if (done) break;
        if (!onChunk(value)) {
          await reader.cancel();
          break;
        }
      }
      close();
    } catch (error) {
      failed(error);
    }
  };
  return { response, read };
}

function checkHead(response: Response, url: string): void {
  const { status } = response;
  if (url.startsWith("https:") && response.url.startsWith("http:")) {
    throw new ScanvasError("NetworkError", `${url} redirects to an unencrypted address`);
  }
  if (!response.ok) {
    const error = new ScanvasError("NetworkError", `${url}: HTTP ${status} ${response.statusText}`.trimEnd());
    if (status === 429 || status === 408 || status === 416 || status >= 500) {
      throw new Retryable(error, status, retryAfter(response.headers.get("retry-after")));
    }
    throw error;
  }
  if (/^text\/html\b/i.test(response.headers.get("content-type") ?? "")) throw webPage(url);
}

/** Retry-After (seconds or a date) in ms, at most a minute. */
function retryAfter(header: string | null): number {
  if (!header) return 0;
  const seconds = Number(header);
  const wait = Number.isNaN(seconds) ? Date.parse(header) - Date.now() : seconds * 1000;
  return Math.min(Math.max(wait || 0, 0), MAX_WAIT);
}

function webPage(url: string): ScanvasError {
  return new ScanvasError("FormatError", `got a web page, not model files: ${url}; check the address and the server`);
}

/** What servers send in place of a file, told by its first bytes. */
function refuseImpostor(bytes: Uint8Array, url: string): void {
  const start = new TextDecoder("latin1").decode(bytes.subarray(0, 64)).trimStart().toLowerCase();
  if (start.startsWith("<!doctype html") || start.startsWith("<html")) throw webPage(url);
  if (start.startsWith(LFS)) {
    throw new ScanvasError(
      "FormatError",
      `${url} is a Git LFS pointer, not the file; run "git lfs pull" on the server`,
    );
  }
}

/** SHA-256 in lower-case hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const { subtle } = globalThis.crypto;
  if (!subtle)
    throw new ScanvasError("WebGPUUnavailableError", "scanvas needs a secure context: use https or localhost");
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function verify(bytes: Uint8Array<ArrayBuffer>, sha256: string, url: string): Promise<void> {
  const got = await sha256Hex(bytes);
  if (got !== sha256.toLowerCase()) {
    throw new ScanvasError(
      "IntegrityError",
      `${url}: got SHA-256 ${got}, expected ${sha256}; the file was changed or damaged`,
    );
  }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
