import { ScanvasError, throwIfAborted } from "./errors.ts";
import { Gpu, type GpuOptions } from "./gpu/device.ts";
import { Recording } from "./gpu/recording.ts";
import { makeTensor, type Tensor, type TensorType } from "./gpu/tensor.ts";
import { chooseGemm } from "./kernels/gemm_trial.ts";
import { parseDenoiserConfig, type DenoiserConfig } from "./model/config.ts";
import { parseImageConfig, type ImageConfig } from "./model/image_config.ts";
import { parseTextConfig, type TextConfig } from "./model/text_config.ts";
import { recordTextEncoder } from "./model/text_encoder.ts";
import { Weights } from "./model/weights.ts";
import { Session, VAE_FACTOR } from "./session.ts";
import { loadTokenizer, type Tokenizer } from "./text/tokenizer.ts";
import { streamWeights } from "./weights/load.ts";
import { COMPONENTS, downloadBytes, type ComponentName, type FileEntry, type Manifest } from "./weights/manifest.ts";
import { commitModel, fetchManifest } from "./weights/models.ts";
import { fetchFile, type ObtainOptions } from "./weights/obtain.ts";
import { Ring } from "./weights/ring.ts";
import { openStore, type WeightStore } from "./weights/store.ts";
import type { Progress } from "./worker/api.ts";

/** Everything of one model on one device. A part that the directory does not hold is undefined. */
export interface Model {
  readonly gpu: Gpu;
  readonly manifest: Manifest;
  readonly denoiser: { readonly config: DenoiserConfig; readonly weights: Weights };
  readonly text: { readonly config: TextConfig; readonly weights: Weights; readonly tokenizer: Tokenizer } | undefined;
  readonly image: { readonly config: ImageConfig; readonly weights: Weights } | undefined;
}

export interface LoadOptions extends GpuOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** SHA-256 of the manifest, `sha256-<base64>` or hex. */
  integrity?: string;
  /** Where verified weights are kept; the origin private file system unless given, nothing with `false`. */
  store?: WeightStore | false;
}

/**
 * Configs first, so that a model this engine cannot run is refused before its weights are fetched; then memory for all weights, so
 * that a device without room says so before the download; then the weights, verified piece by piece, straight into that memory.
 */
export async function loadModel(url: string, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress, integrity } = options;
  const store = options.store === false ? undefined : (options.store ?? (await openStore()));
  const source = { ...(signal && { signal }), ...(store && { store }) };
  const manifest = await fetchManifest(url, { ...source, ...(integrity !== undefined && { integrity }) });
  const configs = {
    denoiser: parseDenoiserConfig(manifest.components.transformer!.config),
    text: manifest.components.text_encoder && parseTextConfig(manifest.components.text_encoder.config),
    image: manifest.components.vae && parseImageConfig(manifest.components.vae.config),
  };
  const tokenizer = configs.text && (await fetchTokenizer(url, manifest, source));
  const gpu = await Gpu.request(options);
  try {
    throwIfAborted(signal);
    gpu.profile = { ...gpu.profile, ...(await chooseGemm(gpu)) };
    const parts = COMPONENTS.filter((name) => manifest.components[name]);
    const tensors = new Map(parts.map((name) => [name, tensorsOf(manifest, name)]));
    await gpu.arena.allocate([...tensors.values()].flatMap((part) => [...part.values()]));
    const weights = (name: ComponentName): Weights => new Weights(name, tensors.get(name)!);
    const model: Model = {
      gpu,
      manifest,
      denoiser: { config: configs.denoiser, weights: weights("transformer") },
      text: configs.text && { config: configs.text, weights: weights("text_encoder"), tokenizer: tokenizer! },
      image: configs.image && { config: configs.image, weights: weights("vae") },
    };
    checkTensors(model);

    const ring = new Ring();
    const total = downloadBytes(manifest);
    let before = 0;
    for (const name of parts) {
      const part = tensors.get(name)!;
      await streamWeights(url, manifest, name, sinkInto(gpu, part), {
        ...source,
        ring,
        onProgress: ({ loaded }) =>
          onProgress?.({ stage: "download", step: before + loaded, total, bytes: before + loaded }),
      });
      before += downloadBytes(manifest, [name]);
    }
    if (store) await commitModel(url, store);
    return model;
  } catch (error) {
    gpu.dispose();
    throw error;
  }
}

/** Records one pass of everything at the smallest size: a weight that is missing or misshaped is refused before the download. */
function checkTensors(model: Model): void {
  const size = VAE_FACTOR * model.denoiser.config.patchSize;
  new Session(model, model.gpu.profile, {
    height: size,
    width: size,
    halves: 1,
    guidanceMode: "batch",
    textTokens: 16,
  });
  if (!model.text) return;
  const { config, weights } = model.text;
  const ids = makeTensor("ids", [1], "u32");
  const recording = new Recording("check", model.gpu.profile);
  recordTextEncoder(
    recording,
    config,
    weights,
    ids,
    makeTensor("buckets", [1], "u32"),
    makeTensor("embeds", [1, config.width]),
  );
}

function tensorsOf(manifest: Manifest, name: ComponentName): Map<string, Tensor> {
  const entries = Object.entries(manifest.components[name]!.tensors);
  return new Map(
    entries.map(([key, { shape, dtype }]) => [key, makeTensor(key, shape, dtype.toLowerCase() as TensorType)]),
  );
}

function sinkInto(gpu: Gpu, tensors: ReadonlyMap<string, Tensor>): Parameters<typeof streamWeights>[3] {
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
