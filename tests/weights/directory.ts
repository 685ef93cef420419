/** A directory of the File System API in memory, whose disk can be full in the two ways browsers have. */
import { directoryStore, type WeightStore } from "../../src/weights/store.ts";

export class FakeDirectory {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Bytes that all files may have together. */
  room = Infinity;
  /** Name of a file that cannot be opened for writing so many times, as when a dying worker still holds it. */
  busy = { name: "", times: 0 };
  /** As in workers; else as in pages. */
  sync = true;

  async *keys() {
    yield* [...this.files.keys()];
  }

  async removeEntry(name: string) {
    if (!this.files.delete(name)) throw new DOMException("not there", "NotFoundError");
  }

  async getFileHandle(name: string, { create = false } = {}) {
    if (!this.files.has(name) && !create) throw new DOMException("not there", "NotFoundError");
    if (!this.files.has(name)) this.files.set(name, new Uint8Array());
    const put = (bytes: Uint8Array) => void this.files.set(name, new Uint8Array(bytes));
    const room = () => this.room - this.used() + (this.files.get(name)?.length ?? 0);
    const handle = {
      getFile: async () => new File([this.files.get(name)!], name),
      move: async (to: string) => {
        if (this.files.has(to)) throw new DOMException("there is one", "InvalidModificationError");
        this.files.set(to, this.files.get(name)!);
        this.files.delete(name);
      },
      createWritable: async () => {
        let text = new Uint8Array();
        return {
          write: async (bytes: Uint8Array<ArrayBuffer>) => void (text = bytes),
          close: async () => {
            if (text.length > room()) throw new DOMException("full", "QuotaExceededError");
            put(text);
          },
        };
      },
      createSyncAccessHandle: async () => {
        if (this.busy.name === name && this.busy.times-- > 0) {
          throw new DOMException("in use", "NoModificationAllowedError");
        }
        return {
          truncate: () => put(new Uint8Array()),
          // a full disk: part of the bytes are written, nothing is thrown (measured in Chromium)
          write: (bytes: Uint8Array) => {
            const fits = bytes.length <= room();
            put(bytes.subarray(0, Math.max(room(), 0)));
            return fits ? bytes.length : 4294967288;
          },
          read: (target: Uint8Array) => {
            const bytes = this.files.get(name)!.subarray(0, target.length);
            target.set(bytes);
            return bytes.length;
          },
          flush: () => {},
          getSize: () => this.files.get(name)!.length,
          close: () => {},
        };
      },
    };
    return this.sync ? handle : { ...handle, createSyncAccessHandle: undefined };
  }

  used(): number {
    return [...this.files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
  }

  /** Pieces that are there, whole or not. */
  pieces(): string[] {
    return [...this.files.keys()].filter((name) => /^[0-9a-f]{64}$/.test(name)).toSorted();
  }

  store(): WeightStore {
    return directoryStore(this as unknown as FileSystemDirectoryHandle);
  }
}
