/**
 * Keeps verified pieces in the origin private file system, by content hash: `<sha256>.bin` is the data, `<sha256>.ok` the commit
 * record, written last. Readers trust nothing without a record, and `load.ts` hashes what it reads again. A store never fails a
 * load: whatever goes wrong (quota, eviction, another tab's lock), the answer is "not here" and the bytes come from the network.
 */

export interface WeightStore {
  /** Fills `target` with the piece and returns true, or false when it is not there with that many bytes. */
  read(sha256: string, target: Uint8Array): Promise<boolean>;
  /** Stores a verified piece; false when it could not. */
  write(sha256: string, bytes: Uint8Array): Promise<boolean>;
  /** Forgets a piece. */
  remove(sha256: string): Promise<void>;
  /** Removes everything but `keep`; returns how many pieces went. */
  prune(keep: ReadonlySet<string>): Promise<number>;
  /** Why the last write failed, for the user; undefined while all is well. */
  readonly problem: string | undefined;
}

const DIRECTORY = "scanvas-weights";

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
  const remove = async (sha256: string) => {
    await drop(`${sha256}.ok`); // the record first: half a removal must not look complete
    await drop(`${sha256}.bin`);
  };
  return {
    get problem() {
      return problem;
    },
    remove,
    async read(sha256, target) {
      try {
        await directory.getFileHandle(`${sha256}.ok`);
        const file = await (await directory.getFileHandle(`${sha256}.bin`)).getFile();
        if (file.size !== target.length) return false;
        const reader = file.stream().getReader();
        let got = 0;
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return got === target.length;
          target.set(value, got);
          got += value.length;
        }
      } catch {
        return false;
      }
    },
    async write(sha256, bytes) {
      if (full) return false;
      return exclusively(sha256, async () => {
        try {
          await writeFile(await directory.getFileHandle(`${sha256}.bin`, { create: true }), bytes);
          await directory.getFileHandle(`${sha256}.ok`, { create: true });
          return true;
        } catch (error) {
          problem = `weights were not kept on this device: ${error instanceof Error ? error.message : String(error)}`;
          full = !(error instanceof DOMException) || error.name === "QuotaExceededError";
          await remove(sha256);
          return false;
        }
      });
    },
    async prune(keep) {
      let count = 0;
      try {
        const names: string[] = [];
        for await (const name of directory.keys()) names.push(name);
        for (const name of names) {
          const sha256 = name.replace(/\.(bin|ok)$/, "");
          if (keep.has(sha256)) continue;
          if (name.endsWith(".bin")) count++;
          await drop(name);
        }
      } catch {
        // a directory that cannot be listed is left alone
      }
      return count;
    },
  };
}

/** One writer per piece over all tabs; whoever comes second does not write. */
async function exclusively(name: string, work: () => Promise<boolean>): Promise<boolean> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!locks) return work();
  return locks.request(`scanvas-weights:${name}`, { ifAvailable: true }, (lock) => (lock ? work() : false));
}

/** FileSystemSyncAccessHandle, which only workers have. */
interface SyncAccess {
  truncate(size: number): void;
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  getSize(): number;
  close(): void;
}

/** Both ways a browser writes: the synchronous handle of workers reports a full disk only by its counts. */
async function writeFile(
  handle: FileSystemFileHandle & { createSyncAccessHandle?: () => Promise<SyncAccess> },
  bytes: Uint8Array,
): Promise<void> {
  if (typeof handle.createSyncAccessHandle === "function") {
    const access = await handle.createSyncAccessHandle();
    try {
      access.truncate(0);
      const written = access.write(bytes, { at: 0 });
      access.flush();
      if (written !== bytes.length || access.getSize() !== bytes.length) {
        throw new Error(`no room for ${bytes.length} bytes`);
      }
    } finally {
      access.close();
    }
    return;
  }
  const stream = await handle.createWritable();
  await stream.write(bytes as Uint8Array<ArrayBuffer>);
  await stream.close();
}
