/**
 * The safetensors container: u64 header length, JSON header, tensor bytes. Reads with every check of the Rust reference
 * (huggingface/safetensors, `Metadata::validate`) and a few stricter ones: duplicate keys, lone surrogates and any JSON other
 * than objects, arrays, strings and plain integers are refused. Imports nothing but errors, so browser, Node and tests share it.
 */
import { ScanvasError, show } from "../errors.ts";

/** Bytes per element of the dtypes this reader knows. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
} as const;
export type SafetensorsDtype = keyof typeof DTYPE_BYTES;

/** One tensor of a file: `begin` and `end` are bytes from the start of the **file**. */
export interface TensorInfo {
  dtype: SafetensorsDtype;
  shape: number[];
  begin: number;
  end: number;
}

/** A checked header; `tensors` is in file order. `dataStart` in bytes from the start of the file. */
export interface SafetensorsHeader {
  tensors: Map<string, TensorInfo>;
  metadata: Map<string, string>;
  dataStart: number;
}

/** Header bytes the reference accepts at most. */
export const MAX_HEADER_BYTES = 100_000_000;
const PREFIX_BYTES = 8;
const MAX_NAME_LENGTH = 256;
const MAX_DEPTH = 3;

function refuse(where: string, what: string): never {
  throw new ScanvasError("FormatError", `${where} is not a valid safetensors file: ${what}`);
}

/**
 * Bytes of the JSON header, from the first 8 bytes of a file of `fileBytes` bytes.
 * @throws FormatError when the length is over the cap; TruncatedError when the file ends before the header does.
 */
export function readHeaderLength(prefix: Uint8Array, fileBytes: number, where = "file"): number {
  if (prefix.length < PREFIX_BYTES || fileBytes < PREFIX_BYTES) {
    throw new ScanvasError("TruncatedError", `${where}: got ${fileBytes} bytes, a safetensors file has at least 8`);
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MAX_HEADER_BYTES) refuse(where, `header length ${length} is over ${MAX_HEADER_BYTES}`);
  if (PREFIX_BYTES + length > fileBytes) {
    throw new ScanvasError("TruncatedError", `${where}: header ends at ${PREFIX_BYTES + length}, file at ${fileBytes}`);
  }
  return length;
}

/**
 * Parses and checks the JSON header (`header`: exactly its bytes) of a file of `fileBytes` bytes.
 * @throws FormatError for anything the format forbids; TruncatedError when the last tensor ends after the file.
 */
export function parseHeader(header: Uint8Array, fileBytes: number, where = "file"): SafetensorsHeader {
  if (header[0] !== 0x7b) refuse(where, "the header does not start with {");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    refuse(where, "the header is not UTF-8");
  }
  checkTokens(text, where);
  const json = parseJson(text, where);
  const metadata = new Map<string, string>();
  const tensors: [string, TensorInfo][] = [];
  const dataStart = PREFIX_BYTES + header.length;
  for (const [name, value] of Object.entries(json as object)) {
    if (/\p{Surrogate}/u.test(name)) refuse(where, "a name is not valid Unicode");
    if (name === "__metadata__") {
      if (!isObject(value)) refuse(where, "__metadata__ is not an object");
      for (const [key, entry] of Object.entries(value)) {
        if (typeof entry !== "string") refuse(where, "a __metadata__ value is not a string");
        metadata.set(key, entry);
      }
    } else {
      if (name.length > MAX_NAME_LENGTH) refuse(where, `a tensor name has ${name.length} characters`);
      tensors.push([name, tensorInfo(value, dataStart, `${where}, tensor "${name}"`)]);
    }
  }
  tensors.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = dataStart;
  for (const [name, info] of tensors) {
    if (info.begin !== end)
      refuse(where, `tensor "${name}" starts at ${info.begin}, expected ${end} (hole or overlap)`);
    end = info.end;
  }
  if (end > fileBytes) {
    throw new ScanvasError("TruncatedError", `${where}: tensors end at ${end}, the file has ${fileBytes} bytes`);
  }
  if (end < fileBytes) refuse(where, `${fileBytes - end} bytes follow the last tensor`);
  return { tensors: new Map(tensors), metadata, dataStart };
}

/** Reads the header of a whole file in memory. */
export function readSafetensors(file: Uint8Array, where = "file"): SafetensorsHeader {
  const length = readHeaderLength(file, file.length, where);
  return parseHeader(file.subarray(PREFIX_BYTES, PREFIX_BYTES + length), file.length, where);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function tensorInfo(value: unknown, dataStart: number, where: string): TensorInfo {
  if (!isObject(value)) refuse(where, "its entry is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BYTES, dtype)) refuse(where, `unknown dtype ${show(dtype)}`);
  if (!Array.isArray(shape) || !shape.every(isCount)) refuse(where, "shape is not a list of sizes");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) refuse(where, "bad data_offsets");
  let bytes: number = DTYPE_BYTES[dtype as SafetensorsDtype];
  for (const size of shape as number[]) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) refuse(where, "shape x dtype overflows");
  }
  const [begin, end] = offsets as [number, number];
  if (end - begin !== bytes) refuse(where, `data_offsets span ${end - begin} bytes, shape x dtype needs ${bytes}`);
  if (!Number.isSafeInteger(dataStart + end)) refuse(where, "data_offsets overflow");
  return { dtype: dtype as SafetensorsDtype, shape: shape as number[], begin: dataStart + begin, end: dataStart + end };
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    refuse(where, "the header is not JSON");
  }
}

/**
 * A scan before the parser: refuses duplicate keys, which JSON.parse would swallow, every token that is not a string, an integer
 * or punctuation, and nesting beyond the three levels a header has.
 */
function checkTokens(text: string, where: string): void {
  const open: (Set<string> | null)[] = []; // the keys of each open object, null for an array
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const start = i;
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === "\\") i++;
      let next = i + 1;
      while (" \t\r\n".includes(text[next] ?? "x")) next++;
      const keys = open.at(-1);
      if (text[next] === ":" && keys) {
        const key = parseJson(text.slice(start, i + 1), where) as string;
        if (keys.has(key)) refuse(where, `the key ${JSON.stringify(key)} appears twice`);
        keys.add(key);
      }
    } else if (char === "{" || char === "[") {
      if (open.push(char === "{" ? new Set() : null) > MAX_DEPTH) refuse(where, "the header is nested too deeply");
    } else if (char === "}" || char === "]") open.pop();
    else if (!"0123456789:, \t\r\n".includes(char)) refuse(where, `unexpected ${JSON.stringify(char)} in the header`);
  }
}

/** What a writer says about one tensor, in file order. */
export interface TensorSpec {
  name: string;
  dtype: SafetensorsDtype;
  shape: readonly number[];
}

/** Bytes of one tensor. */
export function tensorBytes(spec: { dtype: SafetensorsDtype; shape: readonly number[] }): number {
  return spec.shape.reduce((product, size) => product * size, DTYPE_BYTES[spec.dtype]);
}

/**
 * The first bytes of a file (length prefix and header, padded with spaces so that tensors start at a multiple of 8) whose
 * tensors follow in the order given.
 */
export function writeHeader(specs: readonly TensorSpec[], metadata?: Readonly<Record<string, string>>): Uint8Array {
  const entries: string[] = metadata ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  const names = new Set<string>();
  let offset = 0;
  for (const spec of specs) {
    if (names.has(spec.name)) throw new ScanvasError("InvalidArgumentError", `writeHeader: two tensors "${spec.name}"`);
    names.add(spec.name);
    const end = offset + tensorBytes(spec);
    const value = { dtype: spec.dtype, shape: spec.shape, data_offsets: [offset, end] };
    entries.push(`${JSON.stringify(spec.name)}:${JSON.stringify(value)}`);
    offset = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, PREFIX_BYTES);
  return bytes;
}

/** A whole file in memory. @throws TensorError when `data` has not the bytes that shape x dtype need. */
export function writeSafetensors(
  tensors: readonly (TensorSpec & { data: Uint8Array })[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const header = writeHeader(tensors, metadata);
  const file = new Uint8Array(tensors.reduce((sum, tensor) => sum + tensor.data.length, header.length));
  file.set(header);
  let offset = header.length;
  for (const tensor of tensors) {
    if (tensor.data.length !== tensorBytes(tensor)) {
      const got = `got ${tensor.data.length} bytes, expected ${tensorBytes(tensor)}`;
      throw new ScanvasError("TensorError", `writeSafetensors: tensor "${tensor.name}": ${got}`);
    }
    file.set(tensor.data, offset);
    offset += tensor.data.length;
  }
  return file;
}
