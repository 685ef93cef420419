/** Every layout, against plain loops over the source tensors. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { fromF16, toF16 } from "../../src/numbers/half.ts";
import type { SafetensorsDtype } from "../../src/weights/safetensors.ts";
import { convert } from "../../tools/convert/convert.ts";
import { expectedTensors } from "../../tools/convert/layout.ts";
import type { Dense, Weights } from "./fixtures.ts";
import { GOLDEN, models, randomWeights, readConverted, readManifest, scratch, size, writeModel } from "./fixtures.ts";

/** A [rows, in] matrix with zero columns up to a multiple of 4. */
function padded({ shape: [rows, columns], values }: Dense): Dense {
  const width = columns + ((4 - (columns % 4)) % 4);
  const out = { shape: [rows, width], values: new Float32Array(rows * width) };
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out.values[r * width + c] = values[r * columns + c];
  return out;
}

/** Tensors one after the other along their first axis. */
function stacked(parts: Dense[]): Dense {
  const values = Float32Array.from(parts.flatMap((part) => [...part.values]));
  return { shape: [parts.reduce((sum, part) => sum + part.shape[0], 0), ...parts[0].shape.slice(1)], values };
}

/** [out, in, k, k] -> [out, k, k, in (padded if asked)] as a matrix. */
function tapMajor({ shape: [out, inputs, height, width], values }: Dense, channels = inputs): Dense {
  const row = height * width * channels;
  const result = { shape: [out, row], values: new Float32Array(out * row) };
  for (let o = 0; o < out; o++) {
    for (let c = 0; c < inputs; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          result.values[o * row + (y * width + x) * channels + c] = values[((o * inputs + c) * height + y) * width + x];
        }
      }
    }
  }
  return result;
}

/** Matrix product, sums in f64. */
function product(a: Dense, b: Dense, fromColumn = 0): Dense {
  const [rows, columns] = a.shape;
  const [depth, width] = b.shape;
  const values = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c++) {
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += a.values[r * columns + fromColumn + k] * b.values[k * width + c];
      values[r * width + c] = sum;
    }
  }
  return { shape: [rows, width], values };
}

function expectSame(got: Dense | undefined, want: Dense, name: string): void {
  expect(got?.shape, name).toEqual(want.shape);
  const wrong = want.values.findIndex((value, i) => value !== got!.values[i]);
  expect(wrong, `${name}: first wrong element`).toBe(-1);
}

async function converted(component: ComponentName, config: JsonObject, weights: Weights, dtype: "f16" | "f32" = "f32") {
  const out = await scratch();
  const report = await convert(await writeModel(component, config, weights), out, { dtype });
  return { report, out, tensors: await readConverted(out, component) };
}

const t2md: JsonObject = {
  ...models.pixart.config,
  _class_name: "T2MDTransformer2DModel",
  token_mixers: ["attention", "mamba_h"],
  mamba_d_state: 8,
  mamba_head_dim: 16,
};

function weightsFor(component: ComponentName, config: JsonObject, drop = /^$/): Weights {
  const shapes = expectedTensors(component, config).filter(({ name }) => !drop.test(name));
  return randomWeights(Object.fromEntries(shapes.map(({ name, shape }) => [name, shape])));
}

describe("denoiser", () => {
  it("stacks q, k, v and keeps the rest as it is", async () => {
    const { config, tensors: shapes } = models["pixart, additional conditions"];
    const source = randomWeights(shapes);
    const { tensors } = await converted("transformer", config, source);
    const seen = new Set<string>();
    const check = (name: string, want: Dense) => {
      seen.add(name);
      expectSame(tensors.get(name), want, name);
    };
    for (let i = 0; i < 2; i++) {
      const block = `transformer_blocks.${i}`;
      for (const kind of ["weight", "bias"]) {
        const parts = (attention: string, names: string[]) =>
          stacked(names.map((part) => source.get(`${block}.${attention}.${part}.${kind}`)!));
        check(`${block}.attn1.to_qkv.${kind}`, parts("attn1", ["to_q", "to_k", "to_v"]));
        check(`${block}.attn2.to_kv.${kind}`, parts("attn2", ["to_k", "to_v"]));
      }
    }
    const tables = stacked([0, 1].map((i) => source.get(`transformer_blocks.${i}.scale_shift_table`)!));
    check("scale_shift_tables", { shape: [2, 6, 72], values: tables.values });
    check("pos_embed.proj.weight", tapMajor(source.get("pos_embed.proj.weight")!));
    for (const name of tensors.keys()) if (!seen.has(name)) check(name, source.get(name)!);
    expect(tensors.has("adaln_single.emb.resolution_embedder.linear_1.weight")).toBe(true);
  });

  it("has no bias where attention_bias is false, and no caption projection where there is none", async () => {
    const { config, tensors: shapes } = models["pixart, no bias, no caption"];
    const { tensors } = await converted("transformer", config, randomWeights(shapes));
    expect(tensors.has("transformer_blocks.0.attn1.to_qkv.weight")).toBe(true);
    expect([...tensors.keys()].filter((name) => /to_(qkv|q|kv)\.bias|caption/.test(name))).toEqual([]);
    expect(tensors.has("transformer_blocks.0.attn1.to_out.0.bias")).toBe(true);
  });

  it("pads rows of a width that is not a multiple of 4 with zero columns", async () => {
    const config = { ...models.pixart.config, num_attention_heads: 3, num_layers: 1, cross_attention_dim: 50 };
    const source = weightsFor("transformer", config);
    const { tensors } = await converted("transformer", config, source);
    const block = "transformer_blocks.0";
    const qkv = stacked(["to_q", "to_k", "to_v"].map((part) => source.get(`${block}.attn1.${part}.weight`)!));
    expectSame(tensors.get(`${block}.attn1.to_qkv.weight`), padded(qkv), "to_qkv");
    expect(tensors.get(`${block}.attn1.to_qkv.weight`)!.shape).toEqual([3 * 54, 56]);
    expect(tensors.get(`${block}.attn2.to_kv.weight`)!.shape).toEqual([2 * 54, 52]);
    expectSame(tensors.get("proj_out.weight"), padded(source.get("proj_out.weight")!), "proj_out");
  });
});

describe("mamba", () => {
  const block = "transformer_blocks.1";
  const out = (source: Weights) => source.get(`${block}.mamba.out_proj.weight`)!;
  const fuse = (source: Weights) => source.get(`${block}.mamba_fuse.weight`)!;

  it("folds concat into one matrix for both directions", async () => {
    const source = weightsFor("transformer", t2md);
    const { tensors } = await converted("transformer", t2md, source);
    const forward = product(fuse(source), out(source));
    const backward = product(fuse(source), out(source), 72);
    const want = new Float32Array(72 * 288);
    for (let r = 0; r < 72; r++) {
      want.set(forward.values.subarray(r * 144, (r + 1) * 144), r * 288);
      want.set(backward.values.subarray(r * 144, (r + 1) * 144), r * 288 + 144);
    }
    expectSame(tensors.get(`${block}.mamba_fuse_out.weight`), { shape: [72, 288], values: want }, "fuse_out");
    expectSame(tensors.get(`${block}.mamba_fuse_out.bias`), source.get(`${block}.mamba_fuse.bias`)!, "bias");
    expect([...tensors.keys()].filter((name) => /out_proj|mamba_fuse\./.test(name))).toEqual([]);
  });

  it("gives (W_f [s1; s2]) for scans s1, s2 projected by out_proj", async () => {
    // the identity the engine relies on, on numbers: fuse [Wo a, Wo b] + bias == folded [a, b] + bias
    const source = weightsFor("transformer", t2md);
    const { tensors } = await converted("transformer", t2md, source);
    const scans = randomWeights({ a: [144, 1], b: [144, 1] }, 5);
    const [a, b] = [scans.get("a")!, scans.get("b")!];
    const projected = stacked([product(out(source), a), product(out(source), b)]);
    const slow = product(fuse(source), projected);
    const fast = product(tensors.get(`${block}.mamba_fuse_out.weight`)!, stacked([a, b]));
    slow.values.forEach((value, i) => expect(Math.abs(fast.values[i] - value)).toBeLessThan(1e-4));
  });

  it("folds sum and one direction into [D, E]", async () => {
    for (const change of [{ mamba_fusion: "sum" }, { mamba_bidirectional: false }] as JsonObject[]) {
      const source = weightsFor("transformer", { ...t2md, ...change });
      const { tensors } = await converted("transformer", { ...t2md, ...change }, source);
      const want = product(fuse(source), out(source));
      expectSame(tensors.get(`${block}.mamba_fuse_out.weight`), want, JSON.stringify(change));
    }
  });

  it("folds odd sizes", async () => {
    // D 21, E 42: neither whole pairs of rows nor whole fours of columns
    const odd = { ...t2md, num_attention_heads: 3, attention_head_dim: 7, mamba_head_dim: 14, mamba_fusion: "sum" };
    const source = weightsFor("transformer", odd);
    const { tensors } = await converted("transformer", odd, source);
    const want = padded(product(fuse(source), out(source)));
    expect(want.shape).toEqual([21, 44]);
    expectSame(tensors.get(`${block}.mamba_fuse_out.weight`), want, "odd");
  });

  it("takes out_proj alone and a zero bias when one direction has no fuse", async () => {
    const config = { ...t2md, mamba_bidirectional: false };
    const source = weightsFor("transformer", config, /mamba_fuse/);
    const { tensors } = await converted("transformer", config, source);
    expectSame(tensors.get(`${block}.mamba_fuse_out.weight`), out(source), "weight");
    const zeros = { shape: [72], values: new Float32Array(72) };
    expectSame(tensors.get(`${block}.mamba_fuse_out.bias`), zeros, "bias");
  });

  it("wants the fuse when there are two directions", async () => {
    const model = await writeModel("transformer", t2md, weightsFor("transformer", t2md, /mamba_fuse/));
    await expect(convert(model, await scratch())).rejects.toThrow(/no tensor "transformer_blocks.1.mamba_fuse.weight"/);
  });

  it("keeps in_proj, and the convolution as [channels, taps]", async () => {
    const source = weightsFor("transformer", t2md);
    const { tensors } = await converted("transformer", t2md, source);
    expectSame(tensors.get(`${block}.mamba.in_proj.weight`), source.get(`${block}.mamba.in_proj.weight`)!, "in_proj");
    const { values } = source.get(`${block}.mamba.conv1d.weight`)!;
    expectSame(tensors.get(`${block}.mamba.conv1d.weight`), { shape: [160, 4], values }, "conv1d");
  });
});

describe("text encoder", () => {
  it.each(["t5, gated", "t5, relu"])("stacks q, k, v and the gate: %s", async (name) => {
    const { config, tensors: shapes } = models[name];
    const source = randomWeights(shapes);
    const { tensors, report } = await converted("text_encoder", config, source);
    for (let i = 0; i < 2; i++) {
      const attention = `encoder.block.${i}.layer.0.SelfAttention`;
      const dense = `encoder.block.${i}.layer.1.DenseReluDense`;
      const qkv = stacked(["q", "k", "v"].map((part) => source.get(`${attention}.${part}.weight`)!));
      expectSame(tensors.get(`${attention}.qkv.weight`), qkv, "qkv");
      const wi = name === "t5, relu" ? ["wi"] : ["wi_0", "wi_1"];
      const stack = stacked(wi.map((part) => source.get(`${dense}.${part}.weight`)!));
      expectSame(tensors.get(`${dense}.wi.weight`), stack, "wi");
    }
    const bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    expectSame(tensors.get(bias), source.get(bias)!, bias);
    expectSame(tensors.get("shared.weight"), source.get("shared.weight")!, "shared");
    expect(report.notes).toEqual([]);
  });

  it("accepts encoder.embed_tokens for shared, and says what it does not use", async () => {
    const { config, tensors: shapes } = models["t5, gated"];
    const source = randomWeights({ ...shapes, "decoder.final_layer_norm.weight": [48] });
    source.delete("shared.weight");
    const { tensors, report } = await converted("text_encoder", config, source);
    expectSame(tensors.get("shared.weight"), source.get("encoder.embed_tokens.weight")!, "shared");
    expect(report.notes).toEqual(["text_encoder: 1 tensors not used: decoder.final_layer_norm.weight"]);
  });
});

describe("image decoder", () => {
  it("lays convolutions out tap by tap and drops the encoder", async () => {
    const { config, tensors: shapes } = models.vae;
    const source = randomWeights(shapes);
    const { tensors, report } = await converted("vae", config, source);
    for (const [name, { shape }] of source) {
      if (/^(encoder|quant_conv)/.test(name) || /to_[qkv]\./.test(name)) expect(tensors.has(name), name).toBe(false);
      else expectSame(tensors.get(name), shape.length === 4 ? tapMajor(source.get(name)!) : source.get(name)!, name);
    }
    const middle = "decoder.mid_block.attentions.0";
    const qkv = stacked(["to_q", "to_k", "to_v"].map((part) => source.get(`${middle}.${part}.weight`)!));
    expectSame(tensors.get(`${middle}.to_qkv.weight`), qkv, "to_qkv");
    expect(report.notes[0]).toMatch(/^vae: \d+ tensors not used: encoder\.conv_in\.weight/);
  });

  it("maps the names of old diffusers", async () => {
    const { config, tensors: shapes } = models.vae;
    const modern = randomWeights(shapes);
    const names = { to_q: "query", to_k: "key", to_v: "value", "to_out.0": "proj_attn" };
    const old: Weights = new Map(
      [...modern].map(([name, tensor]) => [
        Object.entries(names).reduce((text, [now, then]) => text.replace(`.${now}.`, `.${then}.`), name),
        tensor,
      ]),
    );
    expect(old.has("decoder.mid_block.attentions.0.query.weight")).toBe(true);
    const [a, b] = [await converted("vae", config, modern), await converted("vae", config, old)];
    expect(b.tensors).toEqual(a.tensors);
  });

  it("pads the channels of a convolution whose rows are not whole vec4s", async () => {
    const config = { ...models.vae.config, latent_channels: 6, use_post_quant_conv: true };
    const source = weightsFor("vae", config);
    const { tensors } = await converted("vae", config, source);
    const convIn = source.get("decoder.conv_in.weight")!;
    expect(convIn.shape).toEqual([64, 6, 3, 3]);
    expectSame(tensors.get("decoder.conv_in.weight"), tapMajor(convIn, 8), "conv_in");
    expect(tensors.get("post_quant_conv.weight")!.shape).toEqual([6, 8]);
  });
});

describe("dtypes", () => {
  it.each<SafetensorsDtype>(["F16", "BF16"])("reads %s as the same values", async (dtype) => {
    const { config, tensors: shapes } = models.pixart;
    const source = randomWeights(shapes);
    for (const { values } of source.values()) values.forEach((value, i) => (values[i] = Math.round(value * 64) / 64));
    const [full, half] = [await scratch(), await scratch()];
    await convert(await writeModel("transformer", config, source, "F32"), full, { dtype: "f32" });
    await convert(await writeModel("transformer", config, source, dtype), half, { dtype: "f32" });
    expect(await readConverted(half, "transformer")).toEqual(await readConverted(full, "transformer"));
  });

  it("stores f16 rounded to nearest, the sensitive tensors in full", async () => {
    const { config, tensors: shapes } = models.pixart;
    const source = randomWeights(shapes);
    for (const { values } of source.values()) values.forEach((value, i) => (values[i] = value / 3 + i * 1e-7));
    const { out, tensors } = await converted("transformer", config, source, "f16");
    const ff = source.get("transformer_blocks.1.ff.net.2.weight")!;
    const rounded = { shape: ff.shape, values: ff.values.map((value) => fromF16(toF16(value))) };
    expectSame(tensors.get("transformer_blocks.1.ff.net.2.weight"), rounded, "ff");
    expectSame(tensors.get("proj_out.weight"), source.get("proj_out.weight")!, "proj_out");
    const { dtype, tensors: entries } = (await readManifest(out)).components.transformer!;
    expect([dtype, entries["proj_out.weight"].dtype, entries["transformer_blocks.1.ff.net.2.weight"].dtype]).toEqual([
      "f16",
      "F32",
      "F16",
    ]);
  });

  it("clamps beyond f16 and says where and how often; f32 does not", async () => {
    const { config, tensors: shapes } = models.pixart;
    const source = randomWeights(shapes);
    source.get("transformer_blocks.0.ff.net.2.weight")!.values.set([1e5, -7e4]);
    source.get("proj_out.weight")!.values.set([1e5]);
    const half = await converted("transformer", config, source, "f16");
    expect([...half.tensors.get("transformer_blocks.0.ff.net.2.weight")!.values.subarray(0, 2)]).toEqual([
      65504, -65504,
    ]);
    expect(half.tensors.get("proj_out.weight")!.values[0]).toBe(1e5);
    expect(half.report.notes).toEqual([
      "transformer: transformer_blocks.0.ff.net.2.weight: 2 values beyond f16 were clamped to +-65504; f32 keeps them",
    ]);
    expect((await converted("transformer", config, source, "f32")).report.notes).toEqual([]);
  });
});

describe("the reference pipeline", () => {
  it("converts whole, with its tokenizer and Python's -Infinity", async () => {
    const out = await scratch();
    const { manifest } = await convert(join(GOLDEN, "pixart/pipeline"), out);
    expect(Object.keys(manifest.components)).toEqual(["text_encoder", "transformer", "vae"]);
    expect(manifest.className).toBe("PixArtAlphaPipeline");
    expect(manifest.scheduler!.lambda_min_clipped).toBe("-Infinity");
    expect(manifest.tokenizer!.file).toBe("tokenizer/tokenizer.json");
    expect(manifest.components.vae!.config.scaling_factor).toBe(0.13025);
    for (const component of ["text_encoder", "transformer", "vae"] as const) {
      const tensors = await readConverted(out, component);
      for (const [name, { shape }] of Object.entries(manifest.components[component]!.tensors)) {
        expect(tensors.get(name)!.values.length, name).toBe(size(shape));
      }
    }
  });
});
