/** What is stored as what: the --dtype of the user, and what it means for one tensor. */
import { ScanvasError } from "../../src/errors.ts";
import type { ComponentDtype, ComponentName, WeightDtype } from "../../src/weights/manifest.ts";
import { COMPONENTS } from "../../src/weights/manifest.ts";
import type { Output } from "./layout.ts";

export type Dtypes = Record<ComponentName, ComponentDtype>;

export const DTYPES: readonly ComponentDtype[] = ["f32", "f16", "q8", "q4"];

/**
 * "q4" or "q8,text_encoder=q4,vae=f16": one type for all, then exceptions; f16 where nothing is said. A quantised type for all
 * leaves the VAE at f16: it is small, and every error in it is seen.
 * @throws InvalidArgumentError for anything else
 */
export function parseDtypes(text: string): Dtypes {
  const dtypes: Dtypes = { text_encoder: "f16", transformer: "f16", vae: "f16" };
  for (const [i, item] of text.split(",").entries()) {
    const [, name, type] = /^(?:(\w+)=)?(\w+)$/.exec(item.trim()) ?? [];
    const dtype = DTYPES.find((known) => known === type);
    const component = COMPONENTS.find((known) => known === name);
    if (!dtype || (name ? !component : i > 0)) {
      const expected = `expected ${DTYPES.join(", ")}, then component=type with ${COMPONENTS.join(", ")}`;
      throw new ScanvasError("InvalidArgumentError", `dtype "${text}": got "${item.trim()}", ${expected}`);
    }
    if (component) dtypes[component] = dtype;
    else Object.assign(dtypes, { text_encoder: dtype, transformer: dtype, vae: dtype[0] === "q" ? "f16" : dtype });
  }
  return dtypes;
}

/** How an output is stored in a component of type `dtype`. */
export function storedDtype({ dtype: kind, shape }: Output, dtype: ComponentDtype): WeightDtype {
  if (kind === "F32" || dtype === "f32") return "F32";
  if (dtype === "f16" || shape.length !== 2 || shape[1] % 32) return "F16";
  return dtype === "q8" || kind === "precise" ? "Q8" : "Q4";
}
