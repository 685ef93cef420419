/** Made-up models: reproducible by position, scaled like trained ones, the same whichever way they are written. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { convert } from "../../tools/convert/convert.ts";
import { expectedTensors } from "../../tools/convert/layout.ts";
import { openSource } from "../../tools/convert/open.ts";
import type { TensorSource } from "../../tools/convert/source.ts";
import { openDirectory } from "../../tools/convert/source.ts";
import type { Components } from "../../tools/synth/configs.ts";
import { CONFIGS, withLayers } from "../../tools/synth/configs.ts";
import { synth, syntheticPipeline } from "../../tools/synth/synth.ts";
import { inspect } from "../../tools/inspect.ts";
import { readDense, scratch, size } from "./fixtures.ts";

const t2md = withLayers(CONFIGS.t2md, 2).transformer!;
const small: Components = {
  transformer: {
    ...t2md,
    num_attention_heads: 2,
    attention_head_dim: 64,
    caption_channels: 64,
    cross_attention_dim: 128,
  },
  text_encoder: {
    ...CONFIGS["t5-xxl"].text_encoder,
    num_layers: 2,
    d_model: 64,
    d_ff: 160,
    num_heads: 2,
    vocab_size: 300,
  },
  vae: { ...CONFIGS["sdxl-vae"].vae, block_out_channels: [32, 32, 64, 64] },
};

async function source(component: ComponentName, config: JsonObject, seed = 1): Promise<TensorSource> {
  return openSource({ component, config, seed });
}

async function values(from: TensorSource, name: string, begin?: number, count?: number): Promise<Float32Array> {
  const all = size(from.tensors.get(name)!.shape);
  const bytes = await from.read(name, begin ?? 0, count ?? all);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

function moments(x: Float32Array): { mean: number; deviation: number; kurtosis: number } {
  const mean = x.reduce((sum, v) => sum + v, 0) / x.length;
  const power = (n: number) => x.reduce((sum, v) => sum + (v - mean) ** n, 0) / x.length;
  return { mean, deviation: Math.sqrt(power(2)), kurtosis: power(4) / power(2) ** 2 };
}

function correlation(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < Math.min(a.length, b.length); i++)
    [ab, aa, bb] = [ab + a[i] * b[i], aa + a[i] ** 2, bb + b[i] ** 2];
  return ab / Math.sqrt(aa * bb);
}

const WI = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight";
const WI1 = "encoder.block.0.layer.1.DenseReluDense.wi_1.weight";

describe("the numbers", () => {
  const wide = withLayers(CONFIGS["t5-xxl"], 1).text_encoder!;

  it("depend on seed, name and position alone: a range is a part of the whole", async () => {
    const [a, b, other] = [
      await source("text_encoder", wide),
      await source("text_encoder", wide),
      await source("text_encoder", wide, 2),
    ];
    const whole = await values(a, WI, 0, 100_000);
    for (const [begin, count] of [
      [0, 1],
      [1, 777],
      [65_535, 3],
      [99_999, 1],
    ]) {
      expect(await values(b, WI, begin, count)).toEqual(whole.slice(begin, begin + count));
    }
    for (const x of [
      await values(other, WI, 0, 100_000),
      await values(a, WI1, 0, 100_000),
      await values(a, WI, 100_000, 100_000),
    ]) {
      expect(Math.abs(correlation(whole, x))).toBeLessThan(0.015);
    }
    expect(Math.abs(correlation(whole.subarray(1), whole))).toBeLessThan(0.015);
    expect(other.fingerprint).not.toBe(a.fingerprint);
    expect(b.fingerprint).toBe(a.fingerprint);
  });

  it("of matrices are bell-shaped and keep a signal's size", async () => {
    const from = await source("text_encoder", wide);
    const expectScale = async (name: string, deviation: number) => {
      const got = moments(await values(from, name, 12_345, 200_000));
      expect(Math.abs(got.mean), name).toBeLessThan(0.01 * deviation);
      expect(got.deviation / deviation, name).toBeCloseTo(1, 1.7);
      expect(got.kurtosis, name).toBeCloseTo(2.7, 1);
    };
    await expectScale(WI, 1 / Math.sqrt(4096));
    await expectScale("encoder.block.0.layer.1.DenseReluDense.wo.weight", 1 / Math.sqrt(10240));
    await expectScale("encoder.block.0.layer.0.SelfAttention.q.weight", 1 / Math.sqrt(4096 * 64));
    await expectScale("encoder.block.0.layer.0.SelfAttention.k.weight", 1 / Math.sqrt(4096));
    await expectScale("shared.weight", 1);
    const norm = moments(await values(from, "encoder.final_layer_norm.weight"));
    expect(norm.mean).toBeCloseTo(1, 1);
    expect(norm.deviation).toBeCloseTo(0.1, 1);
  });

  it("of the scan are in Mamba-2's starting ranges", async () => {
    const from = await source("transformer", t2md);
    const block = "transformer_blocks.1.mamba";
    const a = (await values(from, `${block}.A_log`)).map(Math.exp);
    const dt = (await values(from, `${block}.dt_bias`)).map((x) => Math.log1p(Math.exp(x)));
    expect(a.length).toBe(36);
    expect([Math.min(...a) >= 1, Math.max(...a) <= 16.001, Math.max(...a) > 10]).toEqual([true, true, true]);
    expect([Math.min(...dt) >= 0.000999, Math.max(...dt) <= 0.1001, Math.max(...dt) > 0.03]).toEqual([
      true,
      true,
      true,
    ]);
    expect(moments(await values(from, `${block}.D`)).mean).toBeCloseTo(1, 1);
    expect(moments(await values(from, `${block}.norm.weight`)).mean).toBeCloseTo(1, 1);
  });
});

describe("configs", () => {
  it.each([
    ["t2md", "transformer", 0.75, 0.76],
    ["pixart", "transformer", 0.6, 0.62],
    ["t5-xxl", "text_encoder", 4.75, 4.77],
    ["sdxl-vae", "vae", 0.049, 0.05],
  ] as const)("%s has its full size", (name, component, low, high) => {
    const config = (CONFIGS[name] as Components)[component]!;
    const billions = expectedTensors(component, config).reduce((sum, { shape }) => sum + size(shape), 0) / 1e9;
    expect(billions).toBeGreaterThan(low);
    expect(billions).toBeLessThan(high);
  });

  it("can be cut to their first layers", () => {
    const { transformer, vae } = withLayers(CONFIGS.full, 7);
    expect(transformer).toMatchObject({
      num_layers: 7,
      token_mixers: (CONFIGS.t2md.transformer.token_mixers as string[]).slice(0, 7),
    });
    expect(vae).toBe(CONFIGS["sdxl-vae"].vae);
    expect(withLayers(CONFIGS.pixart, 3).transformer).not.toHaveProperty("token_mixers");
    expect(() => withLayers(CONFIGS["t5-xxl"], 25)).toThrow(/--layers 25, the config has 24/);
  });
});

describe("a pipeline directory", () => {
  it("in several files has an index, and reads as the same numbers", async () => {
    const out = await scratch();
    await synth(syntheticPipeline(small, 3), out, { dtype: "F32", fileBytes: 500_000 });
    const report = await inspect(out);
    expect([report.className, report.licence, report.components.length]).toEqual(["T2MDPipeline", "cc0-1.0", 3]);
    for (const [component, config] of Object.entries(small) as [ComponentName, JsonObject][]) {
      const [made, read] = [await source(component, config, 3), await openDirectory(join(out, component))];
      expect(read.files, component).toBeGreaterThan(1);
      expect([...read.tensors.keys()].sort()).toEqual([...made.tensors.keys()].sort());
      for (const name of made.tensors.keys()) expect(await values(read, name), name).toEqual(await values(made, name));
      await read.close();
    }
  });

  it("in bf16 holds the nearest numbers that bf16 has", async () => {
    const out = await scratch();
    const components = { text_encoder: small.text_encoder! };
    await synth(syntheticPipeline(components, 3), out, { dtype: "BF16" });
    const stored = readDense(await readFile(join(out, "text_encoder/model.safetensors")));
    const made = await source("text_encoder", components.text_encoder, 3);
    for (const name of made.tensors.keys()) {
      const want = await values(made, name);
      const got = stored.get(name)!.values;
      want.forEach((value, i) => expect(Math.abs(got[i] - value)).toBeLessThanOrEqual(Math.abs(value) / 256));
    }
  });

  it("converts to the very bytes of a model that was converted while it was made up", async () => {
    const [full, one, two] = [await scratch(), await scratch(), await scratch()];
    const pipeline = syntheticPipeline(small, 3);
    const dtype = "q8,text_encoder=q4";
    await synth(pipeline, full, { dtype: "F32" });
    await convert(full, one, { dtype, source: pipeline.source, licence: pipeline.licence });
    await convert(pipeline, two, { dtype, threads: 2 });
    const files = (await readdir(one, { recursive: true })).filter((name) => /\.json$|\.safetensors$/.test(name));
    expect(files.length).toBeGreaterThanOrEqual(7);
    for (const file of files.filter((name) => name !== ".convert.json")) {
      expect((await readFile(join(one, file))).equals(await readFile(join(two, file))), file).toBe(true);
    }
  });
});
