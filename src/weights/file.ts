/**
 * One large file as a Blob, for readers that take it from storage: its bytes go to the origin private file system as they come, or
 * into a Blob of the browser's where there is none, and never lie in the JavaScript heap as a whole.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";
import { sha256Hex } from "./fetch.ts";
import { blobSink, fileSink, StorageFailure, type FileSink } from "./file_sink.ts";
import { type FetchOptions, refuseImpostor, request, Retryable, retrying, Transfer } from "./http.ts";
import { inTurn } from "./locks.ts";
import { Sha256 } from "./sha256.ts";

export interface FileSource {
  url: string;
  /** Of the whole file, in hex. Without it the file is as good as the connection. */
  sha256?: string | undefined;
}

export interface FileOptions extends FetchOptions {
  /** Where files are kept; nothing is kept without it. */
  directory?: FileSystemDirectoryHandle | undefined;
  /** Hears every gain, negative when a file starts over. */
  onBytes?: (change: number) => void;
}

/** `<name>.bin` is the file, `<name>.json` says that all of it is there. */
interface FileRecord {
  size: number;
  /** ETag or date of the server's copy; "" when it gave none. */
  version: string;
}

const DIRECTORY = "scanvas-files";

/** The files of this origin; undefined where there is no storage. */
export async function openFiles(): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    return await root.getDirectoryHandle(DIRECTORY, { create: true });
  } catch {
    return undefined;
  }
}

/**
 * With a hash, a kept file is used without asking the server, and a transfer that another visit began is resumed. Without one, the server's
 * copy is compared first (ETag or date, and size), and the kept file used when it is the same or the server cannot be reached.
 * @throws NetworkError, FormatError (web page, LFS pointer), TruncatedError, IntegrityError, AbortError
 */
export async function fetchBlob(source: FileSource, options: FileOptions = {}): Promise<Blob> {
  const { directory } = options;
  throwIfAborted(options.signal);
  if (!directory) return download(source, blobSink(), options);
  const name = source.sha256?.toLowerCase() ?? (await sha256Hex(new TextEncoder().encode(source.url)));
  return inTurn(`file:${name}`, options.signal, () => keptOrFetched(directory, name, source, options));
}

async function keptOrFetched(
  directory: FileSystemDirectoryHandle,
  name: string,
  source: FileSource,
  options: FileOptions,
): Promise<Blob> {
  const kept = await keptFile(directory, name, source, options);
  if (kept) {
    options.onBytes?.(kept.size);
    return kept;
  }
  try {
    await directory.removeEntry(`${name}.json`).catch(() => {});
    const sink = await fileSink(directory, `${name}.bin`, source.sha256 !== undefined);
    options.onBytes?.(sink.length);
    return await download(source, sink, options, async (record) => {
      const file = await directory.getFileHandle(`${name}.json`, { create: true });
      const writable = await file.createWritable();
      await writable.write(JSON.stringify(record));
      await writable.close();
    });
  } catch (error) {
    if (!(error instanceof StorageFailure)) throw error;
    options.onBytes?.(-error.written); // no room on this device: once more, into memory
    return download(source, blobSink(), options);
  }
}

async function keptFile(
  directory: FileSystemDirectoryHandle,
  name: string,
  { url, sha256 }: FileSource,
  options: FileOptions,
): Promise<File | undefined> {
  let file: File;
  let record: FileRecord;
  try {
    record = JSON.parse(await (await (await directory.getFileHandle(`${name}.json`)).getFile()).text()) as FileRecord;
    file = await (await directory.getFileHandle(`${name}.bin`)).getFile();
  } catch {
    return undefined;
  }
  if (file.size !== record.size) return undefined;
  if (sha256 !== undefined) return file;
  try {
    const { response, line } = await request(url, {}, options);
    line.close(); // the head is enough
    const same = record.version !== "" && versionOf(response) === record.version;
    return same && (sizeOf(response) ?? file.size) === file.size ? file : undefined;
  } catch (error) {
    throwIfAborted(options.signal);
    if (error instanceof Retryable) return file; // offline, or a server in trouble
    throw error;
  }
}

async function download(
  { url, sha256 }: FileSource,
  sink: FileSink,
  options: FileOptions,
  onDone: (record: FileRecord) => Promise<void> = async () => {},
): Promise<Blob> {
  let hash = new Sha256();
  let version: string | undefined;
  let size: number | undefined;
  let damaged = false;
  const restart = async (): Promise<void> => {
    options.onBytes?.(-sink.length);
    hash = new Sha256();
    version = undefined;
    await sink.reset();
  };
  const attempt = async (address: string): Promise<void> => {
    const transfer = await open(address);
    try {
      for (;;) {
        const chunk = await transfer.next(Infinity);
        if (chunk.length === 0) break;
        if (sink.length === 0) refuseImpostor(chunk, url);
        if (sha256 !== undefined) hash.update(chunk);
        await sink.append(chunk);
        options.onBytes?.(chunk.length);
      }
    } finally {
      transfer.close();
    }
    if (size !== undefined && sink.length < size) {
      const what = `${url} ended after ${sink.length} of ${size} bytes`;
      throw new Retryable(new ScanvasError("TruncatedError", what));
    }
    const got = sha256 && hash.hex();
    if (got !== sha256?.toLowerCase()) {
      const what = `${url}: got SHA-256 ${got}, expected ${sha256}; the file was changed or damaged`;
      const error = new ScanvasError("IntegrityError", what);
      await restart();
      if (damaged) throw error;
      damaged = true; // one more time: it may have happened on the way, or in storage
      throw new Retryable(error);
    }
  };
  /** Asks for what is missing, or for everything when the host's copy is another than the one that was begun. */
  const open = async (address: string): Promise<Transfer> => {
    const from = sink.length;
    const headers: HeadersInit = from > 0 ? { Range: `bytes=${from}-` } : {};
    const { response, line } = await request(address, { headers }, options).catch(async (error: unknown) => {
      if (error instanceof Retryable && error.status === 416) await restart();
      throw error;
    });
    const goesOn = response.status === 206 && startOf(response, from) === from;
    if (from > 0 && (!goesOn || versionOf(response) !== (version ?? versionOf(response)))) {
      await restart();
      if (response.status === 206) {
        line.fail(new Retryable(new ScanvasError("NetworkError", `${url} changed while it was read; load again`)));
      }
    }
    version = versionOf(response);
    size = sizeOf(response);
    return new Transfer(sink.length, size ?? Infinity, response, line);
  };
  try {
    if (sink.length > 0) await sink.read((chunk) => void hash.update(chunk));
    await retrying(url, options, attempt, () => (size ? sink.length / size : 0));
    const blob = await sink.finish();
    await onDone({ size: blob.size, version: version ?? "" });
    return blob;
  } catch (error) {
    await sink.close();
    throw error;
  }
}

/** What tells two versions of a file apart, as far as the server shows it. */
const versionOf = ({ headers }: Response): string => headers.get("etag") ?? headers.get("last-modified") ?? "";

/** Bytes of the whole file; undefined when the server does not say. */
function sizeOf({ status, headers }: Response): number | undefined {
  const text =
    status === 206 ? /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] : headers.get("content-length");
  return text && !headers.get("content-encoding") ? Number(text) : undefined;
}

const startOf = ({ headers }: Response, asked: number): number =>
  Number(/^bytes (\d+)-/.exec(headers.get("content-range") ?? "")?.[1] ?? asked);
