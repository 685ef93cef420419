/**
 * The text encoder block by block: while block i computes, the weights of block i + 1 are read from storage and uploaded into the
 * memory that block i - 1 has left. Two blocks are resident, whatever the number of blocks; T5-XXL then needs about 250 MiB instead of 3 GB.
 * The embedding table never reaches the GPU: the rows of the prompt's tokens are picked out of the stream.
 */
import { ScanvasError, throwIfAborted } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { planMemory, type MemoryPlan } from "../gpu/plan.ts";
import { Program } from "../gpu/program.ts";
import { Recording, type DeviceProfile } from "../gpu/recording.ts";
import { makeTensor, type Tensor } from "../gpu/tensor.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { relativeBuckets } from "../model/embeddings.ts";
import type { TextConfig } from "../model/text_config.ts";
import { recordTextBias, recordTextBlock } from "../model/text_encoder.ts";
import { Weights } from "../model/weights.ts";
import { embedRows } from "./embed_rows.ts";
import { finite } from "./finite.ts";
import type { TextModel } from "./text_model.ts";

/** Bytes of tensor `name` from byte `begin` on; valid until the call returns. */
export type Sink = (name: string, bytes: Uint8Array<ArrayBuffer>, begin: number) => void;
/** Hands the named tensors to `sink`, in the order in which they are stored. */
export type ReadTensors = (names: ReadonlySet<string>, sink: Sink, signal: AbortSignal | undefined) => Promise<void>;

const TABLE = "shared.weight";
const BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
const NORM = "encoder.final_layer_norm.weight";

/** One encoding of n tokens, recorded and planned; touches no device. `weights`: every tensor of the component, without memory. */
export function recordStreamed(
  config: TextConfig,
  weights: ReadonlyMap<string, Tensor>,
  profile: DeviceProfile,
  n: number,
) {
  const kept = new Map([BIAS, NORM].map((name) => [name, like(weights, name)]));
  const all = new Weights("text_encoder", kept);
  const slots = [0, 1].map((slot) => {
    const names = namesOf(weights, slot % config.blocks);
    return new Map(names.map((name) => [suffixOf(name), like(weights, name)]));
  });
  const buckets = makeTensor("buckets", [2 * n - 1], "u32");
  const bias = makeTensor("bias", [config.heads, 2 * n - 1]);
  const hidden = [0, 1].map((i) => makeTensor(`hidden${i}`, [n, config.width])) as [Tensor, Tensor];
  const embeds = makeTensor("embeds", [n, config.width]);

  const start = new Recording("encode start", profile);
  recordTextBias(start, config, all, buckets, bias);
  const blocks = slots.map((slot, i) => {
    const recording = new Recording(`encode block, slot ${i}`, profile);
    const block = new Weights("text_encoder", slot);
    recordTextBlock(recording, config, block, hidden[i]!, bias, hidden[1 - i]!);
    return recording;
  });
  const end = new Recording("encode end", profile);
  rmsNorm(end, hidden[config.blocks % 2]!, all.get(NORM, [config.width]), embeds, config.eps);

  const recordings = [start, ...blocks, end];
  const own = [...kept.values(), ...slots.flatMap((slot) => [...slot.values()]), buckets, bias, ...hidden, embeds];
  const plan: MemoryPlan = planMemory(recordings, own);
  const bytes = plan.bytes + own.reduce((sum, tensor) => sum + tensor.bytes, 0);
  return { recordings, own, kept, slots, buckets, hidden, embeds, plan, bytes };
}

export function streamedText(
  gpu: Gpu,
  config: TextConfig,
  weights: ReadonlyMap<string, Tensor>,
  read: ReadTensors,
): TextModel {
  return {
    kind: "streamed",
    async encode(ids, signal) {
      const recorded = recordStreamed(config, weights, gpu.profile, ids.length);
      const { recordings, own, kept, slots, buckets, hidden, embeds, plan } = recorded;
      const programs: Program[] = [];
      let free: (() => void) | undefined;
      const fill = (targets: ReadonlyMap<string, Tensor>, names: string[], key = (name: string) => name) =>
        read(new Set(names), (name, bytes, begin) => gpu.write(targets.get(key(name))!, bytes, begin), signal);
      const fillSlot = (block: number) => fill(slots[block % 2]!, namesOf(weights, block), suffixOf);
      try {
        await gpu.arena.allocate(own);
        free = await gpu.arena.workspace(plan);
        for (const recording of recordings) programs.push(await Program.build(gpu, recording, signal));
        const [start, even, odd, end] = programs as [Program, Program, Program, Program];
        gpu.write(buckets, relativeBuckets(ids.length, config));
        gpu.write(hidden[0], await embedRows(weights.get(TABLE)!, ids, (sink) => read(new Set([TABLE]), sink, signal)));
        await fill(kept, [BIAS, NORM]);
        await start.run(signal);
        await fillSlot(0);
        const done: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
        for (let block = 0; block < config.blocks; block++) {
          await (block % 2 ? odd : even).run(signal);
          done[block % 2] = gpu.wait(gpu.device.queue.onSubmittedWorkDone());
          done[block % 2]!.catch(() => undefined); // awaited below, unless the reading of weights fails first
          if (block + 1 === config.blocks) break;
          await done[(block + 1) % 2]; // the block before this one has left its memory
          await fillSlot(block + 1);
          throwIfAborted(signal);
        }
        await end.run(signal);
        return finite(await gpu.readF32(embeds));
      } finally {
        for (const program of programs) program.dispose();
        free?.();
        gpu.arena.release(own);
      }
    },
    dispose() {},
  };
}

/** Names of a block's tensors, in their order in the files; the bias table of block 0 is kept apart. */
function namesOf(weights: ReadonlyMap<string, Tensor>, block: number): string[] {
  const prefix = `encoder.block.${block}.`;
  return [...weights.keys()].filter((name) => name.startsWith(prefix) && name !== BIAS);
}

const suffixOf = (name: string): string => name.replace(/^encoder\.block\.\d+\./, "");

function like(weights: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const tensor = weights.get(name);
  if (tensor) return makeTensor(name, tensor.shape, tensor.type);
  throw new ScanvasError("TensorError", `text_encoder: tensor ${name} is missing; convert the model again`);
}
