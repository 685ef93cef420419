/** Sources by description, so that every thread can open its own. */
import type { SyntheticSpec } from "../synth/source.ts";
import { openSynthetic } from "../synth/source.ts";
import type { TensorSource } from "./source.ts";
import { openDirectory } from "./source.ts";

/** A directory with the weights of one component, or weights to be made up. */
export type SourceSpec = string | SyntheticSpec;

/** @throws as openDirectory */
export async function openSource(spec: SourceSpec): Promise<TensorSource> {
  return typeof spec === "string" ? openDirectory(spec) : openSynthetic(spec);
}
