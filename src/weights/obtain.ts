/** A piece from wherever it is nearest: the store, another tab that is just fetching it, the network. */
import { throwIfAborted } from "../errors.ts";
import { Downloads, fileUrl, modelUrl, type Piece, sha256Hex } from "./fetch.ts";
import type { FetchOptions } from "./http.ts";
import { inTurn } from "./locks.ts";
import type { FileEntry } from "./manifest.ts";
import type { WeightStore } from "./store.ts";

export interface ObtainOptions extends FetchOptions {
  store?: WeightStore;
  /** Hashes that this session has verified in the store; what is read again is not hashed again. Grows. */
  verified?: Set<string>;
}

/**
 * Fills `target` with the verified bytes of `piece`; from the network they are stored. `onBytes` hears every gain, negative when
 * a try starts over.
 * @throws as `Downloads.fetch`
 */
export async function obtain(
  piece: Piece,
  target: Uint8Array<ArrayBuffer>,
  downloads: Downloads,
  { store, verified, signal }: ObtainOptions,
  onBytes: (change: number) => void = () => {},
): Promise<void> {
  if (!store) return downloads.fetch(piece, target, onBytes);
  const stored = async (): Promise<boolean> => {
    if (!(await store.read(piece.sha256, target))) return false;
    throwIfAborted(signal);
    if (!verified?.has(piece.sha256) && (await sha256Hex(target)) !== piece.sha256) {
      await store.remove(piece.sha256); // damaged on disk: fetch it again
      return false;
    }
    verified?.add(piece.sha256);
    onBytes(target.length);
    return true;
  };
  if (await stored()) return;
  await inTurn(piece.sha256, signal, async () => {
    if (await stored()) return; // another tab was just fetching it
    await downloads.fetch(piece, target, onBytes);
    throwIfAborted(signal);
    await store.write(piece.sha256, target);
  });
}

/** One small file that the manifest names, verified. @throws as `Downloads.fetch` */
export async function fetchFile(baseUrl: string, entry: FileEntry, options: ObtainOptions = {}): Promise<Uint8Array> {
  const target = new Uint8Array(entry.bytes);
  const url = fileUrl(modelUrl(baseUrl), entry.file);
  const piece = { url, begin: 0, end: entry.bytes, fileBytes: entry.bytes, sha256: entry.sha256 };
  await obtain(piece, target, new Downloads(options), options);
  return target;
}
