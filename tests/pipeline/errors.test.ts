// Whatever goes wrong ends in an error with a name and a reason, and what was not lost goes on working.
import { createHash } from "node:crypto";
import { cp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ErrorName } from "../../src/errors.ts";
import { ScanvasError } from "../../src/errors.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { LocalPipeline, type PipelineOptions } from "../../src/pipeline.ts";
import type { Manifest } from "../../src/weights/manifest.ts";
import type { GenerateRequest, Progress } from "../../src/worker/api.ts";
import { convert } from "../../tools/convert/convert.ts";
import { serveDirectory } from "../../tools/serve.ts";
import { dawn, recordingDawn } from "../kernels/gpu.ts";
import { scratch } from "../weights/fixtures.ts";
import { PIXART } from "./golden.ts";

// A first picture compiles every pipeline: 15 s on two idle cores, minutes where other work has them.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const REQUEST: GenerateRequest = { prompt: "a red cat", height: 32, width: 32, numInferenceSteps: 2, seed: 5 };

/** The error that `work` ends in; it must be one of ours. */
async function errorOf(work: Promise<unknown>): Promise<ScanvasError> {
  const error = await work.then(
    () => new Error("nothing was thrown"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof ScanvasError)) throw error;
  return error;
}

let good: string; // a converted model
const load = (url: string, options: PipelineOptions = {}): Promise<LocalPipeline> =>
  LocalPipeline.load(url, { gpu: dawn(), limits: "default", store: false, ...options });

beforeAll(async () => {
  good = await scratch();
  await convert(`${PIXART}/pipeline`, good, { dtype: "f32" });
});

describe("a pipeline that is asked for the impossible", () => {
  let pipeline: LocalPipeline;
  let expected: Uint8ClampedArray;
  beforeAll(async () => {
    const server = await serveDirectory(good);
    pipeline = await load(server.url, { recoveries: 0 });
    await server.close();
    expected = (await pipeline.generate(REQUEST)).images[0].data;
  });
  afterAll(() => pipeline.dispose());
  const expectUsable = async (): Promise<void> => {
    expect((await pipeline.generate(REQUEST)).images[0].data).toEqual(expected);
  };

  it.each<{ what: string; request: Record<string, unknown>; name?: ErrorName; says: RegExp }>([
    { what: "a height between multiples", request: { height: 100 }, says: /height is 100, expected a multiple of 16/ },
    { what: "no width", request: { width: 0 }, says: /width is 0/ },
    { what: "a negative width", request: { width: -32 }, says: /width is -32/ },
    { what: "a height that is a string", request: { height: "32" }, says: /height is "32"/ },
    { what: "a height over 16384", request: { height: 16400 }, says: /height is 16400/ },
    {
      what: "a size beyond this device",
      request: { height: 16384, width: 16384 },
      name: "LimitError",
      says: /choose a smaller/,
    },
    { what: "no steps", request: { numInferenceSteps: 0 }, says: /numInferenceSteps: got 0/ },
    { what: "half a step", request: { numInferenceSteps: 1.5 }, says: /numInferenceSteps: got 1.5/ },
    { what: "more steps than timesteps", request: { numInferenceSteps: 1001 }, says: /numInferenceSteps: got 1001/ },
    { what: "guidance that is not a number", request: { guidanceScale: NaN }, says: /guidanceScale is NaN/ },
    { what: "negative guidance", request: { guidanceScale: -1 }, says: /guidanceScale is -1/ },
    { what: "endless guidance", request: { guidanceScale: Infinity }, says: /guidanceScale is Infinity/ },
    { what: "a negative seed", request: { seed: -1 }, says: /seed is -1/ },
    { what: "a seed that is not exact", request: { seed: 2 ** 53 }, says: /seed is 9007199254740992/ },
    { what: "a BigInt seed", request: { seed: 1n }, says: /seed is 1/ },
    { what: "an unknown sampler", request: { sampler: "plms" }, says: /sampler: got "plms", expected .*ddim/ },
    { what: "a prompt that is a number", request: { prompt: 7 }, says: /prompt is 7, expected a string/ },
    { what: "no prompt", request: { prompt: undefined }, says: /prompt is undefined/ },
    { what: "a negative prompt that is a list", request: { negativePrompt: ["x"] }, says: /negativePrompt is \["x"\]/ },
    { what: "no pictures", request: { numImages: 0 }, says: /numImages is 0/ },
    { what: "an unknown guidance mode", request: { guidanceMode: "both" }, says: /guidanceMode is "both"/ },
  ])("refuses $what, and goes on", async ({ request, name, says }) => {
    const error = await errorOf(pipeline.generate({ ...REQUEST, ...request } as GenerateRequest));
    expect(error.message).toMatch(says);
    expect(error.name).toBe(name ?? "InvalidArgumentError");
    await expectUsable();
  });

  it("refuses a request that is none", async () => {
    for (const request of [undefined, null, "a red cat"]) {
      const error = await errorOf(pipeline.generate(request as unknown as GenerateRequest));
      expect(error.name).toBe("InvalidArgumentError");
    }
  });

  it("takes a prompt of 10,000 characters and says that it was cut, and an empty one", async () => {
    const long = await pipeline.generate({ ...REQUEST, prompt: "a red cat ".repeat(1000), numInferenceSteps: 1 });
    expect(long.truncated).toEqual({ prompt: true, negativePrompt: false });
    const empty = await pipeline.generate({ ...REQUEST, prompt: "", numInferenceSteps: 1 });
    expect(empty.truncated).toEqual({ prompt: false, negativePrompt: false });
    expect(empty.images[0].data).not.toEqual(long.images[0].data);
    await expectUsable();
  });

  const at =
    (stage: Progress["stage"], step: number) =>
    (progress: Progress): boolean =>
      progress.stage === stage && progress.step === step;
  it.each<{ when: string; reached: (progress: Progress) => boolean; delay: number | undefined; last: string }>([
    { when: "before the text is read", reached: at("encode", 0), delay: undefined, last: "encode 0" },
    { when: "before compiling", reached: at("compile", 0), delay: undefined, last: "compile 0" },
    { when: "before the first step", reached: at("denoise", 0), delay: undefined, last: "denoise 0" },
    { when: "in the first step", reached: at("denoise", 0), delay: 2, last: "denoise 0" },
    { when: "after the first step", reached: at("denoise", 1), delay: undefined, last: "denoise 1" },
    { when: "in the second step", reached: at("denoise", 1), delay: 2, last: "denoise 1" },
    { when: "in the decoder", reached: at("decode", 0), delay: 2, last: "decode 0" },
  ])("stops within a step when cancelled $when, and goes on", async ({ reached, delay, last }) => {
    const controller = new AbortController();
    const seen: string[] = [];
    const onProgress = (progress: Progress): void => {
      seen.push(`${progress.stage} ${progress.step}`);
      if (!reached(progress)) return;
      if (delay === undefined) controller.abort();
      else setTimeout(() => controller.abort(), delay);
    };
    const request = { ...REQUEST, seed: 6, numInferenceSteps: 3 };
    const error = await errorOf(pipeline.generate(request, { signal: controller.signal, onProgress }));
    expect(error.name).toBe("AbortError");
    expect(seen.at(-1)).toBe(last);
    await expectUsable();
  });

  it("does nothing at all when the signal was aborted before", async () => {
    const seen: Progress[] = [];
    const options = { signal: AbortSignal.abort(), onProgress: (progress: Progress) => void seen.push(progress) };
    expect((await errorOf(pipeline.generate(REQUEST, options))).name).toBe("AbortError");
    expect(seen).toEqual([]);
    await expectUsable();
  });

  describe.each([
    { what: "NaN", value: NaN },
    { what: "infinity", value: Infinity },
  ])("$what among the weights", ({ value }) => {
    const spoil = async (tensor: Tensor, work: () => Promise<void>): Promise<void> => {
      const { gpu } = pipeline.model;
      const [own] = await gpu.readF32(tensor);
      gpu.write(tensor, Float32Array.of(value));
      try {
        await work();
      } finally {
        gpu.write(tensor, Float32Array.of(own));
      }
    };
    const nothingCached = `the text of ${value}`; // embeddings are remembered by prompt

    it.each([
      {
        part: "denoiser" as const,
        name: "transformer_blocks.0.ff.net.2.weight",
        says: "transformer block 0 (attention)",
      },
      {
        part: "denoiser" as const,
        name: "transformer_blocks.3.ff.net.2.weight",
        says: "transformer block 3 (attention)",
      },
      { part: "denoiser" as const, name: "transformer_blocks.4.attn1.to_out.0.bias", says: "transformer block 4" },
      { part: "image" as const, name: "decoder.conv_in.bias", says: "image decoder" },
      { part: "text" as const, name: "encoder.block.1.layer.0.SelfAttention.o.weight", says: "the text encoder" },
    ])("is traced to $says", async ({ part, name, says }) => {
      const tensor = pipeline.model[part]!.weights.get(name);
      await spoil(tensor, async () => {
        const prompt = part === "text" ? nothingCached : REQUEST.prompt;
        const error = await errorOf(pipeline.generate({ ...REQUEST, prompt }));
        expect(error.message).toContain(`${says}`);
        expect(error.message).toContain("produced NaN or Inf");
        expect(error.name).toBe("NumericalError");
      });
      await expectUsable();
      if (part === "text") await pipeline.generate({ ...REQUEST, prompt: nothingCached }); // nothing bad was remembered
    });
  });

  it("says so when the device is lost in a step and may not be replaced, and ever after", async () => {
    const onProgress = ({ stage, step }: Progress): void => {
      if (stage === "denoise" && step === 1) pipeline.model.gpu.device.destroy();
    };
    expect((await errorOf(pipeline.generate(REQUEST, { onProgress }))).name).toBe("DeviceLostError");
    expect((await errorOf(pipeline.generate(REQUEST))).name).toBe("DeviceLostError");
    expect((await errorOf(pipeline.generate({ ...REQUEST, width: 48, prompt: "new" }))).name).toBe("DeviceLostError");
  });
});

describe("a model that cannot be loaded", () => {
  const SHARD = "transformer/model-00001.safetensors";
  const TENSOR = "transformer_blocks.1.ff.net.2.weight";

  /** Changes the manifest of a copy, as an object. */
  const editManifest = async (folder: string, edit: (manifest: Manifest) => void): Promise<void> => {
    const path = join(folder, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8")) as Manifest;
    edit(manifest);
    await writeFile(path, JSON.stringify(manifest));
  };
  /** Replaces text of equal length in a shard's header and gives the manifest the new hash: a consistent, wrong model. */
  const editShard = async (folder: string, from: string, to: string): Promise<void> => {
    expect(to.length).toBe(from.length);
    const bytes = await readFile(join(folder, SHARD));
    const position = bytes.indexOf(from);
    expect(position).toBeGreaterThan(0);
    bytes.write(to, position, "latin1");
    await writeFile(join(folder, SHARD), bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await editManifest(folder, ({ components }) => (components.transformer!.shards[0].chunks = [sha256]));
  };
  const page = "<!doctype html><title>Not found</title>";

  it.each<{ what: string; name: ErrorName; says: RegExp; spoil: (folder: string) => Promise<void> }>([
    {
      what: "without a manifest",
      name: "NetworkError",
      says: /manifest\.json: HTTP 404/,
      spoil: (folder) => rm(join(folder, "manifest.json")),
    },
    {
      what: "whose manifest is a web page",
      name: "FormatError",
      says: /got a web page/,
      spoil: (folder) => writeFile(join(folder, "manifest.json"), page),
    },
    {
      what: "whose manifest is cut",
      name: "FormatError",
      says: /manifest\.json is not JSON/,
      spoil: (folder) => truncate(join(folder, "manifest.json"), 1000),
    },
    {
      what: "with a shard missing",
      name: "NetworkError",
      says: /model-00001\.safetensors: HTTP 404/,
      spoil: (folder) => rm(join(folder, SHARD)),
    },
    {
      what: "with a shard cut short",
      name: "TruncatedError",
      says: /model-00001\.safetensors ended after 500000 of/,
      spoil: (folder) => truncate(join(folder, SHARD), 500_000),
    },
    {
      what: "with one bit of a shard changed",
      name: "IntegrityError",
      says: /got SHA-256 .*, expected/,
      spoil: async (folder) => {
        const bytes = await readFile(join(folder, SHARD));
        bytes[bytes.length - 1] ^= 1;
        await writeFile(join(folder, SHARD), bytes);
      },
    },
    {
      what: "whose shard is a web page",
      name: "FormatError",
      says: /got a web page/,
      spoil: (folder) => writeFile(join(folder, SHARD), page.padEnd(2_000_000)),
    },
    {
      what: "with a token mixer that we do not have",
      name: "ModelConfigError",
      says: /token_mixers holds "hyena"; supported: attention, mamba_h, mamba_w/,
      spoil: (folder) =>
        editManifest(folder, ({ components: { transformer } }) => {
          transformer!.config._class_name = "T2MDTransformer2DModel";
          transformer!.config.token_mixers = ["attention", "hyena", "attention", "attention", "attention"];
        }),
    },
    {
      what: "of a class that we do not have",
      name: "ModelConfigError",
      says: /className "FluxPipeline", expected/,
      spoil: (folder) => editManifest(folder, (manifest) => Object.assign(manifest, { className: "FluxPipeline" })),
    },
    {
      what: "with a tensor missing",
      name: "TensorError",
      says: /transformer: tensor transformer_blocks\.1\.ff\.net\.2\.weight is missing/,
      spoil: async (folder) => {
        const other = TENSOR.replace("weight", "height");
        await editShard(folder, `"${TENSOR}"`, `"${other}"`);
        await editManifest(folder, ({ components: { transformer } }) => {
          const renamed = Object.entries(transformer!.tensors).map(([name, entry]) => [
            name === TENSOR ? other : name,
            entry,
          ]);
          transformer!.tensors = Object.fromEntries(renamed) as NonNullable<typeof transformer>["tensors"];
        });
      },
    },
    {
      what: "with a tensor of another shape",
      name: "TensorError",
      says: /transformer_blocks\.1\.ff\.net\.2\.weight has shape \[288,72\], the config asks for \[72,288\]/,
      spoil: async (folder) => {
        const head = (shape: string): string => `"${TENSOR}":{"dtype":"F32","shape":[${shape}]`;
        await editShard(folder, head("72,288"), head("288,72"));
        await editManifest(folder, ({ components }) => (components.transformer!.tensors[TENSOR].shape = [288, 72]));
      },
    },
    {
      what: "whose manifest and shard disagree",
      name: "FormatError",
      says: /manifest\.json disagree: tensor "transformer_blocks\.[01]\.attn1\.to_out\.0\.bias"/,
      spoil: (folder) =>
        editManifest(folder, ({ components: { transformer } }) => {
          const [a, b] = [0, 1].map(
            (block) => transformer!.tensors[`transformer_blocks.${block}.attn1.to_out.0.bias`].parts[0],
          );
          [a.offset, b.offset] = [b.offset, a.offset];
        }),
    },
  ])("$what", async ({ name, says, spoil }) => {
    const folder = await scratch();
    await cp(good, folder, { recursive: true });
    await spoil(folder);
    const server = await serveDirectory(folder);
    const { gpu, devices } = recordingDawn();
    try {
      const error = await errorOf(load(server.url, { gpu }));
      expect(error.message).toMatch(says);
      expect(error.name).toBe(name);
      for (const device of devices) expect((await device.lost).reason).toBe("destroyed");
    } finally {
      await server.close();
    }
  });

  it("when there is no WebGPU, or no adapter", async () => {
    const server = await serveDirectory(good);
    try {
      expect(globalThis.navigator?.gpu).toBeUndefined(); // Node has none of its own
      const none = await errorOf(LocalPipeline.load(server.url, { store: false }));
      expect([none.name, none.message]).toEqual(["WebGPUUnavailableError", expect.stringMatching(/has no WebGPU/)]);
      const gpu = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
      const adapter = await errorOf(load(server.url, { gpu }));
      expect([adapter.name, adapter.message]).toEqual(["WebGPUUnavailableError", expect.stringMatching(/no adapter/)]);
    } finally {
      await server.close();
    }
  });

  it("when it is cancelled: at once, before the manifest came, and amid the weights", async () => {
    const silent = createServer(() => undefined); // takes the request and never answers
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const server = await serveDirectory(good);
    try {
      expect((await errorOf(load(server.url, { signal: AbortSignal.abort() }))).name).toBe("AbortError");
      const { port } = silent.address() as AddressInfo;
      const signal = AbortSignal.timeout(100);
      expect((await errorOf(load(`http://127.0.0.1:${port}/`, { signal }))).name).toBe("AbortError");
      const controller = new AbortController();
      const { gpu, devices } = recordingDawn();
      const onProgress = (): void => controller.abort();
      expect((await errorOf(load(server.url, { gpu, signal: controller.signal, onProgress }))).name).toBe("AbortError");
      expect(devices.length).toBe(1);
      expect((await devices[0].lost).reason).toBe("destroyed");
    } finally {
      silent.closeAllConnections();
      silent.close();
      await server.close();
    }
  });
});
