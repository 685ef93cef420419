/**
 * Prompts with their embeddings in one safetensors file: what a page with fixed prompts loads instead of the text encoder. Per
 * prompt i: `{i}.embeds` F32 [n, width], `{i}.ids` I32 [n]; the metadata holds the prompts, which of them were cut, and the identity of the text
 * encoder that made them.
 */
import { ScanvasError } from "../errors.ts";
import { readSafetensors, writeSafetensors } from "../weights/safetensors.ts";
import type { EncodedPrompt } from "./prompts.ts";

export interface PromptPack {
  readonly textId: string;
  readonly prompts: ReadonlyMap<string, EncodedPrompt>;
}

/** What a prompt is looked up by: models read it in lower case and stripped. */
export const promptKey = (prompt: string): string => prompt.trim().toLowerCase();

export function writePromptPack({ textId, prompts }: PromptPack): Uint8Array<ArrayBuffer> {
  const entries = [...prompts];
  const bytesOf = (view: ArrayBufferView<ArrayBuffer>) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const tensors = entries.flatMap(([, { embeds, ids }], i) => [
    {
      name: `${i}.embeds`,
      dtype: "F32" as const,
      shape: [ids.length, embeds.length / ids.length],
      data: bytesOf(embeds),
    },
    { name: `${i}.ids`, dtype: "I32" as const, shape: [ids.length], data: bytesOf(ids) },
  ]);
  const metadata = {
    format: "scanvas-prompts",
    text_id: textId,
    prompts: JSON.stringify(entries.map(([prompt]) => prompt)),
    truncated: JSON.stringify(entries.map(([, { truncated }]) => truncated)),
  };
  return writeSafetensors(tensors, metadata) as Uint8Array<ArrayBuffer>;
}

/** @throws FormatError for anything that `writePromptPack` has not written; TruncatedError */
export function readPromptPack(file: Uint8Array, where: string): PromptPack {
  const { tensors, metadata } = readSafetensors(file, where);
  const refuse = (what: string): never => {
    throw new ScanvasError("FormatError", `${where} is not a prompt pack: ${what}; make one with scanvas embed`);
  };
  if (metadata.get("format") !== "scanvas-prompts") refuse(`its format is ${metadata.get("format") ?? "not given"}`);
  const list = (key: string): unknown[] => {
    let value: unknown;
    try {
      value = JSON.parse(metadata.get(key) ?? "");
    } catch {
      // refused below
    }
    return Array.isArray(value) ? value : refuse(`${key} is not a list`);
  };
  const truncated = list("truncated");
  const prompts = list("prompts").map((prompt, i): [string, EncodedPrompt] => {
    const [embeds, ids] = [tensors.get(`${i}.embeds`), tensors.get(`${i}.ids`)];
    if (typeof prompt !== "string" || embeds?.dtype !== "F32" || ids?.dtype !== "I32") refuse(`prompt ${i} is damaged`);
    if (embeds!.shape.length !== 2 || ids!.shape.length !== 1 || embeds!.shape[0] !== ids!.shape[0] || !ids!.shape[0])
      refuse(`prompt ${i} has shapes [${embeds!.shape}] and [${ids!.shape}]`);
    const data = (info: { begin: number; end: number }): ArrayBuffer =>
      file.slice(info.begin, info.end).buffer as ArrayBuffer;
    return [
      prompt as string,
      {
        embeds: new Float32Array(data(embeds!)),
        ids: new Int32Array(data(ids!)),
        truncated: truncated[i] === true,
      },
    ];
  });
  return { textId: metadata.get("text_id") ?? "", prompts: new Map(prompts) };
}
