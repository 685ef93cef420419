/** Embeddings of prompts in the origin private file system, one small file each under a hash of encoder and prompt. */

export interface EmbeddingStore {
  /** The file's bytes, or undefined when there is none. */
  read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Never fails: what cannot be kept is computed again. */
  write(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

const DIRECTORY = "scanvas-embeddings";
/** Files that are kept; the oldest go first. */
const MOST = 256;

/** The store of this origin; undefined where there is none. */
export async function openEmbeddings(): Promise<EmbeddingStore | undefined> {
  try {
    const root = await navigator.storage.getDirectory();
    return embeddingStore(await root.getDirectoryHandle(DIRECTORY, { create: true }));
  } catch {
    return undefined;
  }
}

/** A store in any directory handle of the File System API. */
export function embeddingStore(directory: FileSystemDirectoryHandle): EmbeddingStore {
  return {
    async read(name) {
      try {
        const file = await (await directory.getFileHandle(name)).getFile();
        return new Uint8Array(await file.arrayBuffer());
      } catch {
        return undefined;
      }
    },
    async write(name, bytes) {
      try {
        const writable = await (await directory.getFileHandle(name, { create: true })).createWritable();
        await writable.write(bytes);
        await writable.close(); // the file changes only here, and at once
        await prune(directory);
      } catch {
        // no room, or another tab is writing the same
      }
    },
  };
}

async function prune(directory: FileSystemDirectoryHandle): Promise<void> {
  const files: { name: string; modified: number }[] = [];
  for await (const [name, handle] of directory.entries()) {
    if (handle.kind === "file") files.push({ name, modified: (await handle.getFile()).lastModified });
  }
  files.sort((a, b) => b.modified - a.modified);
  for (const { name } of files.slice(MOST)) await directory.removeEntry(name);
}
