/**
 * Keeps verified pieces in the origin private file system, each under its SHA-256, and a small record for each model
 * (models.ts). A file is written as `<name>.part` and renamed when it is whole: the rename is the commit. A store never fails a
 * load: whatever goes wrong (quota, eviction, a handle that is still open elsewhere), the answer is "not here", the bytes come
 * from the network and `problem` says why.
 */

export interface WeightStore {
  /** Whether the piece is there with so many bytes; its content is not looked at. */
  has(sha256: string, bytes: number): Promise<boolean>;
  /** Fills `target` with the piece and returns true, or false when it is not there with that many bytes. Not verified. */
  read(sha256: string, target: Uint8Array): Promise<boolean>;
  /** Stores a verified piece; false when it could not. */
  write(sha256: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean>;
  /** Forgets a piece. */
  remove(sha256: string): Promise<void>;
  /** Removes every piece but `keep`; returns how many went. */
  prune(keep: ReadonlySet<string>): Promise<number>;
  /** Bytes of every piece. */
  sizes(): Promise<Map<string, number>>;
  /** Every record by name. */
  records(): Promise<Map<string, string>>;
  writeRecord(name: string, text: string): Promise<boolean>;
  removeRecord(name: string): Promise<void>;
  /** Why the last write failed, for the user; undefined while all is well. */
  readonly problem: string | undefined;
}

const DIRECTORY = "scanvas-weights";
const PART = ".part";
const RECORD = ".json";

/** The store of this origin; undefined where there is none (insecure context, private mode, Node). */
export async function openStore(): Promise<WeightStore | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    return directoryStore(await root.getDirectoryHandle(DIRECTORY, { create: true }));
  } catch {
    return undefined;
  }
}

/** A store in any directory handle of the File System API. */
export function directoryStore(directory: FileSystemDirectoryHandle): WeightStore {
  let problem: string | undefined;
  let full = false;
  const drop = (name: string) => directory.removeEntry(name).catch(() => {});

  const open = async (name: string): Promise<File | undefined> => {
    try {
      return await (await directory.getFileHandle(name)).getFile();
    } catch {
      return undefined;
    }
  };

  const names = async (): Promise<string[]> => {
    const all: string[] = [];
    try {
      for await (const name of directory.keys()) all.push(name);
    } catch {
      // a directory that cannot be listed counts as empty
    }
    return all;
  };

  const write = async (name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> => {
    if (full) return false;
    try {
      const part = (await directory.getFileHandle(name + PART, { create: true })) as Handle;
      await writeFile(part, bytes);
      await part.move(name).catch(async () => {
        await drop(name); // some browsers do not move onto a file
        await part.move(name);
      });
      return true;
    } catch (error) {
      full = error instanceof FullError || (error instanceof DOMException && error.name === "QuotaExceededError");
      problem = `weights were not kept on this device: ${await describe(error, full, bytes.length)}`;
      await drop(name + PART);
      return false;
    }
  };

  return {
    get problem() {
      return problem;
    },
    write,
    remove: drop,
    has: async (sha256, bytes) => (await open(sha256))?.size === bytes,
    async read(sha256, target) {
      try {
        return await readFile((await directory.getFileHandle(sha256)) as Handle, target);
      } catch {
        return false; // not there, or the site's data were cleared in this moment
      }
    },
    async prune(keep) {
      let count = 0;
      for (const name of await names()) {
        if (name.endsWith(RECORD) || keep.has(name.replace(PART, ""))) continue; // another tab may be at a part
        if (!name.endsWith(PART)) count++;
        await drop(name);
      }
      return count;
    },
    async sizes() {
      const sizes = new Map<string, number>();
      for (const name of await names()) {
        if (name.endsWith(PART) || name.endsWith(RECORD)) continue;
        const file = await open(name);
        if (file) sizes.set(name, file.size);
      }
      return sizes;
    },
    async records() {
      const records = new Map<string, string>();
      for (const name of await names()) {
        if (!name.endsWith(RECORD)) continue;
        const text = await (await open(name))?.text().catch(() => undefined);
        if (text !== undefined) records.set(name.slice(0, -RECORD.length), text);
      }
      return records;
    },
    writeRecord: (name, text) => write(name + RECORD, new TextEncoder().encode(text)),
    removeRecord: (name) => drop(name + RECORD),
  };
}

/** What browsers with an origin private file system have, and the types of a page do not know. */
type Handle = FileSystemFileHandle & {
  move(name: string): Promise<void>;
  /** Workers only. */
  createSyncAccessHandle?: (options?: { mode: "readwrite" | "read-only" }) => Promise<SyncAccess>;
};

interface SyncAccess {
  read(bytes: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  getSize(): number;
  close(): void;
}

class FullError extends Error {}

/** Workers read straight into `target`; a page, or a worker whose file another one has open, through a stream. */
async function readFile(handle: Handle, target: Uint8Array): Promise<boolean> {
  const access = await handle.createSyncAccessHandle?.({ mode: "read-only" }).catch(() => undefined);
  if (access) {
    try {
      return access.getSize() === target.length && access.read(target, { at: 0 }) === target.length;
    } finally {
      access.close();
    }
  }
  const file = await handle.getFile();
  if (file.size !== target.length) return false;
  const reader = file.stream().getReader();
  for (let got = 0; ;) {
    const { done, value } = await reader.read();
    if (done) return got === target.length;
    target.set(value, got);
    got += value.length;
  }
}

/** Both ways a browser writes: the synchronous handle of workers reports a full disk only by its counts. */
async function writeFile(handle: Handle, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  if (typeof handle.createSyncAccessHandle !== "function") {
    const stream = await handle.createWritable();
    await stream.write(bytes);
    await stream.close();
    return;
  }
  const access = await patiently(() => handle.createSyncAccessHandle!());
  try {
    access.truncate(0);
    const written = access.write(bytes, { at: 0 });
    access.flush();
    if (written !== bytes.length || access.getSize() !== bytes.length) throw new FullError("the storage is full");
  } finally {
    access.close();
  }
}

/** A handle of a worker that was ended is free only some tenths of a second later. */
async function patiently<T>(open: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await open();
    } catch (error) {
      const busy = error instanceof DOMException && error.name === "NoModificationAllowedError";
      if (!busy || tries === 5) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function describe(error: unknown, full: boolean, bytes: number): Promise<string> {
  const what = full ? `no room for ${bytes} bytes` : error instanceof Error ? error.message : String(error);
  try {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    return `${what} (the browser gives this site ${quota} bytes, ${usage} are in use)`;
  } catch {
    return what;
  }
}
