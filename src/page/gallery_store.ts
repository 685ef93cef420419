/** Pictures kept in the browser (IndexedDB), each a PNG with its settings. */
import { openDB, type DBSchema, type IDBPDatabase } from "idb";
import type { Settings } from "./settings.ts";

export interface Picture {
  id: number;
  /** Milliseconds since 1970. */
  created: number;
  /** With the seed that was used. */
  settings: Settings;
  /** A PNG that says how it was made. */
  png: Blob;
  /** What making it took, milliseconds. */
  milliseconds: number;
}

interface Schema extends DBSchema {
  pictures: { key: number; value: Picture };
}

/** Where pictures are kept; in memory only where the browser refuses to keep anything. */
export class GalleryStore {
  private constructor(private readonly database: IDBPDatabase<Schema> | undefined) {}

  static async open(): Promise<GalleryStore> {
    try {
      const database = await openDB<Schema>("scanvas", 1, {
        upgrade: (created) => void created.createObjectStore("pictures", { keyPath: "id" }),
        blocking: (_current, _blocked, event) => (event.target as IDBDatabase).close(), // a newer page wants to upgrade
      });
      return new GalleryStore(database);
    } catch {
      return new GalleryStore(undefined); // refused, in some browsers by an exception at once
    }
  }

  get isKept(): boolean {
    return this.database !== undefined;
  }

  /** Newest first. */
  async all(): Promise<Picture[]> {
    return ((await this.database?.getAll("pictures")) ?? []).reverse();
  }

  async put(picture: Picture): Promise<void> {
    await this.database?.put("pictures", picture);
  }

  async remove(id: number): Promise<void> {
    await this.database?.delete("pictures", id);
  }

  async clear(): Promise<void> {
    await this.database?.clear("pictures");
  }
}
