import { ScanvasError } from "../errors.ts";

/** `text_encoder/config.json` of a transformers T5EncoderModel, checked and with transformers' defaults filled in. */
export interface TextConfig {
  readonly width: number; // d_model
  readonly heads: number;
  readonly headDim: number; // d_kv; heads * headDim need not be the width
  readonly hidden: number; // d_ff
  readonly blocks: number;
  readonly vocabulary: number;
  readonly buckets: number;
  readonly maxDistance: number;
  readonly eps: number;
  /** Gated GELU (T5 v1.1) or plain ReLU (T5 v1.0). */
  readonly feedForward: "gated-gelu" | "relu";
}

const refuse = (message: string): never => {
  throw new ScanvasError("ModelConfigError", `text_encoder/config.json: ${message}`);
};

/** ModelConfigError for anything this engine cannot compute; nothing is guessed. */
export function parseTextConfig(config: Readonly<Record<string, unknown>>): TextConfig {
  const count = (key: string, missing: number, multiple = 1): number => {
    const value = config[key] ?? missing;
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 1 || value > 1 << 24 || value % multiple) {
      return refuse(
        `${key} is ${JSON.stringify(value)}, expected a positive integer${multiple > 1 ? `, a multiple of ${multiple}` : ""}`,
      );
    }
    return value;
  };
  const expect = <T>(key: string, allowed: readonly T[], missing: T): T => {
    const value = (config[key] ?? missing) as T;
    return allowed.includes(value)
      ? value
      : refuse(`${key} is ${JSON.stringify(value)}; supported: ${allowed.map((v) => JSON.stringify(v)).join(", ")}`);
  };
  expect("model_type", ["t5"], "t5");
  const feedForward = expect("feed_forward_proj", ["gated-gelu", "relu"] as const, "relu");
  const activation = feedForward === "relu" ? "relu" : "gelu_new";
  expect("dense_act_fn", [activation], activation);
  expect("is_gated_act", [feedForward !== "relu"], feedForward !== "relu");
  const heads = count("num_heads", 8);
  const headDim = count("d_kv", 64);
  if (headDim > 512) refuse(`d_kv is ${headDim}; at most 512 is supported`);
  if ((heads * headDim) % 4) refuse(`num_heads * d_kv is ${heads * headDim}, expected a multiple of 4`);
  const buckets = count("relative_attention_num_buckets", 32, 4);
  const maxDistance = count("relative_attention_max_distance", 128);
  if (maxDistance <= buckets / 4)
    refuse(`relative_attention_max_distance ${maxDistance} is too small for ${buckets} buckets`);
  const eps = config.layer_norm_epsilon ?? 1e-6;
  if (typeof eps !== "number" || !(eps > 0)) return refuse(`layer_norm_epsilon is ${JSON.stringify(eps)}`);
  return {
    width: count("d_model", 512, 4),
    heads,
    headDim,
    hidden: count("d_ff", 2048, 4),
    blocks: count("num_layers", 6),
    vocabulary: count("vocab_size", 32128),
    buckets,
    maxDistance,
    eps,
    feedForward,
  };
}
