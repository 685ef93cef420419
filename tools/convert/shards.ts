/** Planning and writing the shards of one component. */
import { createHash } from "node:crypto";
import { open, rename } from "node:fs/promises";
import { f32ToF16 } from "../../src/weights/floats.ts";
import type { Shard, TensorEntry, WeightDtype } from "../../src/weights/manifest.ts";
import { PIECE_BYTES } from "../../src/weights/manifest.ts";
import type { TensorSpec } from "../../src/weights/safetensors.ts";
import { tensorBytes, writeHeader } from "../../src/weights/safetensors.ts";
import type { Output } from "./layout.ts";
import { produce } from "./produce.ts";
import type { TensorSource } from "./source.ts";

/** A shard to be: `header` is complete, so sizes and offsets are known before a tensor is read. */
export interface ShardPlan {
  file: string;
  bytes: number;
  header: Uint8Array;
  outputs: Output[];
}

/** Packs outputs in order into files of at most `PIECE_BYTES`; a tensor that alone is larger has a file of its own. */
export function planShards(outputs: Output[], component: string, dtype: WeightDtype): ShardPlan[] {
  const groups: Output[][] = [];
  let room = -1;
  for (const output of outputs) {
    const spec = specOf(output, dtype);
    const needed = tensorBytes(spec) + JSON.stringify(spec).length + 64; // at most what its header entry takes
    if (needed > room) {
      groups.push([]);
      room = PIECE_BYTES - 16;
    }
    groups.at(-1)!.push(output);
    room -= needed;
  }
  return groups.map((group, i) => {
    const specs = group.map((output) => specOf(output, dtype));
    const header = writeHeader(specs, { format: "scanvas" });
    const bytes = specs.reduce((sum, spec) => sum + tensorBytes(spec), header.length);
    return { file: `${component}/model-${String(i + 1).padStart(5, "0")}.safetensors`, bytes, header, outputs: group };
  });
}

function specOf(output: Output, dtype: WeightDtype): TensorSpec {
  return { name: output.name, shape: output.shape, dtype: output.dtype === "F32" ? "F32" : dtype };
}

/** Manifest entries of all tensors of the plans. */
export function tensorEntries(plans: ShardPlan[], dtype: WeightDtype): Record<string, TensorEntry> {
  const entries: Record<string, TensorEntry> = {};
  plans.forEach((plan, shard) => {
    let offset = plan.header.length;
    for (const output of plan.outputs) {
      const spec = specOf(output, dtype);
      const bytes = tensorBytes(spec);
      entries[output.name] = { dtype: spec.dtype as WeightDtype, shape: output.shape, shard, offset, bytes };
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
export async function writeShard(
  plan: ShardPlan,
  path: string,
  source: TensorSource,
  dtype: WeightDtype,
): Promise<WrittenShard> {
  const whole = createHash("sha256");
  const pieces = new PieceHasher();
  const clamped: Record<string, number> = {};
  const file = await open(`${path}.part`, "w");
  try {
    const put = async (bytes: Uint8Array) => {
      whole.update(bytes);
      pieces.update(bytes);
      await file.writeFile(bytes);
    };
    await put(plan.header);
    for (const output of plan.outputs) {
      for await (const values of produce(output, source)) {
        if (specOf(output, dtype).dtype === "F32") {
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
  const shard: Shard = { file: plan.file, bytes: plan.bytes, sha256: whole.digest("hex") };
  if (plan.bytes > PIECE_BYTES) shard.pieces = pieces.digests();
  return { shard, clamped };
}

/** SHA-256 of every `PIECE_BYTES` slice of what passes through. */
class PieceHasher {
  private hash = createHash("sha256");
  private filled = 0;
  private readonly done: string[] = [];

  update(bytes: Uint8Array): void {
    while (bytes.length) {
      const part = bytes.subarray(0, PIECE_BYTES - this.filled);
      this.hash.update(part);
      this.filled += part.length;
      bytes = bytes.subarray(part.length);
      if (this.filled === PIECE_BYTES) this.next();
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
