import { describe, expect, it } from "vitest";
import type { WeightStore } from "../../src/weights/store.ts";
import { openStore } from "../../src/weights/store.ts";
import { FakeDirectory } from "./directory.ts";

function make(change: (directory: FakeDirectory) => void = () => {}): { directory: FakeDirectory; store: WeightStore } {
  const directory = new FakeDirectory();
  change(directory);
  return { directory, store: directory.store() };
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

  it("trusts neither a part nor a wrong size", async () => {
    const { directory, store } = fresh(({ files }) => files.set(`${A}.part`, new Uint8Array(5000)));
    expect(await readBack(store, A, 5000)).toBeUndefined();
    expect(await store.has(A, 5000)).toBe(false);
    await store.write(A, BYTES);
    expect([...directory.files.keys()]).toEqual([A]);
    expect([await store.has(A, 1000), await store.has(A, 999), await store.has(B, 1000)]).toEqual([true, false, false]);
    expect(await readBack(store, A, 999)).toBeUndefined();
    expect(await readBack(store, A)).toEqual(BYTES);
    directory.files.delete(A); // evicted
    expect(await readBack(store, A)).toBeUndefined();
  });

  it("removes what does not fit, says so, and does not try again", async () => {
    const { directory, store } = fresh((d) => (d.room = 1500));
    expect(await store.write(A, BYTES)).toBe(true);
    expect(await store.write(B, new Uint8Array(2000))).toBe(false);
    expect([...directory.files.keys()]).toEqual([A]);
    expect(store.problem).toBe("weights were not kept on this device: no room for 2000 bytes");
    directory.room = Infinity;
    expect(await store.write(B, BYTES)).toBe(false);
    expect(await readBack(store, A)).toEqual(BYTES);
  });

  it("forgets on demand, and all but what is kept and what is being written", async () => {
    const { directory, store } = fresh();
    await store.write(A, BYTES);
    await store.write(B, BYTES);
    directory.files.set(`${A}.part`, BYTES.slice());
    directory.files.set(`${B}.part`, BYTES.slice());
    await store.writeRecord("m", "{}");
    expect(await store.prune(new Set([B]))).toBe(1);
    expect([...directory.files.keys()].toSorted()).toEqual([B, `${B}.part`, "m.json"].toSorted());
    expect(await store.sizes()).toEqual(new Map([[B, 1000]]));
    await store.remove(B);
    await store.remove(B);
    expect([...directory.files.keys()].toSorted()).toEqual([`${B}.part`, "m.json"].toSorted());
  });

  it("keeps records, and takes one for another", async () => {
    const { store } = fresh();
    await store.writeRecord("a", "1");
    await store.writeRecord("b", "2");
    await store.writeRecord("a", "3");
    expect(await store.records()).toEqual(
      new Map([
        ["a", "3"],
        ["b", "2"],
      ]),
    );
    await store.removeRecord("a");
    await store.removeRecord("a");
    expect(await store.records()).toEqual(new Map([["b", "2"]]));
    expect(await store.sizes()).toEqual(new Map());
  });
});

describe("a store whose file a dying worker still holds", () => {
  it("waits for it", async () => {
    const { store } = make((d) => (d.busy = { name: `${A}.part`, times: 2 }));
    expect(await store.write(A, BYTES)).toBe(true);
    expect(await readBack(store, A)).toEqual(BYTES);
  });

  it("gives up after a while, says so, and works again later", async () => {
    const { directory, store } = make((d) => (d.busy = { name: `${A}.part`, times: 99 }));
    expect(await store.write(A, BYTES)).toBe(false);
    expect(store.problem).toMatch(/in use/);
    directory.busy.times = 0;
    expect(await store.write(A, BYTES)).toBe(true);
  });
});

describe("where there is no origin private file system", () => {
  it("there is no store", async () => {
    expect(await openStore()).toBeUndefined();
  });
});
