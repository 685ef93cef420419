/** Writing one planned file, a few rows at a time. */
import { createHash } from "node:crypto";
import { open, rename } from "node:fs/promises";
import type { Shard } from "../../src/weights/manifest.ts";
import { CHUNK_BYTES } from "../../src/weights/manifest.ts";
import type { Loss, StoredDtype } from "./encode.ts";
import { encode } from "./encode.ts";
import { copy, isCopy, produce } from "./produce.ts";
import type { FilePlan, Piece } from "./shards.ts";
import type { TensorSource } from "./source.ts";

/** What writing a file gave. `losses` by tensor: those with clamped values, or, when measured, all that lost anything. */
export interface Written {
  shard: Shard;
  losses: Record<string, Loss>;
}

/** Writes one file to `path` (through `path`.part), hashing on the way; `measure`: see `encode`. @throws as produce */
export async function writeFile(
  plan: FilePlan<StoredDtype>,
  path: string,
  source: TensorSource,
  measure: boolean,
): Promise<Written> {
  const chunks = new ChunkHasher();
  const losses: Record<string, Loss> = {};
  const file = await open(`${path}.part`, "w");
  try {
    const put = async (bytes: Uint8Array) => {
      chunks.update(bytes);
      await file.writeFile(bytes);
    };
    await put(plan.header);
    for (const piece of plan.pieces) {
      const loss: Loss = { clamped: 0, difference: 0, norm: 0 };
      for await (const bytes of pieceBytes(piece, source, loss, measure)) await put(bytes);
      if (loss.clamped || loss.norm) losses[piece.output.name] = loss;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.part`, path);
  return { shard: { file: plan.file, bytes: plan.bytes, chunks: chunks.digests() }, losses };
}

async function* pieceBytes(
  { output, dtype, from, to }: Piece<StoredDtype>,
  source: TensorSource,
  loss: Loss,
  measure: boolean,
): AsyncGenerator<Uint8Array> {
  if (isCopy(output, dtype, source)) {
    yield* copy(output, source, from, to);
    return;
  }
  const depth = output.shape.at(-1)!;
  for await (const values of produce(output, source, from, to)) yield encode(values, dtype, depth, loss, measure);
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
