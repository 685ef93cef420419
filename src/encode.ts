import { ScanvasError } from "./errors.ts";
import { Program } from "./gpu/program.ts";
import { planMemory } from "./gpu/plan.ts";
import { Recording } from "./gpu/recording.ts";
import { makeTensor } from "./gpu/tensor.ts";
import type { Model } from "./load.ts";
import { recordTextEncoder, relativeBuckets } from "./model/text_encoder.ts";

export interface EncodedPrompt {
  /** [tokens, caption] f32: only real tokens, padding is never computed. */
  embeds: Float32Array<ArrayBuffer>;
  /** Token ids, `</s>` included. */
  ids: Int32Array;
  truncated: boolean;
}

/** Prompt -> token ids -> T5 embeddings. Its temporaries live only for this call. */
export async function encodePrompt(
  model: Model,
  prompt: string,
  maxLength: number,
  signal: AbortSignal | undefined,
): Promise<EncodedPrompt> {
  const { gpu } = model;
  const { config, weights, tokenizer } = model.text!;
  const { ids, truncated } = tokenizer.tokenize(prompt, maxLength);
  const idTensor = makeTensor("ids", [ids.length], "u32");
  const buckets = makeTensor("buckets", [2 * ids.length - 1], "u32");
  const embeds = makeTensor("embeds", [ids.length, config.width]);
  const recording = new Recording("encode", gpu.profile);
  recordTextEncoder(recording, config, weights, idTensor, buckets, embeds);
  const own = [idTensor, buckets, embeds];
  let free: (() => void) | undefined;
  let program: Program | undefined;
  try {
    await gpu.arena.allocate(own);
    free = await gpu.arena.workspace(planMemory([recording]));
    program = await Program.build(gpu, recording);
    gpu.write(idTensor, Uint32Array.from(ids));
    gpu.write(buckets, relativeBuckets(ids.length, config) as Uint32Array<ArrayBuffer>);
    await program.run(signal);
    const rows = await gpu.readF32(embeds);
    if (!rows.every(Number.isFinite)) {
      throw new ScanvasError(
        "NumericalError",
        "scanvas: the text encoder produced NaN or Inf; its weights are damaged, load the model again",
      );
    }
    return { embeds: rows, ids, truncated };
  } finally {
    program?.dispose();
    free?.();
    gpu.arena.release(own);
  }
}
