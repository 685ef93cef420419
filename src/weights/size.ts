/** How much a first use of a model would bring, before it does. */
import { ScanvasError } from "../errors.ts";
import { modelUrl } from "./fetch.ts";
import type { FetchOptions } from "./http.ts";
import type { Manifest } from "./manifest.ts";
import { addressOf, fetchManifest, piecesOfModel } from "./models.ts";
import { listModels } from "./storage.ts";
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
  store?: WeightStore;
}

/**
 * Reads the manifest and keeps nothing. A model that is complete on this device has nothing missing when the host cannot be reached.
 * @throws NetworkError, FormatError, ModelConfigError, IntegrityError, InvalidArgumentError, AbortError
 */
export async function downloadSize(url: string, options: DownloadSizeOptions = {}): Promise<DownloadSize> {
  const { store = await openStore(), ...rest } = options;
  const address = addressOf(modelUrl(url));
  const complete = store && (await listModels(store)).find((model) => model.url === address && model.complete);
  let manifest: Manifest;
  try {
    manifest = await fetchManifest(url, { ...rest, ...(complete && { retryDelay: 1 }) });
  } catch (error) {
    if (!complete || !(error instanceof ScanvasError) || error.name !== "NetworkError") throw error;
    return { total: complete.bytes, missing: 0 };
  }
  const pieces = piecesOfModel(manifest);
  const sizes = store ? await store.sizes() : new Map<string, number>();
  const sum = (some: typeof pieces): number => some.reduce((total, { bytes }) => total + bytes, 0);
  return { total: sum(pieces), missing: sum(pieces.filter(({ sha256, bytes }) => sizes.get(sha256) !== bytes)) };
}
