/**
 * Where tensors come from. `openDirectory` makes the safetensors files of one component, sharded or not, F32, F16 or BF16, one
 * random-access source: files are opened once and read by range; nothing is ever held whole.
 */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { access, open, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { ScanvasError } from "../../src/errors.ts";
import type { SafetensorsDtype, TensorInfo } from "../../src/weights/safetensors.ts";
import { DTYPE_BYTES, parseHeader, readHeaderLength } from "../../src/weights/safetensors.ts";
import { parsePythonJson } from "./json.ts";

/** All tensors of a component. `fingerprint` changes when what they hold may have. */
export interface TensorSource {
  tensors: ReadonlyMap<string, { dtype: SafetensorsDtype; shape: number[] }>;
  fingerprint: string;
  /** Bytes of `count` elements from element `begin` on, in the tensor's own dtype; aligned to elements. */
  read(name: string, begin: number, count: number): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

/** An open safetensors file with its checked header. */
interface SourceFile {
  path: string;
  handle: FileHandle;
  bytes: number;
  tensors: Map<string, TensorInfo>;
  headerHash: string;
  modified: number;
}

/** Opens one file and reads its header. @throws FormatError, TruncatedError: see `parseHeader`; FormatError for an LFS pointer */
async function openSafetensors(path: string): Promise<SourceFile> {
  const handle = await open(path, "r");
  try {
    const { size: bytes, mtimeMs: modified } = await handle.stat();
    const prefix = await readRange(handle, 0, Math.min(bytes, 64), path);
    if (Buffer.from(prefix).toString("latin1").startsWith("version https://git-lfs")) {
      throw new ScanvasError("FormatError", `${path} is a Git LFS pointer, not weights: run "git lfs pull" there`);
    }
    const length = readHeaderLength(prefix, bytes, path);
    const header = await readRange(handle, 8, length, path);
    const { tensors } = parseHeader(header, bytes, path);
    return { path, handle, bytes, tensors, headerHash: createHash("sha256").update(header).digest("hex"), modified };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Opens the weights in `directory`: an index and its files, or one file. Other names than diffusers' and transformers' own
 * (variants such as fp16) are used when they are the only ones. `files` is how many are used.
 * @throws FormatError when there is none, or an index does not match its files
 */
export async function openDirectory(directory: string): Promise<TensorSource & { files: number }> {
  const files: SourceFile[] = [];
  const close = async () => void (await Promise.all(files.map((file) => file.handle.close())));
  try {
    const { names, weightMap } = await findWeights(directory);
    for (const name of names) files.push(await openSafetensors(join(directory, name)));
    const tensors = new Map<string, TensorInfo & { file: SourceFile }>();
    for (const file of files) {
      for (const [name, info] of file.tensors) {
        if (weightMap && weightMap.get(name) !== basename(file.path)) continue; // an index may leave out copies
        if (tensors.has(name)) throw new ScanvasError("FormatError", `${directory}: two files have tensor "${name}"`);
        tensors.set(name, { ...info, file });
      }
    }
    for (const [name, file] of weightMap ?? []) {
      if (!tensors.has(name)) throw new ScanvasError("FormatError", `${directory}: ${file} has no tensor "${name}"`);
    }
    const facts = files.map((file) => [basename(file.path), file.headerHash, file.bytes, file.modified]);
    const fingerprint = createHash("sha256").update(JSON.stringify(facts)).digest("hex");
    const read = (name: string, begin: number, count: number) => {
      const { file, dtype, begin: start } = tensors.get(name)!;
      return readRange(file.handle, start + begin * DTYPE_BYTES[dtype], count * DTYPE_BYTES[dtype], file.path);
    };
    return { tensors, fingerprint, files: files.length, read, close };
  } catch (error) {
    await close();
    throw error;
  }
}
async function findWeights(directory: string): Promise<{ names: string[]; weightMap?: Map<string, string> }> {
  const all = (await readdir(directory)).sort();
  const plain = (name: string) => /^(diffusion_pytorch_model|model)\.safetensors(\.index\.json)?$/.test(name);
  const indexes = all.filter((name) => name.endsWith(".safetensors.index.json"));
  const index = indexes.find(plain) ?? (indexes.length === 1 ? indexes[0] : undefined);
  const singles = all.filter((name) => name.endsWith(".safetensors") && !/-\d{5}-of-\d{5}/.test(name));
  const single = singles.find(plain) ?? (singles.length === 1 ? singles[0] : undefined);
  if (single && (!index || plain(single))) return { names: [single] };
  if (!index) {
    const found = `found ${all.join(", ").slice(0, 300) || "nothing"}`;
    throw new ScanvasError("FormatError", `${directory} has no single safetensors file or index (${found})`);
  }
  const json = parsePythonJson(await readFile(join(directory, index), "utf8"), index) as { weight_map?: unknown };
  const weightMap = new Map<string, string>(Object.entries((json.weight_map ?? {}) as Record<string, string>));
  for (const file of weightMap.values()) {
    if (typeof file !== "string" || !/^[A-Za-z0-9._-]+\.safetensors$/.test(file)) {
      throw new ScanvasError(
        "FormatError",
        `${join(directory, index)}: ${JSON.stringify(file)} is not a plain file name`,
      );
    }
  }
  if (!weightMap.size) throw new ScanvasError("FormatError", `${join(directory, index)} has no weight_map`);
  return { names: [...new Set(weightMap.values())].sort(), weightMap };
}

async function readRange(
  handle: FileHandle,
  begin: number,
  count: number,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(count);
  for (let got = 0; got < count;) {
    const { bytesRead } = await handle.read(bytes, got, count - got, begin + got);
    if (!bytesRead)
      throw new ScanvasError("TruncatedError", `${path} ends at ${begin + got}, expected ${begin + count}`);
    got += bytesRead;
  }
  return bytes;
}

/** Whether a path exists. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
