/**
 * What is stored of which model. A record names every piece of one version of a model; it is written before the first of them, so
 * that no other tab takes them for waste. A new version is loaded beside the old one, whose record goes when the new one is
 * complete; pieces that no record names go then.
 */
import { ScanvasError } from "../errors.ts";
import { modelUrl, fileUrl, sha256Hex, verify } from "./fetch.ts";
import { type FetchOptions, refuseImpostor, request, Retryable, retrying, Transfer } from "./http.ts";
import { inTurn } from "./locks.ts";
import { CHUNK_BYTES, type Manifest, MAX_MANIFEST_BYTES, parseManifest } from "./manifest.ts";
import type { WeightStore } from "./store.ts";

/** A piece by content. */
interface Content {
  sha256: string;
  bytes: number;
}

export interface ModelRecord {
  /** The model's folder, without a query. */
  url: string;
  className: string;
  source: string;
  licence: string;
  manifest: Content;
  /** Everything else: chunks of shards, tokenizer files. Each content once. */
  pieces: Content[];
  /** Of all of it. */
  bytes: number;
  /** When it was last loaded from the network, in ISO 8601. */
  date: string;
}

export interface ManifestOptions extends FetchOptions {
  /** SHA-256 of the manifest, `sha256-<base64>` or hex: pins the whole model. One that is stored is then not asked for again. */
  integrity?: string;
  /** Where the manifest is kept, and looked for when there is no network. */
  store?: WeightStore;
  /** False: it is looked for there, but not kept. */
  keep?: boolean;
}

/**
 * Fetches and checks manifest.json under `baseUrl`. Without a network the stored one of the same address stands in, of a complete
 * model rather than of a part; an answer of the host, be it an error, always counts.
 * @throws NetworkError, FormatError, ModelConfigError, IntegrityError, AbortError
 */
export async function fetchManifest(baseUrl: string, options: ManifestOptions = {}): Promise<Manifest> {
  const { store } = options;
  const integrity = options.integrity === undefined ? undefined : integrityHex(options.integrity);
  const base = modelUrl(baseUrl);
  const address = addressOf(base);
  const stored = store && [...(await readRecords(store)).values()].filter(({ url }) => url === address);
  if (stored && integrity !== undefined) {
    const pinned = stored.filter(({ manifest }) => manifest.sha256 === integrity);
    const manifest = await storedManifest(pinned, store);
    if (manifest) return manifest;
  }
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = await download(fileUrl(base, "manifest.json"), options, !stored?.length);
  } catch (error) {
    const unreachable = error instanceof ScanvasError && error.name === "NetworkError" && error.cause !== undefined;
    const manifest = unreachable && stored && integrity === undefined && (await storedManifest(stored, store));
    if (manifest) return manifest;
    throw error;
  }
  if (integrity !== undefined) await verify(bytes, integrity, fileUrl(base, "manifest.json"));
  const manifest = parseManifest(new TextDecoder().decode(bytes));
  if (store && options.keep !== false) await keepManifest(base, manifest, bytes, store, options.signal);
  return manifest;
}

/**
 * To be called when a model is loaded. When all of its newest version is stored, older versions of the same address are
 * forgotten, and all pieces that no record names. Returns whether it is all there, so that the next load needs no network.
 */
export async function commitModel(baseUrl: string, store: WeightStore): Promise<boolean> {
  const address = addressOf(modelUrl(baseUrl));
  const records = [...(await readRecords(store))].filter(([, { url }]) => url === address);
  const sizes = await store.sizes();
  const newest = records.sort(([, a], [, b]) => (a.date < b.date ? 1 : -1))[0];
  if (!newest || presentBytes(newest[1], sizes) < newest[1].bytes) return false;
  for (const [name] of records) if (name !== newest[0]) await store.removeRecord(name);
  await removeWaste(store);
  return true;
}

/** Removes every piece that no record names. */
export async function removeWaste(store: WeightStore): Promise<void> {
  const records = [...(await readRecords(store)).values()];
  await store.prune(new Set(records.flatMap((record) => contents(record).map(({ sha256 }) => sha256))));
}

/** All records that make sense, by name. */
export async function readRecords(store: WeightStore): Promise<Map<string, ModelRecord>> {
  const records = new Map<string, ModelRecord>();
  for (const [name, text] of await store.records()) {
    try {
      const record = JSON.parse(text) as ModelRecord;
      if (contents(record).every(({ sha256, bytes }) => typeof sha256 === "string" && bytes > 0)) {
        records.set(name, record);
      }
    } catch {
      // damaged: as if it were not there
    }
  }
  return records;
}

/** Bytes of a model that are in the store. */
export function presentBytes(record: ModelRecord, sizes: ReadonlyMap<string, number>): number {
  const present = contents(record).filter(({ sha256, bytes }) => sizes.get(sha256) === bytes);
  return present.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The name under which a model's versions are filed: its folder without a query, which may hold a signature. */
export function addressOf(base: URL): string {
  return base.origin + base.pathname;
}

function contents(record: ModelRecord): Content[] {
  return [record.manifest, ...record.pieces];
}

/** What Subresource Integrity writes, or hex, as hex. */
function integrityHex(integrity: string): string {
  const base64 = /^sha256-([A-Za-z0-9+/]{43}=)$/.exec(integrity)?.[1];
  const bytes = base64 && Array.from(atob(base64), (character) => character.charCodeAt(0));
  const hex = bytes ? bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("") : integrity.toLowerCase();
  if (/^[0-9a-f]{64}$/.test(hex)) return hex;
  const got = JSON.stringify(integrity.slice(0, 80));
  throw new ScanvasError("InvalidArgumentError", `integrity is ${got}, expected "sha256-<base64>" or 64 hex digits`);
}

/** `patient`: also without a network it is tried again for a while. */
async function download(url: string, options: FetchOptions, patient: boolean): Promise<Uint8Array<ArrayBuffer>> {
  return retrying(url, options, (address) =>
    readAll(address, options).catch((error: unknown) => {
      if (!patient && error instanceof Retryable && error.status === 0) throw error.error;
      throw error;
    }),
  );
}

async function readAll(url: string, options: FetchOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { response, line } = await request(url, {}, options);
  const transfer = new Transfer(0, Infinity, response, line);
  try {
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = await transfer.next(Infinity);
      if (!part.length) break;
      parts.push(part.slice());
      if (transfer.position > MAX_MANIFEST_BYTES)
        throw new ScanvasError("FormatError", `${url} is over ${MAX_MANIFEST_BYTES} bytes`);
    }
    const bytes = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
    refuseImpostor(bytes, url);
    return bytes;
  } finally {
    transfer.close();
  }
}

async function keepManifest(
  base: URL,
  manifest: Manifest,
  bytes: Uint8Array<ArrayBuffer>,
  store: WeightStore,
  signal: AbortSignal | undefined,
): Promise<void> {
  const url = addressOf(base);
  const sha256 = await sha256Hex(bytes);
  const pieces = piecesOfModel(manifest);
  const record: ModelRecord = {
    url,
    className: manifest.className,
    source: manifest.source,
    licence: manifest.licence,
    manifest: { sha256, bytes: bytes.length },
    pieces,
    bytes: pieces.reduce((sum, piece) => sum + piece.bytes, bytes.length),
    date: new Date().toISOString(),
  };
  const name = await sha256Hex(new TextEncoder().encode(`${sha256} ${url}`));
  await inTurn(name, signal, async () => {
    await store.writeRecord(name, JSON.stringify(record));
    await store.write(sha256, bytes); // also over one that is there: it may be damaged
  });
}

/** Everything but the manifest, each content once. `text` false: nor text encoder and tokenizer, which a prompt pack replaces. */
export function piecesOfModel(manifest: Manifest, { text = true } = {}): Content[] {
  const pieces = new Map<string, number>();
  for (const [name, { shards }] of Object.entries(manifest.components)) {
    if (name === "text_encoder" && !text) continue;
    for (const { bytes, chunks } of shards)
      chunks.forEach((sha256, i) => pieces.set(sha256, Math.min(CHUNK_BYTES, bytes - i * CHUNK_BYTES)));
  }
  for (const entry of text ? [manifest.tokenizer, manifest.tokenizerConfig] : [])
    if (entry) pieces.set(entry.sha256, entry.bytes);
  return [...pieces].map(([sha256, bytes]) => ({ sha256, bytes }));
}

/** The first manifest of `records` that is whole: complete models before partial ones, new before old. */
async function storedManifest(records: ModelRecord[], store: WeightStore): Promise<Manifest | undefined> {
  if (records.length > 1) {
    const sizes = await store.sizes();
    const complete = (record: ModelRecord) => Number(presentBytes(record, sizes) === record.bytes);
    records = records.toSorted((a, b) => complete(b) - complete(a) || (a.date < b.date ? 1 : -1));
  }
  for (const { manifest } of records) {
    const bytes = new Uint8Array(manifest.bytes);
    try {
      if (!(await store.read(manifest.sha256, bytes))) continue;
      await verify(bytes, manifest.sha256, "the stored manifest");
      return parseManifest(new TextDecoder().decode(bytes));
    } catch {
      // damaged, or of a format that was: the next one
    }
  }
  return undefined;
}
