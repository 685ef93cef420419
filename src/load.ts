import { openEmbeddings } from "./weights/embeddings.ts";
import { readPromptPack, type PromptPack } from "./encode/prompt_pack.ts";
import { Prompts } from "./encode/prompts.ts";
import { residentText } from "./encode/resident.ts";
import { streamedText, type ReadTensors } from "./encode/streamed.ts";
import type { TextModel } from "./encode/text_model.ts";
import { ScanvasError, throwIfAborted } from "./errors.ts";
import { Gpu, type GpuOptions } from "./gpu/device.ts";
import { Recording } from "./gpu/recording.ts";
import { makeTensor, type Tensor } from "./gpu/tensor.ts";
import { chooseVariants } from "./kernels/trial.ts";
import { parseDenoiserConfig } from "./model/config.ts";
import { parseImageConfig } from "./model/image_config.ts";
import { parseTextConfig, type TextConfig } from "./model/text_config.ts";
import { recordTextEncoder } from "./model/text_encoder.ts";
import { Weights } from "./model/weights.ts";
import { plan, textTokensOf, weightTensors } from "./model_plan.ts";
import { Session, VAE_FACTOR, type SessionModel } from "./session.ts";
import { loadTokenizer, type Tokenizer } from "./text/tokenizer.ts";
import { sha256Hex } from "./weights/fetch.ts";
import { prefetchWeights, streamWeights, type WeightSink } from "./weights/load.ts";
import { COMPONENTS, downloadBytes, type ComponentName, type FileEntry, type Manifest } from "./weights/manifest.ts";
import { fetchBlob, openFiles } from "./weights/file.ts";
import { commitModel, fetchManifest } from "./weights/models.ts";
import { fetchFile, type ObtainOptions } from "./weights/obtain.ts";
import { Ring } from "./weights/ring.ts";
import { openStore, type WeightStore } from "./weights/store.ts";
import type { LoadRequest, OnnxTextEncoder, Progress } from "./worker/api.ts";

/** Everything of one model on one device. A part that was not there, or not asked for, is undefined. */
export interface Model {
  readonly gpu: Gpu;
  readonly manifest: Manifest;
  /** Prompt -> embeddings, from whatever there is: the text encoder, a prompt pack. */
  readonly prompts: Prompts | undefined;
  /** The text encoder's tensors; without memory when it is streamed. */
  readonly text: { readonly config: TextConfig; readonly weights: Weights } | undefined;
  readonly denoiser: SessionModel["denoiser"] | undefined;
  readonly image: SessionModel["image"];
  /** Gives the memory of a resident text encoder back: from now on it is streamed. False when there is none to be had. */
  streamText(): boolean;
}

export interface LoadOptions
  extends GpuOptions, Pick<LoadRequest, "textEncoder" | "memoryBytes" | "promptPack" | "components"> {
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress) => void) | undefined;
  /** SHA-256 of the manifest, `sha256-<base64>` or hex. */
  integrity?: string;
  /** What `url` says, when it is known: not asked for again. */
  manifest?: Manifest;
  /** Where verified weights are kept; the origin private file system unless given, nothing with `false`. */
  store?: WeightStore | false;
}

/**
 * Configs first, so that a model this engine cannot run is refused before its weights are fetched; then memory for all weights, so
 * that a device without room says so before the download; then the weights, verified chunk by chunk, straight into that memory.
 */
export async function loadModel(url: string, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress, integrity } = options;
  const store = options.store === false ? undefined : (options.store ?? (await openStore()));
  const source = { ...(signal && { signal }), ...(store && { store }) };
  const manifest =
    options.manifest ?? (await fetchManifest(url, { ...source, ...(integrity !== undefined && { integrity }) }));
  const { components } = manifest;
  const parts = COMPONENTS.filter((name) => components[name] && (options.components?.includes(name) ?? true));
  const has = (name: ComponentName): boolean => parts.includes(name);
  const onnx = typeof options.textEncoder === "object" ? options.textEncoder : undefined;
  const textId = await identityOf(manifest, onnx);
  const pack = options.promptPack === undefined ? undefined : await fetchPack(options.promptPack, textId, source);
  if ((pack || onnx) && has("text_encoder")) parts.splice(parts.indexOf("text_encoder"), 1);
  const configs = {
    denoiser: has("transformer") ? parseDenoiserConfig(components.transformer!.config) : undefined,
    text: has("text_encoder") ? parseTextConfig(components.text_encoder!.config) : undefined,
    image: has("vae") ? parseImageConfig(components.vae!.config) : undefined,
  };
  const tokenizer = configs.text || onnx ? await fetchTokenizer(url, manifest, source) : undefined;
  const gpu = await Gpu.request(options);
  try {
    throwIfAborted(signal);
    await chooseVariants(gpu);
    let streamed = configs.text !== undefined && (await holdsText(manifest, gpu, options)) === "streamed";
    const tensors = new Map(parts.map((name) => [name, weightTensors(manifest, name)]));
    const isResident = (name: ComponentName): boolean => !(streamed && name === "text_encoder");
    const allocate = (): Promise<void> =>
      gpu.arena.allocate(parts.filter(isResident).flatMap((name) => [...tensors.get(name)!.values()]));
    await allocate().catch((error: unknown) => {
      const mayStream = configs.text && !streamed && (options.textEncoder ?? "auto") === "auto";
      if (!mayStream || !(error instanceof ScanvasError) || error.name !== "OutOfMemoryError") throw error;
      streamed = true;
      return allocate();
    });
    const weights = (name: ComponentName): Weights => new Weights(name, tensors.get(name)!);
    const denoiser = configs.denoiser && { config: configs.denoiser, weights: weights("transformer") };
    const text = configs.text && { config: configs.text, weights: weights("text_encoder") };
    const image = configs.image && { config: configs.image, weights: weights("vae") };
    if (denoiser) checkSession({ denoiser, image }, gpu);
    if (text) checkText(text.config, text.weights, gpu);

    const ring = new Ring();
    const total = downloadBytes(manifest, parts);
    let before = 0;
    for (const name of parts) {
      const done = before;
      const onPart = {
        onProgress: ({ loaded }: { loaded: number }) =>
          onProgress?.({ stage: "download", step: done + loaded, total, bytes: done + loaded }),
      };
      if (isResident(name)) {
        await streamWeights(url, manifest, name, sinkInto(gpu, tensors.get(name)!), { ...source, ring, ...onPart });
      } else if (store) await prefetchWeights(url, manifest, name, { ...source, store, ...onPart });
      before += downloadBytes(manifest, [name]);
    }
    if (store) await commitModel(url, store);

    const verified = new Set<string>();
    const read: ReadTensors = (names, sink, abort) =>
      streamWeights(
        url,
        manifest,
        "text_encoder",
        { tensor: (name, _entry, bytes, begin) => sink(name, bytes, begin) },
        { ...(store && { store }), ...(abort && { signal: abort }), ring, verified, tensors: names },
      );
    const inBlocks = (): TextModel => streamedText(gpu, text!.config, tensors.get("text_encoder")!, read);
    const textModel = async (): Promise<TextModel | undefined> => {
      if (onnx) return onnxText(onnx, configs.denoiser?.captionChannels, source);
      if (!text) return undefined;
      return streamed ? inBlocks() : residentText(gpu, text.config, text.weights);
    };
    const encoder = await textModel();
    const prompts =
      pack || encoder
        ? new Prompts({
            maxTokens: textTokensOf(manifest),
            textId,
            encoder: encoder && { tokenizer: tokenizer!, model: encoder },
            pack,
            store: encoder?.kind !== "resident" && store ? await openEmbeddings() : undefined,
          })
        : undefined;
    const streamText = (): boolean => {
      if (prompts?.kind !== "resident") return false;
      gpu.arena.release([...tensors.get("text_encoder")!.values()]);
      prompts.use(inBlocks());
      return true;
    };
    return { gpu, manifest, prompts, text, denoiser, image, streamText };
  } catch (error) {
    return await gpu.blame(error).finally(() => gpu.dispose());
  }
}

/** How the text encoder is held: as asked, or as the plan for a picture of the native size says. */
async function holdsText(manifest: Manifest, gpu: Gpu, options: LoadOptions): Promise<"resident" | "streamed"> {
  const asked = options.textEncoder ?? "auto";
  if (asked === "resident" || asked === "streamed") return asked;
  const { limits, f16 } = gpu.profile;
  const { memoryBytes } = options;
  const { textEncoder } = plan(manifest, {
    limits,
    arithmetic: f16 ? "f16" : "f32",
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
  });
  return textEncoder === "streamed" ? "streamed" : "resident";
}

/** What embeddings depend on: every chunk of the text encoder, its tokenizer, the length at which prompts are cut. */
async function identityOf(manifest: Manifest, onnx: OnnxTextEncoder | undefined): Promise<string> {
  const chunks = manifest.components.text_encoder?.shards.flatMap((shard) => shard.chunks) ?? [];
  const encoder = onnx ? [onnx.sha256 ?? onnx.onnx, onnx.externalDataSha256 ?? onnx.externalData] : chunks;
  const facts = [encoder, manifest.tokenizer?.sha256, textTokensOf(manifest)];
  return sha256Hex(new TextEncoder().encode(JSON.stringify(facts)));
}

/** Imported only here: pages that use no ONNX carry none of it. ModelConfigError when it does not fit the denoiser. */
async function onnxText(
  { wasmPaths, provider, ...files }: OnnxTextEncoder,
  captionChannels: number | undefined,
  { signal, store }: ObtainOptions,
): Promise<TextModel> {
  const { createOnnxEncoder } = await import("./encode/onnx.ts");
  const directory = store && (await openFiles());
  const encoder = await createOnnxEncoder(files, { ...(signal && { signal }), directory, wasmPaths, provider });
  if (captionChannels === undefined || encoder.width === captionChannels) return encoder;
  await encoder.dispose();
  throw new ScanvasError(
    "ModelConfigError",
    `${files.onnx} gives embeddings of ${encoder.width} channels, the transformer expects ${captionChannels}`,
  );
}

async function fetchPack(url: string, textId: string, { signal, store }: ObtainOptions): Promise<PromptPack> {
  const directory = store && (await openFiles());
  const blob = await fetchBlob({ url }, { ...(signal && { signal }), directory });
  const pack = readPromptPack(new Uint8Array(await blob.arrayBuffer()), url);
  if (pack.textId === textId) return pack;
  throw new ScanvasError(
    "ModelConfigError",
    `${url} was made by another text encoder than this model's; make the prompt pack again with scanvas embed`,
  );
}

/** Records one pass of everything at the smallest size: a weight that is missing or misshaped is refused before the download. */
function checkSession(model: SessionModel, gpu: Gpu): void {
  const size = VAE_FACTOR * model.denoiser.config.patchSize;
  new Session(model, gpu.profile, { height: size, width: size, halves: 1, guidanceMode: "batch", textTokens: 16 });
}

function checkText(config: TextConfig, weights: Weights, gpu: Gpu): void {
  const ids = makeTensor("ids", [1], "u32");
  const recording = new Recording("check", gpu.profile);
  const buckets = makeTensor("buckets", [1], "u32");
  recordTextEncoder(recording, config, weights, ids, buckets, makeTensor("embeds", [1, config.width]));
}

function sinkInto(gpu: Gpu, tensors: ReadonlyMap<string, Tensor>): WeightSink {
  return {
    tensor(name, _entry, bytes, begin) {
      gpu.checkLost();
      gpu.write(tensors.get(name)!, bytes, begin); // the manifest's check: offsets and sizes are multiples of 4
    },
  };
}

async function fetchTokenizer(url: string, manifest: Manifest, source: ObtainOptions): Promise<Tokenizer> {
  if (!manifest.tokenizer) {
    throw new ScanvasError(
      "ModelConfigError",
      `the model at ${url} has a text encoder but no tokenizer; convert it again`,
    );
  }
  const json = async (entry: FileEntry | undefined): Promise<unknown> => {
    if (!entry) return undefined;
    const text = new TextDecoder().decode(await fetchFile(url, entry, source));
    try {
      return JSON.parse(text) as unknown;
    } catch (cause) {
      throw new ScanvasError("FormatError", `${entry.file} is not JSON; convert the model again`, { cause });
    }
  };
  return loadTokenizer(await json(manifest.tokenizer), (await json(manifest.tokenizerConfig)) ?? {});
}
