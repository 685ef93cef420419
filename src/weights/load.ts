/**
 * Streams the tensors of a component, in order, into a sink: store or network -> SHA-256 -> sink. Four chunks of at most 8 MiB
 * are in memory at most, whatever the size of the model.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";
import { Downloads, fileUrl, modelUrl, type Piece } from "./fetch.ts";
import type { ComponentManifest, ComponentName, Manifest, Shard, TensorEntry } from "./manifest.ts";
import { CHUNK_BYTES, partName, storedAs } from "./manifest.ts";
import { obtain, type ObtainOptions } from "./obtain.ts";
import { Ring, RING_BUFFERS } from "./ring.ts";
import { parseHeader, readHeaderLength } from "./safetensors.ts";
import type { WeightStore } from "./store.ts";

export interface WeightSink {
  /**
   * Called for each tensor in order. `bytes` is a view that is valid until the call returns (its promise, if it gives one,
   * settles) and starts `begin` bytes into the tensor: 0, but for a tensor that crosses chunks, which comes in several calls.
   */
  tensor(name: string, entry: TensorEntry, bytes: Uint8Array<ArrayBuffer>, begin: number): void | Promise<void>;
}

/** `loaded` of `total` bytes are here, from the store or the network; it never falls and ends at `total`. */
export interface DownloadProgress {
  stage: "download";
  component: ComponentName;
  loaded: number;
  total: number;
}

export interface StreamOptions extends ObtainOptions {
  onProgress?: (progress: DownloadProgress) => void;
  /** The staging memory; one for all calls of a load keeps it at 32 MiB. Default: one of its own. */
  ring?: Ring;
  /** Only these tensors are delivered, and only the chunks that they lie in obtained. Default: all. */
  tensors?: ReadonlySet<string>;
}

/**
 * @throws InvalidArgumentError when the model has no such component or tensor; NetworkError, FormatError, TruncatedError,
 * IntegrityError as `obtain`; AbortError. After an error nothing is in flight and nothing unverified was stored or handed on.
 */
export async function streamWeights(
  baseUrl: string,
  manifest: Manifest,
  component: ComponentName,
  sink: WeightSink,
  options: StreamOptions = {},
): Promise<void> {
  const { part, pieces } = locate(baseUrl, manifest, component);
  const { tensors: wanted } = options;
  const missing = [...(wanted ?? [])].find((name) => !Object.hasOwn(part.tensors, name));
  if (missing !== undefined) {
    throw new ScanvasError("InvalidArgumentError", `the ${component} at ${baseUrl} has no tensor "${missing}"`);
  }
  const byShard = tensorsByShard(part);
  const isWanted = ({ name }: Placed) => !wanted || wanted.has(name);
  const chosen = wanted
    ? pieces.filter((piece) => byShard[piece.shard].some((placed) => isWanted(placed) && overlap(placed, piece)))
    : pieces;
  await pump(component, chosen, options, async (bytes, { shard, begin, end }) => {
    if (begin === 0) checkHeader(bytes, part.shards[shard], byShard[shard]);
    for (const placed of byShard[shard]) {
      const span = isWanted(placed) && overlap(placed, { begin, end });
      if (!span) continue;
      throwIfAborted(options.signal);
      const view = bytes.subarray(span.from - begin, span.to - begin);
      await sink.tensor(placed.name, placed.entry, view, placed.start + span.from - placed.offset);
    }
  });
}

/**
 * Downloads what the store has not yet of a component. What is there is trusted by its size: the hash is looked at when it is
 * read. Returns whether all of it is in the store; false as soon as it takes no more (`store.problem` says why).
 * @throws as `streamWeights`
 */
export async function prefetchWeights(
  baseUrl: string,
  manifest: Manifest,
  component: ComponentName,
  options: Omit<StreamOptions, "tensors"> & { store: WeightStore },
): Promise<boolean> {
  const { pieces } = locate(baseUrl, manifest, component);
  const { store } = options;
  const present = await Promise.all(pieces.map(({ sha256, begin, end }) => store.has(sha256, end - begin)));
  const missing = pieces.filter((_, i) => !present[i]);
  let kept = true;
  await pump(component, missing, { ...options, before: bytesOf(pieces) - bytesOf(missing) }, async (_, piece) => {
    kept = await store.has(piece.sha256, piece.end - piece.begin);
    return kept;
  });
  return kept;
}

type PlacedPiece = Piece & { shard: number };

function locate(
  baseUrl: string,
  manifest: Manifest,
  component: ComponentName,
): { part: ComponentManifest; pieces: PlacedPiece[] } {
  const part = manifest.components[component];
  if (!part) throw new ScanvasError("InvalidArgumentError", `the model at ${baseUrl} has no ${component}`);
  const base = modelUrl(baseUrl);
  return { part, pieces: part.shards.flatMap((shard, index) => piecesOf(base, shard, index)) };
}

function piecesOf(base: URL, { file, bytes, chunks }: Shard, shard: number): PlacedPiece[] {
  const url = fileUrl(base, file);
  return chunks.map((sha256, i) => {
    const end = Math.min((i + 1) * CHUNK_BYTES, bytes);
    return { url, begin: i * CHUNK_BYTES, end, fileBytes: bytes, sha256, shard };
  });
}

function bytesOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { begin, end }) => sum + end - begin, 0);
}

/** Obtains `pieces`, four at a time, and gives each to `consume` in order, until it answers false. */
async function pump(
  component: ComponentName,
  pieces: readonly PlacedPiece[],
  { ring = new Ring(), before = 0, ...options }: StreamOptions & { before?: number },
  consume: (bytes: Uint8Array<ArrayBuffer>, piece: PlacedPiece) => Promise<boolean | void>,
): Promise<void> {
  const stop = new AbortController();
  const cancel = () => stop.abort();
  options.signal?.addEventListener("abort", cancel, { once: true });
  const local = { ...options, signal: stop.signal };
  const downloads = new Downloads(local);
  const report = progressReporter(component, before, before + bytesOf(pieces), options.onProgress);
  let failure: unknown; // the first, so that what it cancels does not hide it
  const running: { buffer: Uint8Array<ArrayBuffer>; bytes: Uint8Array<ArrayBuffer>; done: Promise<void> }[] = [];
  const start = (buffer: Uint8Array<ArrayBuffer>, piece: PlacedPiece) => {
    const bytes = buffer.subarray(0, piece.end - piece.begin);
    const done = obtain(piece, bytes, downloads, local, report);
    done.catch((error: unknown) => {
      failure ??= error;
      stop.abort();
    });
    running.push({ buffer, bytes, done });
  };
  let given = 0;
  try {
    throwIfAborted(options.signal);
    for (const [i, piece] of pieces.entries()) {
      while (running.length < Math.min(i + RING_BUFFERS, pieces.length)) {
        // the piece that is next must have a buffer; for those after it, there may be none while another stream has some
        const buffer = running.length === i ? await ring.take(options.signal) : ring.tryTake();
        if (!buffer) break;
        start(buffer, pieces[running.length]);
      }
      const { buffer, bytes, done } = running[i];
      await done;
      const goOn = await consume(bytes, piece);
      ring.give(buffer);
      given++;
      if (goOn === false) break;
    }
  } catch (error) {
    throw failure ?? error;
  } finally {
    stop.abort();
    options.signal?.removeEventListener("abort", cancel);
    await Promise.allSettled(running.map(({ done }) => done));
    for (const { buffer } of running.slice(given)) ring.give(buffer);
    downloads.close();
  }
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

/** The bytes of the file that both have; undefined when there are none. */
function overlap({ offset, bytes }: Placed, { begin, end }: { begin: number; end: number }) {
  const from = Math.max(offset, begin);
  const to = Math.min(offset + bytes, end);
  return from < to ? { from, to } : undefined;
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

function progressReporter(
  component: ComponentName,
  before: number,
  total: number,
  onProgress: StreamOptions["onProgress"],
) {
  let received = before;
  let loaded = before;
  if (before > 0) onProgress?.({ stage: "download", component, loaded, total });
  return (change: number) => {
    received += change;
    if (received <= loaded) return;
    loaded = received;
    onProgress?.({ stage: "download", component, loaded, total });
  };
}
