/** Compares what an input has with what its config says it must have. */
import { ScanvasError } from "../../src/errors.ts";
import type { ComponentName, JsonObject } from "../../src/weights/manifest.ts";
import { tensorBytes } from "../../src/weights/safetensors.ts";
import type { Output } from "./layout.ts";
import { componentLayout, sourcesOf } from "./layout.ts";
import { resolve } from "./produce.ts";
import type { TensorSource } from "./source.ts";

/**
 * The outputs of a component, the bytes of the input tensors that they read, and the input tensors that none of them reads.
 * @throws TensorError for the first tensor that is missing, misshaped or not a float
 */
export function layoutFor(component: ComponentName, config: JsonObject, source: TensorSource) {
  const outputs: Output[] = componentLayout(component, config, (name) => source.tensors.has(name));
  const used = new Set<string>();
  let bytes = 0;
  for (const wanted of outputs.flatMap((output) => sourcesOf(output.recipe))) {
    const name = resolve(source, wanted);
    const expected = `expected F32, F16 or BF16 [${wanted.shape.join(", ")}]`;
    if (name === undefined)
      throw new ScanvasError("TensorError", `${component}: no tensor "${wanted.name}", ${expected}`);
    const info = source.tensors.get(name)!;
    if (info.shape.join() !== wanted.shape.join() || !["F32", "F16", "BF16"].includes(info.dtype)) {
      const got = `got ${info.dtype} [${info.shape.join(", ")}]`;
      throw new ScanvasError("TensorError", `${component}: tensor "${name}": ${got}, ${expected}`);
    }
    bytes += tensorBytes(info);
    for (const known of [wanted.name, ...(wanted.aliases ?? [])]) used.add(known);
  }
  return { outputs, bytes, unused: [...source.tensors.keys()].filter((name) => !used.has(name)) };
}
