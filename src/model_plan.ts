/**
 * What a model will need, before any of it is downloaded: the recordings that would run are made without a device and planned by the
 * planner that allocates, so the bytes are those of the real run.
 */
import { recordResident } from "./encode/resident.ts";
import { recordStreamed } from "./encode/streamed.ts";
import { ScanvasError } from "./errors.ts";
import { DEFAULT_PROFILE, type DeviceProfile } from "./gpu/recording.ts";
import { makeTensor, type Tensor, type TensorType } from "./gpu/tensor.ts";
import { parseDenoiserConfig } from "./model/config.ts";
import { parseImageConfig } from "./model/image_config.ts";
import { parseTextConfig } from "./model/text_config.ts";
import { Weights } from "./model/weights.ts";
import { Session, VAE_FACTOR, type SessionModel } from "./session.ts";
import {
  COMPONENTS,
  downloadBytes,
  type ComponentDtype,
  type ComponentName,
  type Manifest,
  type TensorEntry,
} from "./weights/manifest.ts";
import { staysPrecise } from "./weights/precision.ts";
import type { Plan, PlanRequest } from "./worker/api.ts";

/** GPU memory that is assumed when nobody says how much there is: WebGPU does not. */
export const ASSUMED_MEMORY = 4 * 2 ** 30;

/** Text tokens the denoiser of a manifest reads: 300 for Sigma, 120 for Alpha and T2MD. */
export const textTokensOf = ({ className }: Manifest): number => (className === "PixArtSigmaPipeline" ? 300 : 120);

/** Every tensor of a component as the GPU will hold it, without memory. `dtype`: as if the component had been converted to it. */
export function weightTensors(manifest: Manifest, name: ComponentName, dtype?: ComponentDtype): Map<string, Tensor> {
  const { tensors, config } = manifest.components[name]!;
  const blocks = name === "transformer" ? parseDenoiserConfig(config).blocks : 0;
  const typeOf = (key: string, entry: TensorEntry): TensorType => {
    const own = entry.dtype.toLowerCase() as TensorType;
    if (!dtype || own === "f32") return own; // sensitive tensors are f32 in every model
    const quantised = dtype === "q8" || dtype === "q4";
    if (quantised && (entry.shape.length !== 2 || entry.shape[1]! % 32 !== 0)) return "f16";
    return dtype === "q4" && staysPrecise(key, blocks) ? "q8" : dtype;
  };
  return new Map(
    Object.entries(tensors).map(([key, entry]) => [key, makeTensor(key, entry.shape, typeOf(key, entry))]),
  );
}

/** @throws InvalidArgumentError, ModelConfigError or TensorError as `load` and `generate` would; a size that does not fit is a verdict */
export function plan(manifest: Manifest, request: PlanRequest = {}): Plan {
  const { reason, ...planned } = planOnce(manifest, request);
  return reason === undefined ? planned : { ...planned, advice: `${reason}; ${wayOut(manifest, request)}` };
}

/** `reason`: why it does not fit. */
function planOnce(manifest: Manifest, request: PlanRequest): Omit<Plan, "advice"> & { reason: string | undefined } {
  const limits = { ...DEFAULT_PROFILE.limits, ...request.limits };
  const profile: DeviceProfile = { ...DEFAULT_PROFILE, limits, f16: request.arithmetic === "f16" };
  const { components } = manifest;
  const wanted = COMPONENTS.filter(
    (name) => components[name] && !(name === "text_encoder" && request.textEncoder === "none"),
  );
  const tensors = new Map(wanted.map((name) => [name, weightTensors(manifest, name, request.dtype)]));
  const bytesOf = (name: ComponentName): number =>
    [...(tensors.get(name)?.values() ?? [])].reduce((sum, tensor) => sum + tensor.bytes, 0);
  const weights = Object.fromEntries(wanted.map((name) => [name, bytesOf(name)]));
  const tokens = request.textTokens ?? textTokensOf(manifest);
  const memory = request.memoryBytes ?? ASSUMED_MEMORY;
  const download = downloadBytes(manifest, wanted);

  const text = components.text_encoder && tensors.get("text_encoder");
  const textConfig = text && parseTextConfig(components.text_encoder!.config);
  const others = bytesOf("transformer") + bytesOf("vae");
  const session = components.transformer && sessionBytes(manifest, tensors, profile, request, tokens);
  const failure = typeof session === "string" ? session : undefined;
  const denoise = others + (typeof session === "number" ? session : 0);

  /** Bytes by stage with the text encoder held one way or the other. */
  const stagesOf = (kind: "resident" | "streamed" | "none"): Plan["stages"] => {
    if (!text || kind === "none") return { encode: others, generate: denoise };
    if (kind === "streamed")
      return { encode: others + recordStreamed(textConfig!, text, profile, tokens).bytes, generate: denoise };
    const held = bytesOf("text_encoder");
    const temporary = recordResident(textConfig!, new Weights("text_encoder", text), profile, tokens).bytes;
    // A further prompt is encoded while the buffers of the last picture are still there.
    return { encode: denoise + held + temporary, generate: denoise + held };
  };
  const peakOf = ({ encode, generate }: Plan["stages"]): number => Math.max(encode, generate);
  const asked = request.textEncoder ?? "auto";
  const kinds = !text ? (["none"] as const) : asked === "auto" ? (["resident", "streamed"] as const) : [asked];
  const ways = kinds.map((kind) => ({ kind, stages: stagesOf(kind) }));
  const { kind, stages } = ways.find((way) => peakOf(way.stages) <= memory) ?? ways.at(-1)!;
  const peak = peakOf(stages);
  const reason = failure ?? (peak > memory ? `it needs ${peak} bytes of GPU memory, there are ${memory}` : undefined);
  const verdict = reason !== undefined ? "does not fit" : kind === "streamed" ? "fits streamed" : "fits";
  return { download, weights, textEncoder: kind, stages, peak, memory, verdict, reason };
}

/** Bytes that a picture adds to the weights, or why its size cannot be recorded within the limits. */
function sessionBytes(
  manifest: Manifest,
  tensors: ReadonlyMap<ComponentName, Map<string, Tensor>>,
  profile: DeviceProfile,
  request: PlanRequest,
  tokens: number,
): number | string {
  const { transformer, vae } = manifest.components;
  const part = (name: ComponentName) => new Weights(name, tensors.get(name)!);
  const config = parseDenoiserConfig(transformer!.config);
  const model: SessionModel = {
    denoiser: { config, weights: part("transformer") },
    image: vae && { config: parseImageConfig(vae.config), weights: part("vae") },
  };
  const native = config.sampleSize * VAE_FACTOR;
  const { height = native, width = native } = request;
  const multiple = VAE_FACTOR * config.patchSize;
  if ([height, width].some((pixels) => !Number.isInteger(pixels) || pixels < multiple || pixels % multiple !== 0)) {
    throw new ScanvasError(
      "InvalidArgumentError",
      `plan: ${width} x ${height} are not multiples of ${multiple} pixels`,
    );
  }
  const guided = (request.guidanceScale ?? manifest.defaults?.guidanceScale ?? 4.5) > 1;
  try {
    return new Session(model, profile, {
      height,
      width,
      halves: guided ? 2 : 1,
      guidanceMode: request.guidanceMode ?? "auto",
      textTokens: Math.ceil(tokens / 16) * 16,
    }).bytes;
  } catch (error) {
    if (error instanceof ScanvasError && error.name === "LimitError") return error.message;
    throw error;
  }
}

/** What would fit instead: the same picture at half its sides, until one does. */
function wayOut(manifest: Manifest, request: PlanRequest): string {
  const config = manifest.components.transformer && parseDenoiserConfig(manifest.components.transformer.config);
  const multiple = config ? VAE_FACTOR * config.patchSize : Infinity;
  const native = config ? config.sampleSize * VAE_FACTOR : 0;
  let { height = native, width = native } = request;
  for (;;) {
    [height, width] = [height, width].map((pixels) => Math.floor(pixels / 2 / multiple) * multiple) as [number, number];
    if (!(height >= multiple && width >= multiple)) return "no size fits; convert the model with --dtype q8 or q4";
    if (planOnce(manifest, { ...request, height, width }).reason === undefined) return `${width} x ${height} fits`;
  }
}
