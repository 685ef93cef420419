/**
 * One HTTP request and its retries: heads are judged, what a misconfigured host sends instead of model files is recognised and
 * said, a silent line is cut. What the bytes should be is fetch.ts's matter.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";
import { ByteReader } from "./bytes.ts";

export interface FetchOptions {
  signal?: AbortSignal;
  /** Instead of the global fetch (tests, authentication). */
  fetch?: typeof fetch;
  /** Wait before the second try in ms; doubles for each further one. Default 500. A Retry-After header goes first. */
  retryDelay?: number;
  /** A transfer that brings no byte for so many ms is cut and resumed. Default 30000. */
  idleTimeout?: number;
  /** A fresh address for one that the host refused with 401 or 403, as when a signed URL is over. */
  resolveUrl?: (url: string) => string | Promise<string>;
}

/** Tries without gain before an error is final: about 15 seconds without a network. */
const TRIES = 6;
const MAX_WAIT = 60_000;
const LFS = "version https://git-lfs";

/** A failure that another try may mend. */
export class Retryable extends Error {
  constructor(
    readonly error: ScanvasError,
    /** HTTP status, 0 when there was no answer. */
    readonly status = 0,
    /** What Retry-After asks for in ms. */
    readonly wait = 0,
  ) {
    super(error.message);
  }
}

/**
 * Runs `attempt` until it succeeds, at most six times; it is given the address to use. A try that brings `progress` (0..1) a
 * sixteenth further counts as the first again: a line that drops every few MB gets through.
 */
export async function retrying<T>(
  url: string,
  options: FetchOptions,
  attempt: (address: string) => Promise<T>,
  progress = () => 0,
): Promise<T> {
  let address = url;
  let denied = false;
  let best = 0;
  for (let tries = 1; ; tries++) {
    throwIfAborted(options.signal);
    try {
      return await attempt(address);
    } catch (error) {
      throwIfAborted(options.signal);
      if (!(error instanceof Retryable)) throw error;
      if (error.status === 401 || error.status === 403) {
        if (denied) throw error.error;
        denied = true;
        address = (await options.resolveUrl?.(url)) ?? url;
      }
      if (progress() >= best + 1 / 16) {
        tries = 1;
        best = progress();
      }
      if (tries >= TRIES) throw error.error;
      const backoff = (options.retryDelay ?? 500) * 2 ** (tries - 1);
      await sleep(error.wait || backoff * (0.75 + Math.random() / 2), options.signal);
    }
  }
}

/** The body of one answer, read at the reader's pace. */
export class Transfer {
  private spare: Uint8Array = new Uint8Array(); // received and not yet taken
  private readonly reader: ByteReader | undefined;

  /** The bytes from `position` of the file, which moves with each byte that is taken, to `end`. */
  constructor(
    public position: number,
    readonly end: number,
    response: Response,
    private readonly line: Line,
  ) {
    this.reader = response.body ? new ByteReader(response.body) : undefined;
  }

  /** The next bytes, at most `limit`, valid until the next call; none at the end. @throws Retryable when the line breaks */
  async next(limit: number): Promise<Uint8Array> {
    try {
      while (!this.spare.length) {
        this.line.alive();
        const bytes = await this.reader?.next();
        if (!bytes) return new Uint8Array();
        this.spare = bytes;
      }
    } catch (error) {
      this.line.fail(error);
    } finally {
      this.line.rest();
    }
    const bytes = this.spare.subarray(0, limit);
    this.spare = this.spare.subarray(bytes.length);
    this.position += bytes.length;
    return bytes;
  }

  /** Reads on to `position` of the file, or to the end. */
  async skipTo(position: number): Promise<void> {
    while (this.position < position && (await this.next(position - this.position)).length);
  }

  /** Frees the connection: for the next request when everything was read, else by cutting it. */
  close(): void {
    const close = () => this.line.close();
    if (!this.reader || this.position < this.end) return close();
    this.line.alive();
    this.reader.next().then(close, close);
  }
}

/** Sends one request and judges the head of the answer. @throws Retryable, or what no other try can mend */
export async function request(
  url: string,
  init: RequestInit,
  options: FetchOptions,
): Promise<{ response: Response; line: Line }> {
  const line = new Line(url, options);
  line.alive();
  try {
    // The HTTP cache would keep a second copy of the model, and lets requests for ranges of one file wait for each other.
    const response = await (options.fetch ?? fetch)(url, { cache: "no-store", ...init, signal: line.signal });
    checkHead(response, url);
    line.rest();
    return { response, line };
  } catch (error) {
    return line.fail(error);
  }
}

/** Watches one connection: cut by the caller's signal, and when a read takes longer than the patience. */
export class Line {
  private readonly controller = new AbortController();
  readonly signal = this.controller.signal;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly patience: number;
  private readonly cancel = () => this.controller.abort(new Error(`no byte for ${this.patience} ms`));

  constructor(
    private readonly url: string,
    private readonly options: FetchOptions,
  ) {
    this.patience = options.idleTimeout ?? 30_000;
    options.signal?.addEventListener("abort", this.cancel);
    if (options.signal?.aborted) this.cancel();
  }

  /** Something is waited for from now on. */
  alive(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.cancel, this.patience);
  }

  /** Nothing is waited for. */
  rest(): void {
    clearTimeout(this.timer);
  }

  /** Frees the connection. */
  close(): void {
    this.rest();
    this.options.signal?.removeEventListener("abort", this.cancel);
    this.controller.abort();
  }

  fail(cause: unknown): never {
    this.close();
    if (cause instanceof ScanvasError || cause instanceof Retryable) throw cause;
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new Retryable(
      new ScanvasError("NetworkError", `${this.url}: ${detail}; check the connection`, { cause: cause ?? detail }),
    );
  }
}

function checkHead(response: Response, url: string): void {
  const { status } = response;
  if (url.startsWith("https:") && response.url.startsWith("http:")) {
    throw new ScanvasError("NetworkError", `${url} redirects to an unencrypted address`);
  }
  if (!response.ok) {
    const error = new ScanvasError("NetworkError", `${url}: HTTP ${status} ${response.statusText}`.trimEnd());
    if ([401, 403, 408, 416, 429].includes(status) || status >= 500) {
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
export function refuseImpostor(bytes: Uint8Array, url: string): void {
  const start = new TextDecoder("latin1").decode(bytes.subarray(0, 64)).trimStart().toLowerCase();
  if (start.startsWith("<!doctype html") || start.startsWith("<html")) throw webPage(url);
  if (start.startsWith(LFS)) {
    throw new ScanvasError(
      "FormatError",
      `${url} is a Git LFS pointer, not the file; run "git lfs pull" on the server`,
    );
  }
}

/** Waits, at most until `signal` is aborted. */
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
