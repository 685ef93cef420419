/** A component whose weights are made up when they are read: seeded, and scaled like trained ones. */
import { createHash } from "node:crypto";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { textConfig } from "../convert/config.ts";
import type { Source } from "../convert/layout.ts";
import { expectedTensors } from "../convert/layout.ts";
import type { TensorSource } from "../convert/source.ts";
import type { Distribution, Key } from "./random.ts";
import { fill, keyOf } from "./random.ts";

export interface SyntheticSpec {
  component: ComponentName;
  config: JsonObject;
  seed: number;
}

/** Raise when the numbers change for the same seed. */
const VERSION = 1;

/** F32 elements of every tensor the config asks for. @throws ModelConfigError as expectedTensors */
export async function openSynthetic({ component, config, seed }: SyntheticSpec): Promise<TensorSource> {
  const makers = new Map<string, { key: Key; distribution: Distribution }>();
  const tensors = new Map<string, { dtype: "F32"; shape: number[] }>();
  const scale = component === "text_encoder" ? textScale(config) : () => undefined;
  for (const source of expectedTensors(component, config)) {
    const { name, shape } = source;
    tensors.set(name, { dtype: "F32", shape });
    makers.set(name, { key: keyOf(seed, name), distribution: scale(source) ?? distributionOf(source) });
  }
  const facts = JSON.stringify([VERSION, component, config, seed]);
  return {
    tensors,
    fingerprint: createHash("sha256").update(facts).digest("hex"),
    read(name, begin, count) {
      const values = new Float32Array(count);
      const { key, distribution } = makers.get(name)!;
      fill(values, begin, key, distribution);
      return Promise.resolve(new Uint8Array(values.buffer));
    },
    close: () => Promise.resolve(),
  };
}

const normal = (deviation: number, mean = 0): Distribution => ({ kind: "normal", mean, deviation });

/** The first that fits. Mamba's A, dt and D as mamba_ssm starts them; matrices so that they keep a signal's size. */
const RULES: [RegExp, Distribution][] = [
  [/\.A_log$/, { kind: "uniform", map: (u) => Math.log(1 + 15 * u) }],
  [/\.dt_bias$/, { kind: "uniform", map: (u) => inverseSoftplus(Math.exp(Math.log(1e-3) + u * Math.log(100))) }],
  [/\.mamba\.D$/, normal(0.1, 1)],
  [/norm\w*\.weight$/, normal(0.1, 1)],
  [/bias$/, normal(0.02)],
];

function distributionOf({ name, shape }: Source): Distribution {
  const rule = RULES.find(([pattern]) => pattern.test(name));
  if (rule) return rule[1];
  const inputs = shape.slice(1).reduce((a, b) => a * b, 1);
  return normal(1 / Math.sqrt(inputs)); // linear and convolution; scale_shift_tables, too, start at 1/sqrt(D)
}

function inverseSoftplus(y: number): number {
  return y + Math.log(-Math.expm1(-y));
}

/** T5 as it is initialised: it divides no scores by the head's width, so the queries are that much smaller. */
function textScale(config: JsonObject): (source: Source) => Distribution | undefined {
  const { d, inner, heads } = textConfig(config);
  return ({ name }) => {
    if (name === "shared.weight") return normal(1);
    if (name.endsWith("SelfAttention.q.weight")) return normal(1 / Math.sqrt((d * inner) / heads));
    if (name.endsWith("relative_attention_bias.weight")) return normal(1 / Math.sqrt(d));
    return undefined;
  };
}
