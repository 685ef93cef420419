import type { Gpu } from "../gpu/device.ts";
import { planMemory, type MemoryPlan } from "../gpu/plan.ts";
import { Program } from "../gpu/program.ts";
import { Recording, type DeviceProfile } from "../gpu/recording.ts";
import { makeTensor, type Tensor } from "../gpu/tensor.ts";
import { relativeBuckets } from "../model/embeddings.ts";
import type { TextConfig } from "../model/text_config.ts";
import { recordTextEncoder } from "../model/text_encoder.ts";
import type { Weights } from "../model/weights.ts";
import { finite } from "./finite.ts";
import type { TextModel } from "./text_model.ts";

/** One encoding of n tokens, recorded and planned; touches no device. */
export function recordResident(
  config: TextConfig,
  weights: Weights,
  profile: DeviceProfile,
  n: number,
): { recording: Recording; ids: Tensor; buckets: Tensor; embeds: Tensor; plan: MemoryPlan; bytes: number } {
  const ids = makeTensor("ids", [n], "u32");
  const buckets = makeTensor("buckets", [2 * n - 1], "u32");
  const embeds = makeTensor("embeds", [n, config.width]);
  const recording = new Recording("encode", profile);
  recordTextEncoder(recording, config, weights, ids, buckets, embeds);
  const plan = planMemory([recording], [ids, buckets, embeds, ...weights.all()]);
  return { recording, ids, buckets, embeds, plan, bytes: plan.bytes + ids.bytes + buckets.bytes + embeds.bytes };
}

/** The text encoder with all its weights in GPU memory. Its temporaries live only for a call. */
export function residentText(gpu: Gpu, config: TextConfig, weights: Weights): TextModel {
  return {
    kind: "resident",
    async encode(tokens, signal) {
      const { recording, ids, buckets, embeds, plan } = recordResident(config, weights, gpu.profile, tokens.length);
      const own = [ids, buckets, embeds];
      let free: (() => void) | undefined;
      let program: Program | undefined;
      try {
        await gpu.arena.allocate(own);
        free = await gpu.arena.workspace(plan);
        program = await Program.build(gpu, recording, signal);
        gpu.write(ids, Uint32Array.from(tokens));
        gpu.write(buckets, relativeBuckets(tokens.length, config));
        await program.run(signal);
        return finite(await gpu.readF32(embeds));
      } finally {
        program?.dispose();
        free?.();
        gpu.arena.release(own);
      }
    },
    dispose() {},
  };
}
