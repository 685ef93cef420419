/** How much a first use of a model would bring, before it does. */
import type { FetchOptions } from "./http.ts";
import { fetchManifest, piecesOfModel } from "./models.ts";
import { openStore, type WeightStore } from "./store.ts";

/** Bytes. */
export interface DownloadSize {
  total: number;
  /** Of them not on this device yet. */
  missing: number;
}

export interface DownloadSizeOptions extends FetchOptions {
  /** As of `load`. */
  integrity?: string;
  /** As of `load`: the text encoder does not count then, nor does the pack, which is small. */
  promptPack?: string;
  store?: WeightStore;
}

/**
 * Reads the manifest, the stored one where the host cannot be reached, and keeps nothing.
 * @throws NetworkError, FormatError, ModelConfigError, IntegrityError, InvalidArgumentError, AbortError
 */
export async function downloadSize(url: string, options: DownloadSizeOptions = {}): Promise<DownloadSize> {
  const { store = await openStore(), promptPack, ...rest } = options;
  const manifest = await fetchManifest(url, { ...rest, keep: false, ...(store && { store }) });
  const pieces = piecesOfModel(manifest, { text: promptPack === undefined });
  const sizes = store ? await store.sizes() : new Map<string, number>();
  const sum = (some: typeof pieces): number => some.reduce((total, { bytes }) => total + bytes, 0);
  return { total: sum(pieces), missing: sum(pieces.filter(({ sha256, bytes }) => sizes.get(sha256) !== bytes)) };
}
