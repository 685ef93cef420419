import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { planMemory } from "../../src/gpu/plan.ts";
import { Program } from "../../src/gpu/program.ts";
import { Recording } from "../../src/gpu/recording.ts";
import { makeTensor, type Tensor } from "../../src/gpu/tensor.ts";
import { relativeBuckets } from "../../src/model/embeddings.ts";
import { parseTextConfig } from "../../src/model/text_config.ts";
import { recordTextEncoder } from "../../src/model/text_encoder.ts";
import { Weights } from "../../src/model/weights.ts";
import { decodeFloats, toF16 } from "../../src/numbers/half.ts";
import type { JsonObject } from "../../src/weights/manifest.ts";
import { readSafetensors } from "../../src/weights/safetensors.ts";
import { layoutFor } from "../../tools/convert/check.ts";
import { produce } from "../../tools/convert/produce.ts";
import { openSource } from "../../tools/convert/open.ts";
import { testGpu } from "../kernels/gpu.ts";

const golden = (path: string): string => fileURLToPath(new URL(`../golden/${path}`, import.meta.url));
const readConfig = (path: string): JsonObject =>
  JSON.parse(readFileSync(golden(`${path}/config.json`), "utf8")) as JsonObject;

/** The tensors of a case file as plain numbers. */
function readCase(path: string): (name: string) => number[] {
  const file = new Uint8Array(readFileSync(golden(path)));
  const { tensors } = readSafetensors(file);
  return (name) => {
    const info = tensors.get(name)!;
    const bytes = file.slice(info.begin, info.end);
    if (info.dtype === "I64") return Array.from(new BigInt64Array(bytes.buffer), Number);
    if (info.dtype === "I32") return Array.from(new Int32Array(bytes.buffer));
    const values = new Float32Array(info.shape.reduce((n, d) => n * d, 1));
    decodeFloats(bytes, info.dtype, values);
    return Array.from(values);
  };
}

/** What the converter would write for a text encoder, as tensors with memory. */
async function loadWeights(
  gpu: Gpu,
  directory: string,
  config: JsonObject,
  type: "f32" | "f16",
): Promise<Map<string, Tensor>> {
  const source = await openSource(golden(directory));
  const tensors = new Map<string, Tensor>();
  try {
    for (const output of layoutFor("text_encoder", config, source).outputs) {
      const tensor = makeTensor(output.name, output.shape, output.dtype === "weight" ? type : "f32");
      await gpu.arena.allocate([tensor]);
      tensors.set(output.name, tensor);
      let offset = 0;
      for await (const block of produce(output, source)) {
        const data = tensor.type === "f16" ? Uint16Array.from(block, toF16) : Float32Array.from(block);
        gpu.write(tensor, data, offset);
        offset += data.byteLength;
      }
    }
    return tensors;
  } finally {
    await source.close();
  }
}

async function encode(gpu: Gpu, directory: string, ids: number[], type: "f32" | "f16" = "f32"): Promise<Float32Array> {
  const json = readConfig(directory);
  const config = parseTextConfig(json);
  const n = ids.length;
  const weights = await loadWeights(gpu, directory, json, type);
  const inputs = [
    makeTensor("ids", [n], "u32"),
    makeTensor("buckets", [2 * n - 1], "u32"),
    makeTensor("embeds", [n, config.width]),
  ];
  const [idTensor, buckets, embeds] = inputs as [Tensor, Tensor, Tensor];
  await gpu.arena.allocate(inputs);
  gpu.write(idTensor, Uint32Array.from(ids));
  gpu.write(buckets, relativeBuckets(n, config));
  const recording = new Recording("text encoder", gpu.profile);
  recordTextEncoder(recording, config, new Weights("text_encoder", weights), idTensor, buckets, embeds);
  const free = await gpu.arena.workspace(planMemory([recording]));
  const program = await Program.build(gpu, recording);
  gpu.device.pushErrorScope("validation");
  await program.run();
  expect((await gpu.device.popErrorScope())?.message).toBeUndefined();
  const result = await gpu.readF32(embeds);
  program.dispose();
  free();
  gpu.arena.release([...weights.values(), ...inputs]);
  return result;
}

function relativeError(got: Float32Array, want: number[]): number {
  expect(got.length).toBe(want.length);
  const square = (sum: number, value: number): number => sum + value * value;
  return Math.sqrt(want.map((value, i) => got[i]! - value).reduce(square, 0) / want.reduce(square, 0));
}

describe("text encoder against transformers", () => {
  let gpu: Gpu;
  beforeAll(async () => {
    gpu = await testGpu();
  });
  afterAll(() => gpu.dispose());

  // f32 through 2 or 3 blocks; 1e-4 is what shared/reference asks of one forward pass, and rounding stays far below it.
  const tolerance = 1e-4;
  const pixart = readCase("pixart/case.safetensors");
  for (const i of [0, 1]) {
    it(`encodes prompt ${i} of the PixArt reference, real tokens only`, async () => {
      const kept = pixart(`${i}.prompt_mask`).filter((value) => value === 1).length;
      const want = pixart(`${i}.prompt_embeds`).slice(0, kept * 48);
      const got = await encode(gpu, "pixart/pipeline/text_encoder", pixart(`${i}.ids`).slice(0, kept));
      expect(relativeError(got, want)).toBeLessThan(tolerance);
    });
  }

  it("encodes with f16 weights", async () => {
    const kept = pixart("0.prompt_mask").filter((value) => value === 1).length;
    const got = await encode(gpu, "pixart/pipeline/text_encoder", pixart("0.ids").slice(0, kept), "f16");
    const error = relativeError(got, pixart("0.prompt_embeds").slice(0, kept * 48));
    expect(error).toBeLessThan(1e-2); // f16 has 11 bits: 5e-4 a weight, averaged by the sums
    expect(error).toBeGreaterThan(1e-6); // the weights really were f16
  });

  for (const [name, width] of [
    ["t5-relu", 32],
    ["t5-odd", 36],
  ] as const) {
    it(`encodes ${name} with 40 tokens, so that distant buckets matter`, async () => {
      const values = readCase(`${name}/case.safetensors`);
      const got = await encode(gpu, `${name}/text_encoder`, values("ids").slice(0, 40));
      expect(relativeError(got, values("embeds").slice(0, 40 * width))).toBeLessThan(tolerance);
    });

    it(`has transformers' buckets of ${name} for distances up to 599`, () => {
      const buckets = relativeBuckets(600, parseTextConfig(readConfig(`${name}/text_encoder`)));
      expect(Array.from(buckets)).toEqual(readCase(`${name}/case.safetensors`)("buckets"));
    });
  }

  it("encodes a single token", async () => {
    const got = await encode(gpu, "t5-relu/text_encoder", [1]);
    expect(got.length).toBe(32);
    expect(got.every((value) => Number.isFinite(value)) && got.some((value) => value !== 0)).toBe(true);
  });
});

describe("parseTextConfig", () => {
  const config = readConfig("pixart/pipeline/text_encoder");
  it("reads a config as transformers saves it", () => {
    expect(parseTextConfig(config)).toEqual({
      width: 48,
      heads: 4,
      headDim: 12,
      hidden: 96,
      blocks: 3,
      vocabulary: 39,
      buckets: 32,
      maxDistance: 128,
      eps: 1e-6,
      feedForward: "gated-gelu",
    });
  });
  for (const change of [
    { model_type: "umt5" },
    { feed_forward_proj: "gated-silu" },
    { dense_act_fn: "gelu" },
    { is_gated_act: false },
    { d_model: 46 },
    { d_ff: "96" },
    { num_heads: 0 },
    { d_kv: 1024 },
    { relative_attention_num_buckets: 30 },
    { relative_attention_max_distance: 8 },
    { layer_norm_epsilon: 0 },
  ]) {
    it(`refuses ${JSON.stringify(change)} by its key`, () => {
      const parse = (): unknown => parseTextConfig({ ...config, ...change });
      expect(parse).toThrow(expect.objectContaining({ name: "ModelConfigError" }));
      expect(parse).toThrow(Object.keys(change)[0]!);
    });
  }
});
