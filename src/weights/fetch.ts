/**
 * Pieces of files that are either right or a named error: nothing is handed on before its SHA-256 matches. A broken transfer is
 * resumed where it stopped, and no byte is asked for twice where the host lets us: what is verified stays, and so does what has
 * come of a piece that was cut.
 */
import { ScanvasError } from "../errors.ts";
import { type FetchOptions, refuseImpostor, request, Retryable, retrying, Transfer } from "./http.ts";

/** Bytes [begin, end) of the file at `url`, which has `fileBytes` bytes, and their SHA-256 in hex. */
export interface Piece {
  url: string;
  begin: number;
  end: number;
  fileBytes: number;
  sha256: string;
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

/**
 * The address of a file of a model; the query of `base` (signed URLs) is kept.
 * @throws FormatError when it lies outside `base`, whatever way its name found past `parseManifest`
 */
export function fileUrl(base: URL, file: string): string {
  const url = new URL(file, base);
  if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname)) {
    throw new ScanvasError("FormatError", `the file "${file}" lies outside the model's folder ${base.href}`);
  }
  url.search = base.search;
  return url.href;
}

/** Answers that go on beyond the piece they were opened for; of so many files at once. */
const KEPT_ANSWERS = 2;

/**
 * The downloads of one load. It remembers what its requests taught: whether the host honours Range, which version of a file it
 * serves. Pieces of one file are to be asked for in the order of the file. `close` when done.
 */
export class Downloads {
  /** What the last answer to a Range said; unknown at first, when one request goes ahead alone to find out. */
  private ranges: boolean | undefined;
  private pioneer: Promise<unknown> | undefined;
  private readonly validators = new Map<string, string>();
  /** By file: the piece asked for last, and, where Range is ignored, the answer that can go on with the next. */
  private readonly previous = new Map<string, Promise<void>>();
  private readonly answers = new Map<string, Transfer>();

  constructor(private readonly options: FetchOptions) {}

  /**
   * Fills `target` (end - begin bytes) with verified bytes. `onBytes` hears every gain, negative when a try starts over.
   * @throws NetworkError (no connection, HTTP error), FormatError (web page, LFS pointer), TruncatedError, IntegrityError, AbortError
   */
  fetch(piece: Piece, target: Uint8Array<ArrayBuffer>, onBytes: (change: number) => void = () => {}): Promise<void> {
    const done = this.fill(piece, target, onBytes, this.previous.get(piece.url));
    this.previous.set(
      piece.url,
      done.catch(() => {}), // only to be waited for
    );
    return done;
  }

  /** Frees the connections. */
  close(): void {
    for (const answer of this.answers.values()) answer.close();
    this.answers.clear();
  }

  private async fill(
    piece: Piece,
    target: Uint8Array<ArrayBuffer>,
    onBytes: (change: number) => void,
    previous: Promise<void> | undefined,
  ): Promise<void> {
    let got = 0; // bytes of target that are filled
    let wrong = 0; // times that they were not what they should be
    const restart = () => {
      onBytes(-got);
      got = 0;
    };
    const attempt = async (address: string) => {
      const partial = piece.begin > 0 || piece.end < piece.fileBytes;
      while (partial && this.ranges === undefined && this.pioneer) await this.pioneer;
      if (partial && this.ranges === false) await previous; // it may leave an answer to go on with
      const tooShort = () =>
        new Retryable(
          new ScanvasError(
            "TruncatedError",
            `${piece.url} ended after ${piece.begin + got} of ${piece.fileBytes} bytes`,
          ),
        );
      const answer = await this.answerFrom(piece, piece.begin + got, address).catch((error: unknown) => {
        if (!(error instanceof Retryable) || error.status !== 416) throw error;
        const refusal = tooShort(); // there is nothing from there on, the host says
        restart();
        throw refusal;
      });
      try {
        if (answer.position <= piece.begin) restart(); // these bytes come again, perhaps of a newer version: take them
        await answer.skipTo(piece.begin + got);
        let ended = answer.position < piece.begin + got;
        while (!ended && got < target.length) {
          const bytes = await answer.next(target.length - got);
          target.set(bytes, got);
          got += bytes.length;
          onBytes(bytes.length);
          ended = bytes.length === 0;
        }
        if (piece.begin === 0) refuseImpostor(target.subarray(0, got), piece.url);
        if (ended) throw tooShort();
        await verify(target, piece.sha256, piece.url);
      } catch (error) {
        answer.close();
        if (!(error instanceof ScanvasError) || error.name !== "IntegrityError") throw error;
        restart();
        if (++wrong > 1) throw error;
        throw new Retryable(error);
      }
      this.keep(piece, answer);
    };
    await retrying(piece.url, this.options, attempt, () => got / target.length);
  }

  /** An answer that brings the bytes of the file from `from` on, or from some place before. */
  private async answerFrom(piece: Piece, from: number, address: string): Promise<Transfer> {
    const kept = this.answers.get(piece.url);
    this.answers.delete(piece.url);
    if (kept && kept.position <= from) return kept;
    kept?.close();
    if (from === 0 && piece.end === piece.fileBytes) return this.whole(piece, address);
    const answer = this.ranged(piece, from, address);
    if (this.ranges === undefined) {
      const back = () => (this.pioneer = undefined);
      this.pioneer = answer.then(back, back);
    }
    return answer;
  }

  private async whole(piece: Piece, address: string): Promise<Transfer> {
    const { response, line } = await request(address, {}, this.options);
    this.remember(piece.url, response);
    return new Transfer(0, piece.end, response, line);
  }

  private async ranged(piece: Piece, from: number, address: string): Promise<Transfer> {
    const headers: Record<string, string> = { Range: `bytes=${from}-${piece.end - 1}` };
    const validator = this.validators.get(piece.url);
    // Across origins If-Range would need a preflight, which most hosts of files refuse; there the hash alone finds a change.
    if (validator && isSameOrigin(address)) headers["If-Range"] = validator;
    const { response, line } = await request(address, { headers }, this.options);
    const otherwise = (got: string) =>
      new Retryable(new ScanvasError("NetworkError", `${piece.url}: the host answered with ${got}, not from ${from}`));
    const known = this.ranges;
    this.ranges = response.status === 206;
    if (this.ranges) {
      this.remember(piece.url, response);
      const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
      const position = Number(start ?? from);
      if (position <= from) return new Transfer(position, piece.end, response, line);
      return line.fail(otherwise(`bytes from ${position}`));
    }
    this.validators.set(piece.url, ""); // if it was If-Range that did not match, it need not be asked again
    // A host that honoured Range before: asking once more is cheaper than the way from the start of the file.
    if (known && from > 0) return line.fail(otherwise("the whole file"));
    return new Transfer(0, piece.fileBytes, response, line);
  }

  /** The version of a file, from the first answer. */
  private remember(url: string, { headers }: Response): void {
    if (this.validators.has(url)) return;
    const etag = headers.get("etag") ?? "";
    const strong = etag.startsWith('"') ? etag : "";
    this.validators.set(url, strong || (etag ? "" : (headers.get("last-modified") ?? "")));
  }

  /** Keeps an answer that goes on with the next piece of its file, as a host that ignores Range gives it. */
  private keep(piece: Piece, answer: Transfer): void {
    if (answer.position >= answer.end) return answer.close();
    this.answers.set(piece.url, answer);
    if (this.answers.size <= KEPT_ANSWERS) return;
    const [oldest, unused] = this.answers.entries().next().value!;
    this.answers.delete(oldest);
    unused.close();
  }
}

function isSameOrigin(url: string): boolean {
  const page = (globalThis as { location?: { origin: string } }).location;
  return !page || new URL(url).origin === page.origin;
}

/** SHA-256 in lower-case hex. */
export async function sha256Hex(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const { subtle } = globalThis.crypto;
  if (!subtle) {
    throw new ScanvasError(
      "WebGPUUnavailableError",
      "scanvas: hashes and WebGPU need a secure context, and this page is not one; serve it over https or from localhost",
    );
  }
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @throws IntegrityError when the bytes are not those of `sha256` */
export async function verify(bytes: Uint8Array<ArrayBuffer>, sha256: string, url: string): Promise<void> {
  const got = await sha256Hex(bytes);
  if (got !== sha256.toLowerCase()) {
    throw new ScanvasError(
      "IntegrityError",
      `${url}: got SHA-256 ${got}, expected ${sha256}; the file was changed or damaged`,
    );
  }
}
