import { ScanvasError } from "../errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { EmbeddingStore } from "../weights/embeddings.ts";
import { sha256Hex } from "../weights/fetch.ts";
import { promptKey, readPromptPack, writePromptPack, type PromptPack } from "./prompt_pack.ts";
import type { TextModel } from "./text_model.ts";

export interface EncodedPrompt {
  /** [tokens, caption] f32: only real tokens, padding is never computed. */
  embeds: Float32Array<ArrayBuffer>;
  /** Token ids, `</s>` included. */
  ids: Int32Array<ArrayBuffer>;
  truncated: boolean;
}

export interface PromptsOptions {
  /** Text tokens the denoiser reads; longer prompts are cut. */
  maxTokens: number;
  /** Identity of the text encoder and its tokenizer: embeddings are kept under it. */
  textId: string;
  /** What computes embeddings; without one, only the prompts of `pack` are known. */
  encoder?: { tokenizer: Tokenizer; model: TextModel } | undefined;
  pack?: PromptPack | undefined;
  /** Where embeddings survive the page, for encoders that are slow to start. */
  store?: EmbeddingStore | undefined;
}

/** Most prompts whose embeddings are kept in memory. */
const REMEMBERED = 32;

/** Prompt -> embeddings: from the pack, from memory, from storage, and only then from the text encoder. */
export class Prompts {
  readonly #remembered = new Map<string, EncodedPrompt>();
  readonly #pack = new Map<string, EncodedPrompt>();

  constructor(private readonly options: PromptsOptions) {
    for (const [prompt, encoded] of options.pack?.prompts ?? []) this.#pack.set(promptKey(prompt), encoded);
  }

  /** How prompts are encoded. */
  get kind(): TextModel["kind"] | "pack" {
    return this.options.encoder?.model.kind ?? "pack";
  }

  /** Encodes with `model` from now on: the same encoder, held in another way. */
  use(model: TextModel): void {
    if (this.options.encoder) this.options.encoder.model = model;
  }

  get textId(): string {
    return this.options.textId;
  }

  /** True when `prompt` costs no run of the text encoder. */
  knows(prompt: string): boolean {
    const key = promptKey(prompt);
    return this.#pack.has(key) || this.#remembered.has(key);
  }

  async encode(prompt: string, signal: AbortSignal | undefined): Promise<EncodedPrompt> {
    const key = promptKey(prompt);
    const known = this.#pack.get(key) ?? this.#remembered.get(key);
    if (known) return known;
    const encoded = await this.#compute(key, prompt, signal);
    if (this.#remembered.size >= REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value!);
    this.#remembered.set(key, encoded);
    return encoded;
  }

  /** The embeddings of `prompts` as a file for `load(url, { promptPack })`. */
  async pack(
    prompts: readonly string[],
    signal: AbortSignal | undefined,
    onPrompt: (done: number) => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const encoded = new Map<string, EncodedPrompt>();
    for (const prompt of prompts) {
      encoded.set(prompt, await this.encode(prompt, signal));
      onPrompt(encoded.size);
    }
    return writePromptPack({ textId: this.textId, prompts: encoded });
  }

  /** To be called when no prompt is waiting: an encoder that can gives memory back. */
  async release(): Promise<void> {
    await this.options.encoder?.model.release?.();
  }

  async dispose(): Promise<void> {
    await this.options.encoder?.model.dispose();
  }

  async #compute(key: string, prompt: string, signal: AbortSignal | undefined): Promise<EncodedPrompt> {
    const { encoder, textId, maxTokens, store } = this.options;
    if (!encoder) {
      const some = [...this.#pack.keys()].slice(0, 3).map((known) => JSON.stringify(known));
      throw new ScanvasError(
        "InvalidArgumentError",
        `prompt ${JSON.stringify(prompt.slice(0, 80))} is not in the prompt pack, which has ${this.#pack.size} (${some.join(", ")}); ` +
          "load the model without promptPack to use any prompt",
      );
    }
    const name = store && (await sha256Hex(new TextEncoder().encode(`${textId}\n${key}`)));
    const stored = name && (await store.read(name));
    if (stored) {
      try {
        const pack = readPromptPack(stored, name);
        const kept = pack.prompts.get(key);
        if (kept && pack.textId === textId) return kept;
      } catch {
        // damaged on disk: computed again and written over
      }
    }
    const { ids, truncated } = encoder.tokenizer.tokenize(prompt, maxTokens);
    const embeds = await encoder.model.encode(ids, signal);
    const encoded = { embeds, ids: Int32Array.from(ids), truncated };
    if (name) await store.write(name, writePromptPack({ textId, prompts: new Map([[key, encoded]]) }));
    return encoded;
  }
}
