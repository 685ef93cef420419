import { ScanvasError } from "./errors.ts";
import { planMemory } from "./gpu/plan.ts";
import { Program } from "./gpu/program.ts";
import { Recording } from "./gpu/recording.ts";
import { makeTensor, type Tensor } from "./gpu/tensor.ts";
import type { Model } from "./load.ts";
import { conditionTensors, makeConditions, recordConditions, recordDenoiser } from "./model/denoiser.ts";
import { positionTable, timestepEmbedding, TIMESTEP_CHANNELS } from "./model/embeddings.ts";
import { VAE_FACTOR } from "./session.ts";
import type { NamedTensor, TraceRequest, TraceResult } from "./worker/api.ts";

/** One forward pass on given inputs, with the residual stream after every block: the tool for parity work. */
export async function traceDenoiser({ gpu, denoiser }: Model, request: TraceRequest): Promise<TraceResult> {
  if (!denoiser) throw new ScanvasError("ModelConfigError", "trace: this model was loaded without a transformer");
  const { config, weights } = denoiser;
  const latent = f32Input("latent", request.latent, 4);
  const embeds = f32Input("embeds", request.embeds, 3);
  const mask = f32Input("mask", request.mask, 2);
  const [batch, channels, height, width] = latent.shape as [number, number, number, number];
  const textTokens = embeds.shape[1]!;
  const rows = height / config.patchSize;
  const columns = width / config.patchSize;
  const agree =
    channels === config.inChannels &&
    Number.isInteger(rows) &&
    Number.isInteger(columns) &&
    embeds.shape[0] === batch &&
    embeds.shape[2] === config.captionChannels &&
    mask.shape[0] === batch &&
    mask.shape[1] === textTokens &&
    request.t.length === batch;
  if (!agree) {
    throw new ScanvasError(
      "InvalidArgumentError",
      `trace: latent [${latent.shape}], embeds [${embeds.shape}], mask [${mask.shape}] and t [${request.t.length}] do not fit; expected ` +
        `[B, ${config.inChannels}, h, w] with h and w multiples of ${config.patchSize}, [B, L, ${config.captionChannels}], [B, L] and [B]`,
    );
  }

  const blocks = request.blocks ?? config.tokenMixers.map((_, i) => i);
  if (!blocks.every((block, i) => config.tokenMixers[block] && block > (blocks[i - 1] ?? -1))) {
    throw new ScanvasError(
      "InvalidArgumentError",
      `trace: blocks is [${blocks}], expected increasing numbers from 0 to ${config.blocks - 1}`,
    );
  }

  const tensors = {
    latents: makeTensor("latents", latent.shape),
    embeds: makeTensor("embeds", embeds.shape),
    step: makeTensor("step", [9]),
    timestep: makeTensor("timestep", [batch, TIMESTEP_CHANNELS]),
    columnTable: makeTensor("column_table", [columns, config.width / 2]),
    rowTable: makeTensor("row_table", [rows, config.width / 2]),
    sizes: makeTensor("sizes", [3, TIMESTEP_CHANNELS]),
    output: makeTensor("output", latent.shape),
  };
  const conditions = makeConditions(config, batch, textTokens);
  const hidden: Tensor[] = [];
  const recording = new Recording("trace", gpu.profile);
  recordConditions(
    recording,
    config,
    weights,
    tensors.embeds,
    config.additionalConditions ? tensors.sizes : undefined,
    conditions,
  );
  const keep = (block: number, x: Tensor): void => {
    const copy = makeTensor(`hidden${block}`, x.shape);
    hidden.push(copy);
    recording.copy(x, copy);
  };
  recordDenoiser(recording, config, weights, { ...tensors, conditions }, tensors.output, keep, blocks);

  const own = [...Object.values(tensors), ...conditionTensors(conditions), ...hidden];
  let free: (() => void) | undefined;
  let program: Program | undefined;
  try {
    await gpu.arena.allocate(own);
    free = await gpu.arena.workspace(planMemory([recording]));
    program = await Program.build(gpu, recording);
    gpu.write(tensors.latents, latent.data);
    gpu.write(tensors.embeds, embeds.data);
    gpu.write(conditions.mask, mask.data);
    gpu.write(tensors.step, Float32Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0));
    gpu.write(tensors.timestep, timestepEmbedding(request.t));
    gpu.write(tensors.columnTable, positionTable(config, columns, rows));
    gpu.write(tensors.rowTable, positionTable(config, rows, columns));
    gpu.write(tensors.sizes, timestepEmbedding([height * VAE_FACTOR, width * VAE_FACTOR, height / width]));
    await program.run();
    const [eps, ...states] = (await gpu.read([tensors.output, ...hidden])).map((buffer) => new Float32Array(buffer));
    const all = new Float32Array(states.reduce((n, state) => n + state.length, 0));
    states.forEach((state, i) => all.set(state, i * state.length));
    return {
      eps: { dtype: "F32", shape: [...latent.shape], data: eps! },
      hidden: { dtype: "F32", shape: [blocks.length, batch, rows * columns, config.width], data: all },
    };
  } finally {
    program?.dispose();
    free?.();
    gpu.arena.release(own);
  }
}

function f32Input(
  name: string,
  tensor: NamedTensor,
  rank: number,
): { shape: number[]; data: Float32Array<ArrayBuffer> } {
  if (!(tensor.data instanceof Float32Array) || tensor.shape.length !== rank) {
    throw new ScanvasError(
      "InvalidArgumentError",
      `trace: ${name} must be an f32 tensor with ${rank} axes, got ${tensor.dtype} [${tensor.shape}]`,
    );
  }
  return { shape: tensor.shape, data: tensor.data };
}
