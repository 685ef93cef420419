/**
 * What conversion does to every tensor, as plain data: for each output (name, shape, dtype as the engine reads it) the source
 * tensors (name, shape as diffusers and transformers write them) and the recipe between them. Nothing here touches a file;
 * `produce.ts` carries the recipes out. Output order is the order in which the engine needs the tensors.
 */
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { staysPrecise } from "../../src/weights/precision.ts";
import type { DenoiserConfig, ImageConfig, TextConfig } from "./config.ts";
import { denoiserConfig, imageConfig, textConfig } from "./config.ts";

/** A tensor of the input files; `aliases` are older names for the same thing. */
export interface Source {
  name: string;
  shape: number[];
  aliases?: string[];
}

export type Recipe =
  /**
   * The rows of all sources, one after the other. A source row is [channels, taps] and becomes [taps, stride], `row` elements in
   * all, with zeros where the source has nothing. A Linear has one tap; a tensor kept as it is has rows of one element.
   */
  | { kind: "rows"; sources: Source[]; channels: number; taps: number; stride: number; row: number }
  /**
   * fuse . out, [D, E] per direction side by side: [ fuse[:, :D] out | fuse[:, D:] out ]. `fuse` null: `out` as it is.
   */
  | { kind: "fold"; fuse: Source | null; out: Source }
  | { kind: "zeros" };

/**
 * dtype "weight" is what the user asked for, "F32" the tensors that are too sensitive or too small to be anything else. "precise"
 * is never below q8 (src/weights/precision.ts).
 */
export interface Output {
  name: string;
  shape: number[];
  dtype: "weight" | "precise" | "F32";
  recipe: Recipe;
}

/** Whether the input has a tensor; asked only where two layouts of a file are legal. */
export type Has = (name: string) => boolean;

/** Every output of a component. @throws ModelConfigError for a config the engine has no code for */
export function componentLayout(component: ComponentName, config: JsonObject, has: Has = () => true): Output[] {
  const blocks = component === "transformer" ? denoiserConfig(config).mixers.length : 0;
  return outputsOf(component, config, has).map((output) =>
    output.dtype === "weight" && staysPrecise(output.name, blocks) ? { ...output, dtype: "precise" } : output,
  );
}

function outputsOf(component: ComponentName, config: JsonObject, has: Has): Output[] {
  if (component === "transformer") return denoiserLayout(denoiserConfig(config), has);
  if (component === "text_encoder") return textLayout(textConfig(config));
  return imageLayout(imageConfig(config));
}

/** Every tensor a component must have, by config. */
export function expectedTensors(component: ComponentName, config: JsonObject, has?: Has): Source[] {
  return componentLayout(component, config, has).flatMap(({ recipe }) => sourcesOf(recipe));
}

/** The input tensors a recipe reads. */
export function sourcesOf(recipe: Recipe): Source[] {
  if (recipe.kind === "rows") return recipe.sources;
  if (recipe.kind === "fold") return recipe.fuse ? [recipe.fuse, recipe.out] : [recipe.out];
  return [];
}

const four = (n: number): number => Math.ceil(n / 4) * 4;
const product = (shape: number[]): number => shape.reduce((a, b) => a * b, 1);

/** A tensor kept element by element, in `shape` if given. */
function same(source: Source, shape = source.shape): Output {
  return stack(source.name, [source], shape);
}

/** [sum of outs, in] from one Linear weight or several stacked; rows padded with zero columns to a multiple of 4. */
function matrix(name: string, sources: Source[], dtype: Output["dtype"]): Output {
  const channels = sources[0].shape[1];
  const rows = sources.reduce((sum, source) => sum + source.shape[0], 0);
  const recipe: Recipe = { kind: "rows", sources, channels, taps: 1, stride: channels, row: four(channels) };
  return { name, shape: [rows, four(channels)], dtype, recipe };
}

/** `name`.weight and .bias from one Linear, or from several stacked along their outputs. */
function linear(
  name: string,
  parts: [string, number][],
  inputs: number,
  bias = true,
  dtype: Output["dtype"] = "weight",
) {
  const outputs = [
    matrix(
      `${name}.weight`,
      parts.map(([p, out]) => ({ name: `${p}.weight`, shape: [out, inputs] })),
      dtype,
    ),
  ];
  if (bias)
    outputs.push(
      stack(
        `${name}.bias`,
        parts.map(([part, out]) => ({ name: `${part}.bias`, shape: [out] })),
      ),
    );
  return outputs;
}

/** 1-D tensors one after the other. */
function stack(
  name: string,
  sources: Source[],
  shape = [sources.reduce((sum, s) => sum + product(s.shape), 0)],
): Output {
  return { name, shape, dtype: "F32", recipe: { kind: "rows", sources, channels: 1, taps: 1, stride: 1, row: 1 } };
}

/** The transformer block or T5 block an output belongs to; undefined before the first, after the last and in the VAE. */
export function blockOf(name: string): string | undefined {
  return /^(?:transformer_blocks|encoder\.block)\.(\d+)\./.exec(name)?.[1];
}

function denoiserLayout(c: DenoiserConfig, has: Has): Output[] {
  const { d } = c;
  const f32 = (name: string, out: number, inputs: number) => linear(name, [[name, out]], inputs, true, "F32");
  const patchSource = { name: "pos_embed.proj.weight", shape: [d, c.inChannels, c.patch, c.patch] };
  const taps = c.patch * c.patch;
  const patchRecipe = {
    kind: "rows" as const,
    sources: [patchSource],
    channels: c.inChannels,
    taps,
    stride: c.inChannels,
    row: four(taps * c.inChannels),
  };
  const outputs: Output[] = [
    { name: patchSource.name, shape: [d, patchRecipe.row], dtype: "F32", recipe: patchRecipe },
    same({ name: "pos_embed.proj.bias", shape: [d] }),
  ];
  const embedders: [string, number][] = [["timestep_embedder", d]];
  if (c.additional)
    embedders.push(["resolution_embedder", Math.floor(d / 3)], ["aspect_ratio_embedder", Math.floor(d / 3)]);
  for (const [embedder, width] of embedders) {
    outputs.push(...f32(`adaln_single.emb.${embedder}.linear_1`, width, 256));
    outputs.push(...f32(`adaln_single.emb.${embedder}.linear_2`, width, width));
  }
  outputs.push(...f32("adaln_single.linear", 6 * d, d));
  if (c.caption !== null) {
    outputs.push(...linear("caption_projection.linear_1", [["caption_projection.linear_1", d]], c.caption));
    outputs.push(...linear("caption_projection.linear_2", [["caption_projection.linear_2", d]], d));
  }
  const tables = c.mixers.map((_, i) => ({ name: `transformer_blocks.${i}.scale_shift_table`, shape: [6, d] }));
  outputs.push(stack("scale_shift_tables", tables, [c.mixers.length, 6, d]));
  c.mixers.forEach((mixer, i) => {
    const block = `transformer_blocks.${i}`;
    outputs.push(...(mixer === "attention" ? selfAttention(block, c) : mamba(block, c, has)));
    outputs.push(...linear(`${block}.attn2.to_q`, [[`${block}.attn2.to_q`, c.inner]], d, c.bias));
    const keyValue: [string, number][] = ["to_k", "to_v"].map((part) => [`${block}.attn2.${part}`, c.inner]);
    outputs.push(...linear(`${block}.attn2.to_kv`, keyValue, c.cross, c.bias));
    outputs.push(...linear(`${block}.attn2.to_out.0`, [[`${block}.attn2.to_out.0`, d]], c.inner));
    outputs.push(...linear(`${block}.ff.net.0.proj`, [[`${block}.ff.net.0.proj`, 4 * d]], d));
    outputs.push(...linear(`${block}.ff.net.2`, [[`${block}.ff.net.2`, d]], 4 * d));
  });
  outputs.push(same({ name: "scale_shift_table", shape: [2, d] }));
  outputs.push(...f32("proj_out", taps * c.outChannels, d));
  return outputs;
}

function selfAttention(block: string, c: DenoiserConfig): Output[] {
  const parts: [string, number][] = ["to_q", "to_k", "to_v"].map((part) => [`${block}.attn1.${part}`, c.inner]);
  const toOut = `${block}.attn1.to_out.0`;
  return [...linear(`${block}.attn1.to_qkv`, parts, c.d, c.bias), ...linear(toOut, [[toOut, c.d]], c.inner)];
}

function mamba(block: string, { d, mamba: m }: DenoiserConfig, has: Has): Output[] {
  const name = `${block}.mamba`;
  const conv = m.inner + 2 * m.state;
  const inRows = 2 * m.inner + 2 * m.state + m.heads;
  const out = { name: `${name}.out_proj.weight`, shape: [d, m.inner] };
  const fuseColumns = m.directions === 2 && m.concat ? 2 * d : d;
  const fused = m.directions === 2 || has(`${block}.mamba_fuse.weight`);
  const fuse = fused ? { name: `${block}.mamba_fuse.weight`, shape: [d, fuseColumns] } : null;
  const fold: Output = {
    name: `${block}.mamba_fuse_out.weight`,
    shape: [d, four((fuseColumns / d) * m.inner)],
    dtype: "weight",
    recipe: { kind: "fold", fuse, out },
  };
  const bias = `${block}.mamba_fuse_out.bias`;
  return [
    matrix(`${name}.in_proj.weight`, [{ name: `${name}.in_proj.weight`, shape: [inRows, d] }], "weight"),
    same({ name: `${name}.conv1d.weight`, shape: [conv, 1, m.taps] }, [conv, m.taps]),
    same({ name: `${name}.conv1d.bias`, shape: [conv] }),
    same({ name: `${name}.dt_bias`, shape: [m.heads] }),
    same({ name: `${name}.A_log`, shape: [m.heads] }),
    same({ name: `${name}.D`, shape: [m.heads] }),
    same({ name: `${name}.norm.weight`, shape: [m.inner] }),
    fold,
    has(`${block}.mamba_fuse.bias`)
      ? { ...same({ name: `${block}.mamba_fuse.bias`, shape: [d] }), name: bias }
      : { name: bias, shape: [d], dtype: "F32", recipe: { kind: "zeros" } },
  ];
}

function textLayout(c: TextConfig): Output[] {
  const table = { name: "shared.weight", shape: [c.vocab, c.d], aliases: ["encoder.embed_tokens.weight"] };
  const outputs: Output[] = [{ ...same(table), dtype: "weight" }];
  for (let i = 0; i < c.layers; i++) {
    const attention = `encoder.block.${i}.layer.0.SelfAttention`;
    const dense = `encoder.block.${i}.layer.1.DenseReluDense`;
    const wi: [string, number][] = c.gated
      ? [
          [`${dense}.wi_0`, c.ff],
          [`${dense}.wi_1`, c.ff],
        ]
      : [[`${dense}.wi`, c.ff]];
    const qkv: [string, number][] = ["q", "k", "v"].map((part) => [`${attention}.${part}`, c.inner]);
    outputs.push(same({ name: `encoder.block.${i}.layer.0.layer_norm.weight`, shape: [c.d] }));
    outputs.push(...linear(`${attention}.qkv`, qkv, c.d, false));
    if (i === 0)
      outputs.push(same({ name: `${attention}.relative_attention_bias.weight`, shape: [c.buckets, c.heads] }));
    outputs.push(...linear(`${attention}.o`, [[`${attention}.o`, c.d]], c.inner, false));
    outputs.push(same({ name: `encoder.block.${i}.layer.1.layer_norm.weight`, shape: [c.d] }));
    outputs.push(...linear(`${dense}.wi`, wi, c.d, false));
    outputs.push(...linear(`${dense}.wo`, [[`${dense}.wo`, c.d]], c.ff, false));
  }
  outputs.push(same({ name: "encoder.final_layer_norm.weight", shape: [c.d] }));
  return outputs;
}

/** conv2d [out, in, k, k] -> [out, k*k*in] with `in` fastest; `in` padded to a multiple of 4 when the row is not one. */
function conv(name: string, out: number, inputs: number, kernel: number): Output[] {
  const taps = kernel * kernel;
  const padded = (taps * inputs) % 4 ? four(inputs) : inputs;
  const source = { name: `${name}.weight`, shape: [out, inputs, kernel, kernel] };
  const recipe: Recipe = {
    kind: "rows",
    sources: [source],
    channels: inputs,
    taps,
    stride: padded,
    row: taps * padded,
  };
  return [
    { name: source.name, shape: [out, taps * padded], dtype: "weight", recipe },
    same({ name: `${name}.bias`, shape: [out] }),
  ];
}

function groupNorm(name: string, channels: number): Output[] {
  return ["weight", "bias"].map((part) => same({ name: `${name}.${part}`, shape: [channels] }));
}

function resnet(name: string, inputs: number, out: number): Output[] {
  return [
    ...groupNorm(`${name}.norm1`, inputs),
    ...conv(`${name}.conv1`, out, inputs, 3),
    ...groupNorm(`${name}.norm2`, out),
    ...conv(`${name}.conv2`, out, out, 3),
    ...(inputs === out ? [] : conv(`${name}.conv_shortcut`, out, inputs, 1)),
  ];
}

/** Attention of the decoder's middle; diffusers before 0.18 called the four Linears query, key, value, proj_attn. */
function imageAttention(name: string, channels: number): Output[] {
  const old = { to_q: "query", to_k: "key", to_v: "value", "to_out.0": "proj_attn" } as const;
  const source = (part: keyof typeof old, kind: "weight" | "bias"): Source => ({
    name: `${name}.${part}.${kind}`,
    shape: kind === "weight" ? [channels, channels] : [channels],
    aliases: [`${name}.${old[part]}.${kind}`],
  });
  const inward = ["to_q", "to_k", "to_v"] as const;
  return [
    ...groupNorm(`${name}.group_norm`, channels),
    matrix(
      `${name}.to_qkv.weight`,
      inward.map((part) => source(part, "weight")),
      "weight",
    ),
    stack(
      `${name}.to_qkv.bias`,
      inward.map((part) => source(part, "bias")),
    ),
    matrix(`${name}.to_out.0.weight`, [source("to_out.0", "weight")], "weight"),
    same(source("to_out.0", "bias")),
  ];
}

function imageLayout(c: ImageConfig): Output[] {
  const top = c.channels.at(-1)!;
  const outputs = c.postQuant ? conv("post_quant_conv", c.latent, c.latent, 1) : [];
  outputs.push(...conv("decoder.conv_in", top, c.latent, 3));
  outputs.push(...resnet("decoder.mid_block.resnets.0", top, top));
  if (c.attention) outputs.push(...imageAttention("decoder.mid_block.attentions.0", top));
  outputs.push(...resnet("decoder.mid_block.resnets.1", top, top));
  let width = top;
  c.channels.toReversed().forEach((channels, i) => {
    for (let k = 0; k < c.resnets; k++) {
      outputs.push(...resnet(`decoder.up_blocks.${i}.resnets.${k}`, width, channels));
      width = channels;
    }
    const last = i === c.channels.length - 1;
    if (!last) outputs.push(...conv(`decoder.up_blocks.${i}.upsamplers.0.conv`, channels, channels, 3));
  });
  outputs.push(...groupNorm("decoder.conv_norm_out", width));
  outputs.push(...conv("decoder.conv_out", c.out, width, 3));
  return outputs;
}
