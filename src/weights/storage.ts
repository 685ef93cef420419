/** What this origin keeps of models, for a storage panel. Works in pages and workers, with or without WebGPU; nothing here throws. */
import { modelUrl } from "./fetch.ts";
import { addressOf, presentBytes, readRecords, removeWaste } from "./models.ts";
import { openStore, type WeightStore } from "./store.ts";

export interface StoredModel {
  /** The folder it was loaded from. */
  url: string;
  className: string;
  source: string;
  licence: string;
  /** Bytes of all its files, and those of them that are stored. Models may share pieces. */
  bytes: number;
  present: number;
  /** All is stored: it loads without a network. */
  complete: boolean;
  /** When it was last loaded from the network. */
  date: Date;
}

/** The models of which something is stored, newest first; none where there is no storage. */
export async function listModels(store?: WeightStore): Promise<StoredModel[]> {
  store ??= await openStore();
  if (!store) return [];
  const sizes = await store.sizes();
  const models = [...(await readRecords(store)).values()].map((record) => {
    const { url, className, source, licence, bytes, date } = record;
    const present = presentBytes(record, sizes);
    return { url, className, source, licence, bytes, present, complete: present === bytes, date: new Date(date) };
  });
  return models.sort((a, b) => b.date.getTime() - a.date.getTime());
}

/** Forgets every version of the model at `url`, and the pieces no other model has. Returns whether there was one. */
export async function removeModel(url: string, store?: WeightStore): Promise<boolean> {
  store ??= await openStore();
  if (!store) return false;
  let address: string;
  try {
    address = addressOf(modelUrl(url));
  } catch {
    return false; // no address, no model
  }
  const names = [...(await readRecords(store))].filter(([, record]) => record.url === address).map(([name]) => name);
  for (const name of names) await store.removeRecord(name);
  await removeWaste(store);
  return names.length > 0;
}

export interface StorageEstimate {
  /** Bytes, as the browser tells them: rounded, and of the whole origin. 0 where it does not. */
  usage: number;
  quota: number;
  /** The browser will not clear it by itself. */
  persisted: boolean;
}

export async function storageEstimate(): Promise<StorageEstimate> {
  try {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    return { usage, quota, persisted: await navigator.storage.persisted() };
  } catch {
    return { usage: 0, quota: 0, persisted: false };
  }
}

/** Asks the browser not to clear the storage by itself; best after a click. Returns whether it agreed. */
export async function persist(): Promise<boolean> {
  try {
    return await navigator.storage.persist(); // pages only; workers have no such function
  } catch {
    return false;
  }
}
