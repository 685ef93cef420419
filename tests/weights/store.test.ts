import { describe, expect, it } from "vitest";
import type { WeightStore } from "../../src/weights/store.ts";
import { directoryStore, openStore } from "../../src/weights/store.ts";

/** A directory of the File System API in memory, whose disk can be full in the two ways browsers have. */
class FakeDirectory {
  readonly files = new Map<string, Uint8Array>();
  room = Infinity;
  /** Files that cannot be opened for writing, as when another tab holds them. */
  locked = "";
  sync = true;

  async *keys() {
    yield* this.files.keys();
  }

  async removeEntry(name: string) {
    if (!this.files.delete(name)) throw new DOMException("not there", "NotFoundError");
  }

  async getFileHandle(name: string, { create = false } = {}) {
    if (!this.files.has(name) && !create) throw new DOMException("not there", "NotFoundError");
    if (!this.files.has(name)) this.files.set(name, new Uint8Array());
    const put = (bytes: Uint8Array) => void this.files.set(name, bytes.slice());
    const handle = {
      getFile: async () => new File([this.files.get(name)! as Uint8Array<ArrayBuffer>], name),
      createWritable: async () => {
        let text = new Uint8Array();
        return {
          write: async (bytes: Uint8Array<ArrayBuffer>) => void (text = bytes),
          close: async () => {
            if (text.length > this.room) throw new DOMException("full", "QuotaExceededError");
            put(text);
          },
        };
      },
      createSyncAccessHandle: async () => {
        if (this.locked === name) throw new DOMException("in use", "NoModificationAllowedError");
        return {
          truncate: () => put(new Uint8Array()),
          // a full disk: part of the bytes are written, nothing is thrown (measured in Chromium)
          write: (bytes: Uint8Array) => {
            put(bytes.subarray(0, this.room));
            return bytes.length > this.room ? 4294967288 : bytes.length;
          },
          flush: () => {},
          getSize: () => this.files.get(name)!.length,
          close: () => {},
        };
      },
    };
    return this.sync ? handle : { ...handle, createSyncAccessHandle: undefined };
  }
}

function make(change: (directory: FakeDirectory) => void = () => {}): { directory: FakeDirectory; store: WeightStore } {
  const directory = new FakeDirectory();
  change(directory);
  return { directory, store: directoryStore(directory as unknown as FileSystemDirectoryHandle) };
}

const A = "a".repeat(64);
const B = "b".repeat(64);
const BYTES = Uint8Array.from({ length: 1000 }, (_, i) => i);

async function readBack(store: WeightStore, hash: string, length = BYTES.length): Promise<Uint8Array | undefined> {
  const target = new Uint8Array(length);
  return (await store.read(hash, target)) ? target : undefined;
}

describe.each([true, false])("a store (synchronous handles: %s)", (sync) => {
  const fresh = (change: (directory: FakeDirectory) => void = () => {}) =>
    make((directory) => {
      directory.sync = sync;
      change(directory);
    });

  it("gives back what it was given", async () => {
    const { store } = fresh();
    expect(await readBack(store, A)).toBeUndefined();
    expect(await store.write(A, BYTES)).toBe(true);
    expect(await readBack(store, A)).toEqual(BYTES);
    expect(await readBack(store, B)).toBeUndefined();
    expect(store.problem).toBeUndefined();
  });

  it("overwrites a longer leftover", async () => {
    const { directory, store } = fresh(({ files }) => files.set(`${A}.bin`, new Uint8Array(5000)));
    expect(await readBack(store, A, 5000)).toBeUndefined(); // no commit record
    await store.write(A, BYTES);
    expect(directory.files.get(`${A}.bin`)).toEqual(BYTES);
    expect(await readBack(store, A)).toEqual(BYTES);
  });

  it("trusts neither a wrong size nor data without a record", async () => {
    const { directory, store } = fresh();
    await store.write(A, BYTES);
    expect(await readBack(store, A, 999)).toBeUndefined();
    directory.files.delete(`${A}.ok`);
    expect(await readBack(store, A)).toBeUndefined();
    await store.write(A, BYTES);
    directory.files.delete(`${A}.bin`); // evicted
    expect(await readBack(store, A)).toBeUndefined();
  });

  it("removes what does not fit, says so, and does not try again", async () => {
    const { directory, store } = fresh((d) => (d.room = 1500));
    expect(await store.write(A, BYTES)).toBe(true);
    expect(await store.write(B, new Uint8Array(2000))).toBe(false);
    expect([...directory.files.keys()].toSorted()).toEqual([`${A}.bin`, `${A}.ok`]);
    expect(store.problem).toMatch(/not kept on this device/);
    expect(await store.write(B, BYTES)).toBe(false);
    expect(await readBack(store, A)).toEqual(BYTES);
  });

  it("forgets on demand, and all but what is kept", async () => {
    const { directory, store } = fresh();
    await store.write(A, BYTES);
    await store.write(B, BYTES);
    expect(await store.prune(new Set([B]))).toBe(1);
    expect(await readBack(store, A)).toBeUndefined();
    expect(await readBack(store, B)).toEqual(BYTES);
    await store.remove(B);
    await store.remove(B);
    expect(directory.files.size).toBe(0);
  });
});

describe("a store in use elsewhere", () => {
  it("passes, and works again later", async () => {
    const { directory, store } = make((d) => (d.locked = `${A}.bin`));
    expect(await store.write(A, BYTES)).toBe(false);
    directory.locked = "";
    expect(await store.write(A, BYTES)).toBe(true);
  });
});

describe("where there is no origin private file system", () => {
  it("there is no store", async () => {
    expect(await openStore()).toBeUndefined();
  });
});
