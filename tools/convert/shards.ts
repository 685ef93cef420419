/** Planning and writing the shards of one component. */
import { createHash } from "node:crypto";
import { open, rename } from "node:fs/promises";
import { f32ToF16 } from "../../src/numbers/half.ts";
import type { Shard, TensorEntry, WeightDtype } from "../../src/weights/manifest.ts";
import { CHUNK_BYTES, partName, SHARD_BYTES, storedAs } from "../../src/weights/manifest.ts";
import type { TensorSpec } from "../../src/weights/safetensors.ts";
import { tensorBytes, writeHeader } from "../../src/weights/safetensors.ts";
import type { Output } from "./layout.ts";
import { produce } from "./produce.ts";
import type { TensorSource } from "./source.ts";

/** Rows [from, to) of an output, as they lie in one shard. */
export interface Piece {
  output: Output;
  dtype: WeightDtype;
  from: number;
  to: number;
  /** Which part of the output this is, and how many there are. */
  part: number;
  parts: number;
}

/** A shard to be: `header` is complete, so sizes and offsets are known before a tensor is read. */
export interface ShardPlan {
  file: string;
  bytes: number;
  header: Uint8Array;
  pieces: Piece[];
}

/** Most of what a header may take: the rest of a shard is for tensors. */
const HEADER_BYTES = 2 ** 18;

/**
 * Packs outputs in order into files of at most `SHARD_BYTES`. A tensor that does not fit what is left of a shard starts a new one; one that
 * alone is larger than a shard is split by rows.
 */
export function planShards(outputs: Output[], component: string, dtype: WeightDtype): ShardPlan[] {
  const groups: Piece[][] = [];
  let room = 0;
  const capacity = SHARD_BYTES - HEADER_BYTES;
  for (const output of outputs) {
    const stored = output.dtype === "F32" ? "F32" : dtype;
    const rows = output.shape[0];
    const row = tensorBytes(storedAs({ dtype: stored, shape: output.shape })) / rows;
    // Parts end on a multiple of 64 rows, so that on the GPU, too, each starts on a binding boundary.
    const most = Math.floor(capacity / row / 64) * 64 || Math.floor(capacity / row);
    const parts = Math.ceil(rows / most);
    for (let part = 0; part < parts; part++) {
      const [from, to] = [part * most, Math.min((part + 1) * most, rows)];
      const bytes = (to - from) * row;
      if (bytes > room || groups.at(-1)!.length >= 1000) {
        groups.push([]);
        room = capacity;
      }
      groups.at(-1)!.push({ output, dtype: stored, from, to, part, parts });
      room -= bytes;
    }
  }
  return groups.map((pieces, i) => {
    const specs = pieces.map(specOf);
    const header = writeHeader(specs, { format: "scanvas" });
    const bytes = specs.reduce((sum, spec) => sum + tensorBytes(spec), header.length);
    return { file: `${component}/model-${String(i + 1).padStart(5, "0")}.safetensors`, bytes, header, pieces };
  });
}

function specOf({ output, dtype, from, to, part, parts }: Piece): TensorSpec {
  const name = partName(output.name, part, { parts: { length: parts } });
  return { name, ...storedAs({ dtype, shape: [to - from, ...output.shape.slice(1)] }) };
}

/** Manifest entries of all tensors of the plans. */
export function tensorEntries(plans: ShardPlan[]): Record<string, TensorEntry> {
  const entries: Record<string, TensorEntry> = {};
  plans.forEach((plan, shard) => {
    let offset = plan.header.length;
    for (const piece of plan.pieces) {
      const { name, shape } = piece.output;
      const bytes = tensorBytes(specOf(piece));
      const entry = (entries[name] ??= { dtype: piece.dtype, shape, bytes: 0, parts: [] });
      entry.parts.push({ shard, offset, bytes });
      entry.bytes += bytes;
      offset += bytes;
    }
  });
  return entries;
}

/** What writing a shard gave: its manifest entry, and how many values were clamped to +-65504, by tensor. */
export interface WrittenShard {
  shard: Shard;
  clamped: Record<string, number>;
}

/** Writes one shard to `path` (through `path`.part), hashing on the way. */
export async function writeShard(plan: ShardPlan, path: string, source: TensorSource): Promise<WrittenShard> {
  const chunks = new ChunkHasher();
  const clamped: Record<string, number> = {};
  const file = await open(`${path}.part`, "w");
  try {
    const put = async (bytes: Uint8Array) => {
      chunks.update(bytes);
      await file.writeFile(bytes);
    };
    await put(plan.header);
    for (const { output, dtype, from, to } of plan.pieces) {
      for await (const values of produce(output, source, from, to)) {
        if (dtype === "F32") {
          await put(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
          continue;
        }
        const halves = new Uint16Array(values.length);
        const count = f32ToF16(values, halves);
        if (count) clamped[output.name] = (clamped[output.name] ?? 0) + count;
        await put(new Uint8Array(halves.buffer));
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.part`, path);
  return { shard: { file: plan.file, bytes: plan.bytes, chunks: chunks.digests() }, clamped };
}

/** SHA-256 of every `CHUNK_BYTES` slice of what passes through. */
export class ChunkHasher {
  private hash = createHash("sha256");
  private filled = 0;
  private readonly done: string[] = [];

  update(bytes: Uint8Array): void {
    while (bytes.length) {
      const part = bytes.subarray(0, CHUNK_BYTES - this.filled);
      this.hash.update(part);
      this.filled += part.length;
      bytes = bytes.subarray(part.length);
      if (this.filled === CHUNK_BYTES) this.next();
    }
  }

  digests(): string[] {
    if (this.filled) this.next();
    return this.done;
  }

  private next(): void {
    this.done.push(this.hash.digest("hex"));
    this.hash = createHash("sha256");
    this.filled = 0;
  }
}
