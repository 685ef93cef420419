/** Where the bytes of a download go, in order: a file in storage, or a Blob. */

export interface FileSink {
  /** Bytes that are there. */
  readonly length: number;
  append(chunk: Uint8Array): Promise<void>;
  /** What is there, from its beginning. */
  read(onChunk: (chunk: Uint8Array) => void): Promise<void>;
  reset(): Promise<void>;
  /** All that was appended, to be read later. */
  finish(): Promise<Blob>;
  /** Lets go after a failure; what a file holds stays there. */
  close(): Promise<void>;
}

/** The device could not store a file: no room, or another tab is writing it. */
export class StorageFailure extends Error {
  constructor(
    cause: unknown,
    readonly written: number,
  ) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

const PART_BYTES = 8 * 2 ** 20;

/** Collects a Blob, which the browser holds outside the JavaScript heap. */
export function blobSink(): FileSink {
  let blobs: Blob[] = [];
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let length = 0;
  const flush = (): void => {
    blobs.push(new Blob(pending as BlobPart[]));
    pending = [];
    pendingBytes = 0;
  };
  return {
    get length() {
      return length;
    },
    async append(chunk) {
      pending.push(chunk.slice()); // the reader takes its buffer back
      pendingBytes += chunk.length;
      length += chunk.length;
      if (pendingBytes >= PART_BYTES) flush();
    },
    read: async () => {},
    async reset() {
      blobs = [];
      pending = [];
      pendingBytes = length = 0;
    },
    async finish() {
      flush();
      return new Blob(blobs);
    },
    close: async () => {},
  };
}

/** Collects a file, going on where an earlier one ended if `resume`. @throws StorageFailure, as do all its methods */
export async function fileSink(directory: FileSystemDirectoryHandle, name: string, resume: boolean): Promise<FileSink> {
  let length = 0;
  const storing = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw new StorageFailure(error, length);
    }
  };
  const handle = await storing(() => directory.getFileHandle(name, { create: true }));
  if (resume) length = (await storing(() => handle.getFile())).size;
  const writer = await storing(() => openWriter(handle, length));
  const discard = async (): Promise<void> => {
    await writer.close().catch(() => {});
    await directory.removeEntry(name).catch(() => {});
  };
  return {
    get length() {
      return length;
    },
    async append(chunk) {
      try {
        await writer.write(chunk, length);
        length += chunk.length;
      } catch (error) {
        await discard(); // half a file must not fill the disk
        throw new StorageFailure(error, length);
      }
    },
    read: (onChunk) => storing(() => writer.read(onChunk)),
    reset: () =>
      storing(async () => {
        length = 0;
        await writer.truncate();
      }),
    finish: () =>
      storing(async () => {
        await writer.close();
        return handle.getFile();
      }),
    close: () => writer.close().catch(() => {}),
  };
}

interface Writer {
  write(bytes: Uint8Array, at: number): Promise<void>;
  read(onChunk: (chunk: Uint8Array) => void): Promise<void>;
  truncate(): Promise<void>;
  close(): Promise<void>;
}

/** FileSystemSyncAccessHandle, which only workers have. */
interface SyncAccess {
  truncate(size: number): void;
  read(bytes: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  close(): void;
}

/** Both ways a browser writes: the synchronous handle of workers reports a full disk only by its counts. */
async function openWriter(
  handle: FileSystemFileHandle & { createSyncAccessHandle?: () => Promise<SyncAccess> },
  keep: number,
): Promise<Writer> {
  if (typeof handle.createSyncAccessHandle === "function") {
    const access = await handle.createSyncAccessHandle();
    access.truncate(keep);
    return {
      async write(bytes, at) {
        if (access.write(bytes, { at }) !== bytes.length) throw new Error(`no room for ${bytes.length} bytes`);
      },
      async read(onChunk) {
        const chunk = new Uint8Array(PART_BYTES);
        for (let at = 0; at < keep;) {
          const got = access.read(chunk, { at });
          if (got === 0) throw new Error(`the file ended after ${at} of ${keep} bytes`);
          onChunk(chunk.subarray(0, got));
          at += got;
        }
      },
      truncate: async () => access.truncate(0),
      close: async () => access.close(),
    };
  }
  const stream = await handle.createWritable({ keepExistingData: keep > 0 });
  return {
    write: (bytes, position) => stream.write({ type: "write", data: bytes as Uint8Array<ArrayBuffer>, position }),
    async read(onChunk) {
      for await (const chunk of (await handle.getFile()).stream()) onChunk(chunk);
    },
    truncate: () => stream.truncate(0),
    close: () => stream.close(),
  };
}
