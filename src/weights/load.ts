/**
 * Streams the tensors of a component, in order, into a sink: network or local store -> SHA-256 -> sink. Four chunks of at
 * most 8 MiB are in memory at most, whatever the size of the model.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";
import type { FetchOptions, Piece } from "./fetch.ts";
import { fetchPiece, fileUrl, modelUrl, sha256Hex } from "./fetch.ts";
import type { ComponentManifest, ComponentName, Manifest, Shard, TensorEntry } from "./manifest.ts";
import { CHUNK_BYTES, downloadBytes, partName, storedAs } from "./manifest.ts";
import { parseHeader, readHeaderLength } from "./safetensors.ts";
import type { WeightStore } from "./store.ts";

export interface WeightSink {
  /**
   * Called for each tensor in order. `bytes` is a view that is valid until the call returns (its promise, if it gives one,
   * settles) and starts `begin` bytes into the tensor: 0, but for a tensor that crosses chunks, which comes in several calls.
   */
  tensor(name: string, entry: TensorEntry, bytes: Uint8Array<ArrayBuffer>, begin: number): void | Promise<void>;
}

/** `loaded` of `total` bytes are here; it never falls. */
export interface DownloadProgress {
  stage: "download";
  component: ComponentName;
  loaded: number;
  total: number;
}

export interface StreamOptions extends FetchOptions {
  store?: WeightStore;
  onProgress?: (progress: DownloadProgress) => void;
}

/** Requests in flight, and pieces in memory. */
const WINDOW = 4;

/**
 * @throws InvalidArgumentError when the model has no such component; NetworkError, FormatError, TruncatedError, IntegrityError
 * as `fetchPiece`; AbortError. After an error nothing is in flight and nothing unverified was stored or handed on.
 */
export async function streamWeights(
  baseUrl: string,
  manifest: Manifest,
  component: ComponentName,
  sink: WeightSink,
  options: StreamOptions = {},
): Promise<void> {
  const part = manifest.components[component];
  if (!part) throw new ScanvasError("InvalidArgumentError", `the model at ${baseUrl} has no ${component}`);
  const pieces = part.shards.flatMap((shard, index) => piecesOf(modelUrl(baseUrl), shard, index));
  const size = Math.max(...pieces.map(({ begin, end }) => end - begin));
  const slots = Array.from({ length: Math.min(WINDOW, pieces.length) }, () => new Uint8Array(size));
  const stop = new AbortController();
  const cancel = () => stop.abort();
  options.signal?.addEventListener("abort", cancel, { once: true });
  const report = progressReporter(manifest, component, options.onProgress);
  let failure: unknown; // the first, so that what it cancels does not hide it
  const start = (i: number) => {
    const bytes = slots[i % slots.length].subarray(0, pieces[i].end - pieces[i].begin);
    const task = obtain(pieces[i], bytes, { ...options, signal: stop.signal }, report);
    task.catch((error: unknown) => {
      failure ??= error;
      stop.abort();
    });
    return task;
  };
  const running: Promise<Uint8Array<ArrayBuffer>>[] = [];
  const byShard = tensorsByShard(part);
  try {
    throwIfAborted(options.signal);
    for (let i = 0; i < pieces.length; i++) {
      while (running.length < Math.min(i + slots.length, pieces.length)) running.push(start(running.length));
      const bytes = await running[i];
      const { shard, begin } = pieces[i];
      if (begin === 0) checkHeader(bytes, part.shards[shard], byShard[shard]);
      await deliver(bytes, begin, byShard[shard], sink, options.signal);
    }
  } catch (error) {
    throw failure ?? error;
  } finally {
    stop.abort();
    options.signal?.removeEventListener("abort", cancel);
    await Promise.allSettled(running);
  }
}

function piecesOf(base: URL, { file, bytes, chunks }: Shard, shard: number): (Piece & { shard: number })[] {
  const url = fileUrl(base, file);
  return chunks.map((sha256, i) => {
    const end = Math.min((i + 1) * CHUNK_BYTES, bytes);
    return { url, begin: i * CHUNK_BYTES, end, fileBytes: bytes, sha256, shard };
  });
}

/** A tensor, or a part of one, in a shard. */
interface Placed {
  name: string;
  entry: TensorEntry;
  /** Its name and shape in the file. */
  stored: string;
  shape: readonly number[];
  /** Bytes in the file, and from the start of the tensor. */
  offset: number;
  bytes: number;
  start: number;
}

function tensorsByShard(component: ComponentManifest): Placed[][] {
  const lists: Placed[][] = component.shards.map(() => []);
  for (const [name, entry] of Object.entries(component.tensors)) {
    const whole = storedAs(entry).shape;
    let start = 0;
    entry.parts.forEach(({ shard, offset, bytes }, i) => {
      const shape = [(whole[0]! * bytes) / entry.bytes, ...whole.slice(1)];
      lists[shard].push({ name, entry, stored: partName(name, i, entry), shape, offset, bytes, start });
      start += bytes;
    });
  }
  for (const list of lists) list.sort((a, b) => a.offset - b.offset);
  return lists;
}

/** One piece from the store or the network, verified either way; from the network it is stored. */
async function obtain(
  piece: Piece,
  target: Uint8Array<ArrayBuffer>,
  { store, ...options }: StreamOptions,
  report: (change: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  if (store && (await store.read(piece.sha256, target))) {
    throwIfAborted(options.signal);
    if ((await sha256Hex(target)) === piece.sha256) {
      report(target.length);
      return target;
    }
    await store.remove(piece.sha256); // damaged on disk: fetch it again
  }
  await fetchPiece(piece, target, options, report);
  throwIfAborted(options.signal);
  await store?.write(piece.sha256, target);
  return target;
}

/** The file's own header must say what the manifest says. */
function checkHeader(bytes: Uint8Array, shard: Shard, tensors: Placed[]): void {
  const length = readHeaderLength(bytes, shard.bytes, shard.file);
  const header = parseHeader(bytes.subarray(8, 8 + length), shard.bytes, shard.file);
  const differs = tensors.find(({ stored, entry, shape, offset }) => {
    const info = header.tensors.get(stored);
    return info?.begin !== offset || info.dtype !== storedAs(entry).dtype || info.shape.join() !== shape.join();
  });
  if (differs || header.tensors.size !== tensors.length) {
    const what = differs ? `tensor "${differs.stored}"` : `${header.tensors.size} tensors, manifest ${tensors.length}`;
    throw new ScanvasError("FormatError", `${shard.file} and manifest.json disagree: ${what}; convert the model again`);
  }
}

async function deliver(
  bytes: Uint8Array<ArrayBuffer>,
  begin: number,
  tensors: Placed[],
  sink: WeightSink,
  signal: AbortSignal | undefined,
): Promise<void> {
  const end = begin + bytes.length;
  for (const { name, entry, offset, bytes: size, start } of tensors) {
    const from = Math.max(offset, begin);
    const to = Math.min(offset + size, end);
    if (from >= to) continue;
    throwIfAborted(signal);
    await sink.tensor(name, entry, bytes.subarray(from - begin, to - begin), start + from - offset);
  }
}

function progressReporter(manifest: Manifest, component: ComponentName, onProgress?: StreamOptions["onProgress"]) {
  const total = downloadBytes(manifest, [component]);
  let received = 0;
  let loaded = 0;
  return (change: number) => {
    received += change;
    if (received <= loaded) return;
    loaded = received;
    onProgress?.({ stage: "download", component, loaded, total });
  };
}
