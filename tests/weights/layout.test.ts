import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { readSafetensors } from "../../src/weights/safetensors.ts";
import { componentLayout, expectedTensors } from "../../tools/convert/layout.ts";
import { CONFIGS } from "../../tools/synth/configs.ts";
import { GOLDEN, models } from "./fixtures.ts";

/** Names and shapes by config, sorted. */
function expected(...args: Parameters<typeof expectedTensors>): Record<string, number[]> {
  return Object.fromEntries(expectedTensors(...args).map(({ name, shape }) => [name, shape]));
}

function without(tensors: Record<string, number[]>, dropped: RegExp): Record<string, number[]> {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => !dropped.test(name)));
}

describe("expectedTensors", () => {
  it.each(Object.entries(models))(
    "has the names and shapes of the library: %s",
    (_, { component, config, tensors }) => {
      const unused = /^encoder\.embed_tokens\.weight$/;
      const notForDecoding = /^(encoder|quant_conv)\./;
      expect(expected(component, config)).toEqual(without(tensors, component === "vae" ? notForDecoding : unused));
    },
  );

  it("has the names and shapes of the T2MD reference", async () => {
    const config = JSON.parse(await readFile(join(GOLDEN, "t2md/transformer/config.json"), "utf8")) as JsonObject;
    const file = await readFile(join(GOLDEN, "t2md/transformer/diffusion_pytorch_model.safetensors"));
    const shapes = [...readSafetensors(file).tensors].map(([name, { shape }]) => [name, shape]);
    expect(expected("transformer", config)).toEqual(Object.fromEntries(shapes));
  });

  it("gives the full T2MD model the shapes of the contract", () => {
    const mixers = ["attention", ...Array<string>(6).fill("mamba_w")];
    const config = { _class_name: "T2MDTransformer2DModel", num_layers: 28, caption_channels: 4096 };
    const all = expected("transformer", { ...config, token_mixers: Array(4).fill(mixers).flat() as string[] });
    expect(all["transformer_blocks.1.mamba.in_proj.weight"]).toEqual([2 * 2304 + 2 * 256 + 36, 1152]);
    expect(all["transformer_blocks.1.mamba.conv1d.weight"]).toEqual([2304 + 512, 1, 4]);
    expect(all["transformer_blocks.1.mamba_fuse.weight"]).toEqual([1152, 2304]);
    expect(all["transformer_blocks.7.attn1.to_q.weight"]).toEqual([1152, 1152]);
    expect(all["transformer_blocks.8.attn1.to_q.weight"]).toBeUndefined();
  });
});

describe("outputs", () => {
  it.each(Object.entries(models))(
    "are unique, whole vec4 rows, F32 where it matters: %s",
    (_, { component, config }) => {
      const outputs = componentLayout(component, config);
      expect(new Set(outputs.map(({ name }) => name)).size).toBe(outputs.length);
      for (const { name, shape, dtype } of outputs) {
        if (dtype !== "F32") expect(shape.length === 2 && shape[1] % 4 === 0, name).toBe(true);
        const sensitive = /bias|norm|scale_shift|pos_embed|adaln_single|^proj_out|A_log|\.D$|conv1d/.test(name);
        if (sensitive) expect(dtype, name).toBe("F32");
        else expect(["weight", "precise"], name).toContain(dtype);
      }
    },
  );

  it("stay at 8 bits where errors are felt most: both ends of the transformer, its text input, T5's table", () => {
    const precise = (component: ComponentName, config: JsonObject) =>
      componentLayout(component, config)
        .filter(({ dtype }) => dtype === "precise")
        .map(({ name }) => name.replace(/^(transformer_blocks\.\d+|caption_projection)\..*/, "$1"));
    expect(new Set(precise("transformer", CONFIGS.t2md.transformer))).toEqual(
      new Set(["caption_projection", "transformer_blocks.0", "transformer_blocks.27"]),
    );
    expect(precise("text_encoder", CONFIGS["t5-xxl"].text_encoder)).toEqual(["shared.weight"]);
    expect(precise("vae", CONFIGS["sdxl-vae"].vae)).toEqual([]);
  });

  it("come block by block", () => {
    const names = componentLayout("transformer", models.pixart.config).map(({ name }) => name);
    const blocks = names.map((name) => Number(/^transformer_blocks\.(\d+)/.exec(name)?.[1] ?? NaN));
    const numbered = blocks.filter((block) => !Number.isNaN(block));
    expect(numbered).toEqual(numbered.toSorted((a, b) => a - b));
    expect(names[0]).toBe("pos_embed.proj.weight");
    expect(names.at(-1)).toBe("proj_out.bias");
    expect(names.indexOf("scale_shift_tables")).toBeLessThan(blocks.indexOf(0));
    const text = componentLayout("text_encoder", models["t5, gated"].config).map(({ name }) => name);
    expect(text[0]).toBe("shared.weight");
    expect(text.at(-1)).toBe("encoder.final_layer_norm.weight");
    const image = componentLayout("vae", models.vae.config).map(({ name }) => name);
    expect([image[0], image.at(-1)]).toEqual(["post_quant_conv.weight", "decoder.conv_out.bias"]);
  });
});

describe("configs the engine has no code for", () => {
  const { pixart, vae } = models;
  const t2md: JsonObject = {
    ...pixart.config,
    _class_name: "T2MDTransformer2DModel",
    token_mixers: ["attention", "mamba_h"],
  };
  const t5 = models["t5, gated"];

  it.each<[string, Parameters<typeof componentLayout>[0], JsonObject, RegExp]>([
    [
      "another class",
      "transformer",
      { ...pixart.config, _class_name: "FluxTransformer2DModel" },
      /_class_name is "Flux/,
    ],
    ["no class", "transformer", {}, /_class_name is nothing/],
    ["another activation", "transformer", { ...pixart.config, activation_fn: "geglu" }, /activation_fn is "geglu"/],
    ["another norm", "transformer", { ...pixart.config, norm_type: "layer_norm" }, /norm_type/],
    ["an unknown mixer", "transformer", { ...t2md, token_mixers: ["attention", "hyena"] }, /token_mixers is "hyena"/],
    ["too few mixers", "transformer", { ...t2md, token_mixers: ["attention"] }, /token_mixers is \["attention"\]/],
    ["no mixers", "transformer", { ...t2md, token_mixers: null }, /token_mixers is null/],
    ["groups", "transformer", { ...t2md, mamba_n_groups: 2 }, /mamba_n_groups is 2, expected 1/],
    ["another fusion", "transformer", { ...t2md, mamba_fusion: "gated" }, /mamba_fusion is "gated"/],
    [
      "heads that do not fit",
      "transformer",
      { ...t2md, mamba_head_dim: 7 },
      /mamba_head_dim is 7, expected a divisor of 144/,
    ],
    ["a size that is none", "transformer", { ...pixart.config, num_layers: -1 }, /num_layers is -1/],
    ["a huge size", "transformer", { ...pixart.config, num_layers: 1e12 }, /num_layers is 1000000000000/],
    ["a text model", "text_encoder", { ...t5.config, model_type: "clip" }, /model_type is "clip"/],
    ["another T5", "text_encoder", { ...t5.config, feed_forward_proj: "gated-silu" }, /feed_forward_proj/],
    ["another VAE", "vae", { ...vae.config, _class_name: "AutoencoderDC" }, /_class_name is "AutoencoderDC"/],
    ["other VAE blocks", "vae", { ...vae.config, up_block_types: ["AttnUpDecoderBlock2D"] }, /up_block_types/],
  ])("are refused: %s", (_, component, config, message) => {
    expect(() => componentLayout(component, config)).toThrow(
      expect.objectContaining({ name: "ModelConfigError" }) as Error,
    );
    expect(() => componentLayout(component, config)).toThrow(message);
  });
});
