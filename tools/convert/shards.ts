/** Which tensors lie in which file of a component, and where. */
import type { ComponentDtype, TensorEntry, WeightDtype } from "../../src/weights/manifest.ts";
import { partName, SHARD_BYTES, storedAs } from "../../src/weights/manifest.ts";
import type { TensorSpec } from "../../src/weights/safetensors.ts";
import { tensorBytes, writeHeader } from "../../src/weights/safetensors.ts";
import { storedDtype } from "./dtypes.ts";
import type { Output } from "./layout.ts";
import { blockOf } from "./layout.ts";

/** Rows [from, to) of an output, as they lie in one file. */
export interface Piece<Dtype extends string = WeightDtype> {
  output: Output;
  dtype: Dtype;
  from: number;
  to: number;
  /** Which part of the output this is, and how many there are. */
  part: number;
  parts: number;
}

/** A file to be: `header` is complete, so sizes and offsets are known before a tensor is read. */
export interface FilePlan<Dtype extends string = WeightDtype> {
  file: string;
  bytes: number;
  header: Uint8Array;
  pieces: Piece<Dtype>[];
}

/** Most of what a header may take: the rest of a shard is for tensors. */
const HEADER_BYTES = 2 ** 18;
/** A shard with as much ends where a block does, so that reading one block of a large model reads little else. */
const BLOCK_BYTES = 8 * 2 ** 20;

/**
 * Packs outputs in order into files of at most `SHARD_BYTES`. A tensor that does not fit what is left of a shard starts a new
 * one; so does a block, when there are `BLOCK_BYTES` already. A tensor that alone is larger than a shard is split by rows.
 */
export function planShards(outputs: Output[], component: string, dtype: ComponentDtype): FilePlan[] {
  const groups: Piece[][] = [];
  const capacity = SHARD_BYTES - HEADER_BYTES;
  let used = Infinity;
  let block: string | undefined;
  for (const output of outputs) {
    const stored = storedDtype(output, dtype);
    const rows = output.shape[0];
    const row = tensorBytes(storedAs({ dtype: stored, shape: output.shape })) / rows;
    // Parts end on a multiple of 64 rows, so that on the GPU, too, each starts on a binding boundary.
    const most = Math.floor(capacity / row / 64) * 64 || Math.floor(capacity / row);
    const parts = Math.ceil(rows / most);
    const begins = blockOf(output.name);
    if (begins !== undefined && begins !== block && used >= BLOCK_BYTES) used = Infinity;
    block = begins ?? block;
    for (let part = 0; part < parts; part++) {
      const [from, to] = [part * most, Math.min((part + 1) * most, rows)];
      const bytes = (to - from) * row;
      if (used + bytes > capacity || groups.at(-1)!.length >= 1000) {
        groups.push([]);
        used = 0;
      }
      groups.at(-1)!.push({ output, dtype: stored, from, to, part, parts });
      used += bytes;
    }
  }
  return groups.map((pieces, i) => {
    const file = `${component}/model-${String(i + 1).padStart(5, "0")}.safetensors`;
    return planFile(file, pieces, specOf, { format: "scanvas" });
  });
}

/** The file that has `pieces` in order, each as `spec` says. */
export function planFile<Dtype extends string>(
  file: string,
  pieces: Piece<Dtype>[],
  spec: (piece: Piece<Dtype>) => TensorSpec,
  metadata: Record<string, string>,
): FilePlan<Dtype> {
  const specs = pieces.map(spec);
  const header = writeHeader(specs, metadata);
  const bytes = specs.reduce((sum, spec) => sum + tensorBytes(spec), header.length);
  return { file, bytes, header, pieces };
}

function specOf({ output, dtype, from, to, part, parts }: Piece): TensorSpec {
  const name = partName(output.name, part, { parts: { length: parts } });
  return { name, ...storedAs({ dtype, shape: [to - from, ...output.shape.slice(1)] }) };
}

/** Manifest entries of all tensors of the plans. */
export function tensorEntries(plans: FilePlan[]): Record<string, TensorEntry> {
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
