/** Models of any size whose bytes are made when they are read (AES in counter mode), so that nobody holds them. */
import { createCipheriv, createHash } from "node:crypto";
import { checkManifest, CHUNK_BYTES, type Manifest, type Shard, type TensorEntry } from "../../src/weights/manifest.ts";
import { writeHeader } from "../../src/weights/safetensors.ts";

/** What a server needs of a file. */
export interface Source {
  readonly length: number;
  subarray(from: number, to: number): Uint8Array;
}

export class RandomFile implements Source {
  constructor(
    readonly header: Uint8Array,
    readonly length: number,
    readonly seed: number,
  ) {}

  subarray(from: number, to: number): Uint8Array {
    to = Math.min(to, this.length);
    const counter = Buffer.alloc(16);
    counter.writeUInt32BE(this.seed, 0);
    counter.writeUInt32BE(Math.floor(from / 16), 12);
    const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 7), counter);
    const bytes = cipher.update(Buffer.alloc(Math.max(to - from, 0) + (from % 16))).subarray(from % 16);
    if (from < this.header.length) bytes.set(this.header.subarray(from, to));
    return bytes;
  }
}

export interface DummyModel {
  manifest: Manifest;
  /** path -> file, manifest.json and a tokenizer among them. */
  files: Map<string, Source>;
  /** Of manifest, tokenizer and shards. */
  bytes: number;
}

/** One shard for each of `sizes` (bytes of data), each of `tensors` F32 tensors t<shard>.<i>; the same seed gives the same bytes. */
export function dummyModel(sizes: readonly number[], { seed = 1, tensors = 1 } = {}): DummyModel {
  const files = new Map<string, Source>();
  const shards: Shard[] = [];
  const entries: Record<string, TensorEntry> = {};
  for (const [shard, size] of sizes.entries()) {
    const length = size / 4 / tensors;
    const specs = Array.from({ length: tensors }, (_, i) => ({
      name: `t${shard}.${i}`,
      dtype: "F32" as const,
      shape: [length],
    }));
    const header = writeHeader(specs);
    const file = new RandomFile(header, header.length + size, seed * 1000 + shard);
    const name = `transformer/model-${String(shard + 1).padStart(5, "0")}.safetensors`;
    files.set(name, file);
    specs.forEach((spec, i) => {
      const offset = header.length + i * length * 4;
      const parts = [{ shard, offset, bytes: length * 4 }];
      entries[spec.name] = { dtype: "F32", shape: [length], bytes: length * 4, parts };
    });
    const chunks = [];
    for (let at = 0; at < file.length; at += CHUNK_BYTES) chunks.push(sha256(file.subarray(at, at + CHUNK_BYTES)));
    shards.push({ file: name, bytes: file.length, chunks });
  }
  const tokenizer = Buffer.from(`{"seed":${seed}}`);
  files.set("tokenizer/tokenizer.json", tokenizer);
  const manifest = checkManifest({
    format: "scanvas",
    version: 2,
    className: "PixArtAlphaPipeline",
    source: "random numbers",
    licence: "CC0-1.0",
    components: { transformer: { config: {}, dtype: "f32", shards, tensors: entries } },
    tokenizer: { file: "tokenizer/tokenizer.json", bytes: tokenizer.length, sha256: sha256(tokenizer) },
  });
  files.set("manifest.json", Buffer.from(JSON.stringify(manifest)));
  return { manifest, files, bytes: [...files.values()].reduce((sum, { length }) => sum + length, 0) };
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** SHA-256 of every tensor of a dummy model. */
export function tensorHashes({ manifest, files }: DummyModel): Record<string, string> {
  const { shards, tensors } = manifest.components.transformer!;
  return Object.fromEntries(
    Object.entries(tensors).map(
      ([
        name,
        {
          parts: [{ shard, offset, bytes }],
        },
      ]) => [name, sha256(files.get(shards[shard].file)!.subarray(offset, offset + bytes))],
    ),
  );
}
