/**
 * From a prompt to T5 token ids, as diffusers' PixArt pipelines do with clean_caption=False: lower case, strip, then transformers'
 * T5Tokenizer with truncation. The Unigram model is @huggingface/tokenizers'; what stands around it is set up here, because two
 * readers of the same file differ:
 *
 * - transformers' T5Tokenizer takes from tokenizer.json only the vocabulary, the added tokens and a precompiled charsmap, if any. Its
 *   pre-tokenizer is always "split at white space, then mark word starts", whatever the file says (transformers 5, tokenization_t5.py
 *   and TokenizersBackend.convert_to_native_format). So a file with NFKC and no white-space split, like the reference pipeline's,
 *   gives ids without NFKC and without a token for the second of two spaces.
 * - @huggingface/tokenizers 0.2.0 ignores the charsmap (see precompiled.ts), and its WhitespaceSplit uses JavaScript's \s, which
 *   differs from Unicode's White_Space at U+0085 and U+FEFF. For a third difference see fuseUnknownsPerWord.
 */
import * as library from "@huggingface/tokenizers";
import { ScanvasError, show } from "../errors.ts";
import { precompiledNormalizer } from "./precompiled.ts";

export interface Tokenizer {
  /** Ids are below this: the text encoder's embedding must have at least as many rows. */
  vocabSize: number;
  /**
   * `ids` [n] are the real tokens only, n <= maxLength, the last one being </s>; padding and mask are the caller's. `text` is what was
   * tokenised: lower case, stripped. `truncated` says that the prompt had more tokens than fit (or more than 20,000 characters).
   * Any string is accepted. Throws InvalidArgumentError.
   */
  tokenize(prompt: string, maxLength: number): Tokens;
}

export interface Tokens {
  ids: Int32Array;
  truncated: boolean;
  text: string;
}

/**
 * Longer prompts are cut here before any work is done. A model takes at most 300 tokens of at most 16 characters, so only a prompt with
 * thousands of spaces in a row could notice.
 */
const MAX_CHARACTERS = 20_000;

type Json = Record<string, unknown>;
type Normalize = (text: string) => string;

/** From the parsed contents of tokenizer.json and tokenizer_config.json. Throws FormatError or ModelConfigError. */
export function loadTokenizer(tokenizerJson: unknown, configJson: unknown): Tokenizer {
  const file = asObject(tokenizerJson, "tokenizer.json");
  const config = asObject(configJson, "tokenizer_config.json");
  const vocabSize = checkVocabulary(file);
  // Without a word on it, T5: the class that model_index.json names for every pipeline we run.
  const isT5 = ["T5Tokenizer", "T5TokenizerFast"].includes((config.tokenizer_class ?? "T5Tokenizer") as string);
  const normalize = isT5 ? charsmapOf(file.normalizer) : normalizerOf(file.normalizer);
  const eos = tokenText(config.eos_token) ?? "</s>";

  const encoder = construct(file, isT5 ? T5_PRE_TOKENIZER : file.pre_tokenizer, eos);
  // Normalising can make a text longer (one Arabic ligature becomes 18 letters), hence the second cut.
  const shortened = (text: string) => normalize(text).slice(0, MAX_CHARACTERS);
  encoder.normalizer = shortened as unknown as library.Normalizer; // the library only ever calls it
  fuseUnknownsPerWord(encoder.model!);

  const eosId = encoder.token_to_id(eos);
  if (eosId === undefined) throw new ScanvasError("ModelConfigError", `tokenizer.json: has no token ${eos}`);
  const encode = (text: string): number[] => {
    try {
      return encoder.encode(text, { add_special_tokens: false }).ids;
    } catch (cause) {
      throw new ScanvasError("FormatError", `tokenizer.json: it cannot be used: ${String(cause)}`, { cause });
    }
  };
  return {
    vocabSize,
    tokenize(prompt, maxLength) {
      if (typeof prompt !== "string") {
        throw new ScanvasError("InvalidArgumentError", `prompt: got ${typeof prompt}, expected a string`);
      }
      if (!Number.isInteger(maxLength) || maxLength < 1) {
        throw new ScanvasError("InvalidArgumentError", `maxLength: got ${maxLength}, expected a positive integer`);
      }
      const text = prepare(prompt);
      const ids = encode(text);
      const truncated = prompt.length > MAX_CHARACTERS || ids.length + 1 > maxLength;
      const kept = Int32Array.of(...ids.slice(0, maxLength - 1), eosId);
      for (const [i, id] of kept.entries()) {
        if (id >= 0 && id < vocabSize && (id === eosId || id === ids[i])) continue;
        throw new ScanvasError(
          "FormatError",
          `tokenizer.json: token ${i} became ${String(ids[i])}, expected 0..${vocabSize - 1}`,
        );
      }
      return { ids: kept, truncated, text };
    },
  };
}

/** diffusers' `text.lower().strip()`. Halves of surrogate pairs, which Python has not, become U+FFFD. */
function prepare(prompt: string): string {
  const wellFormed = prompt.slice(0, MAX_CHARACTERS).replace(/\p{Surrogate}/gu, "\ufffd");
  const characters = [...wellFormed.toLowerCase()];
  // str.isspace: White_Space and the four separators U+001C..1F. A loop, since /\s+$/ takes quadratic time on bad input.
  const isSpace = (character: string) =>
    /\p{White_Space}/u.test(character) || (character >= "\u001c" && character <= "\u001f");
  let [start, end] = [0, characters.length];
  while (start < end && isSpace(characters[start])) start++;
  while (start < end && isSpace(characters[end - 1])) end--;
  return characters.slice(start, end).join("");
}

// White space in Unicode's sense goes, then every word begins with U+2581, then cut before each U+2581 (Metaspace with split: true).
const T5_PRE_TOKENIZER = {
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: "\\s+" }, behavior: "Removed", invert: false },
    { type: "Metaspace", replacement: "\u2581", prepend_scheme: "always", split: true },
    { type: "Split", pattern: { Regex: "\u2581?[^\u2581]*" }, behavior: "Removed", invert: true },
  ],
};

function construct(file: Json, preTokenizer: unknown, eos: string): library.Tokenizer {
  const setup = { ...file, normalizer: null, pre_tokenizer: preTokenizer ?? null, post_processor: null, decoder: null };
  try {
    return new library.Tokenizer({ added_tokens: [], ...setup }, { eos_token: eos });
  } catch (cause) {
    throw new ScanvasError("ModelConfigError", `tokenizer.json: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Neighbouring unknown characters of a word are one token. The library joins their strings, looking up the growing string each time
 * (quadratic: seconds for a prompt of emoji), and joins across words; Rust fuses within a word. Only the first is needed for the id.
 */
function fuseUnknownsPerWord(model: library.Model): void {
  const encodeWords = model.encode.bind(model);
  const isUnknown = (token: string) => (model.tokens_to_ids.get(token) ?? model.unk_token_id) === model.unk_token_id;
  model.fuse_unk = false;
  model.encode = (words) =>
    words.flatMap((word) => {
      const tokens = encodeWords([word]);
      return tokens.filter((token, i) => i === 0 || !isUnknown(token) || !isUnknown(tokens[i - 1]));
    });
}

/** Characters a token may have; T5's have 16 at most. Longer ones, and empty ones, make the library's search slow or endless. */
const MAX_TOKEN = 256;
const isToken = (text: unknown): boolean => typeof text === "string" && text.length > 0 && text.length <= MAX_TOKEN;

/** Checks that this is a Unigram model and returns one more than the largest id. */
function checkVocabulary(file: Json): number {
  const model = asObject(file.model, "tokenizer.json: model");
  if (model.type !== "Unigram") {
    throw new ScanvasError(
      "ModelConfigError",
      `tokenizer.json: got a ${show(model.type)} model, expected Unigram (T5)`,
    );
  }
  const vocab = model.vocab;
  const isEntry = (entry: unknown) => Array.isArray(entry) && isToken(entry[0]) && Number.isFinite(entry[1]);
  if (!Array.isArray(vocab) || vocab.length === 0 || !vocab.every(isEntry)) {
    throw new ScanvasError("FormatError", "tokenizer.json: model.vocab is not a list of [token, score]");
  }
  const unknown = model.unk_id;
  if (!Number.isInteger(unknown) || (unknown as number) < 0 || (unknown as number) >= vocab.length) {
    throw new ScanvasError(
      "FormatError",
      `tokenizer.json: model.unk_id is ${show(unknown)}, expected 0..${vocab.length - 1}`,
    );
  }
  const added = Array.isArray(file.added_tokens)
    ? (file.added_tokens as ({ id: unknown; content: unknown } | null)[])
    : [];
  for (const token of added) {
    if (Number.isInteger(token?.id) && (token!.id as number) >= 0 && isToken(token!.content)) continue;
    throw new ScanvasError("FormatError", `tokenizer.json: added token ${JSON.stringify(token)} has no id or content`);
  }
  return Math.max(vocab.length, ...added.map((token) => Number(token!.id) + 1));
}

/** What T5Tokenizer keeps of a normaliser: the first precompiled charsmap. */
function charsmapOf(json: unknown): Normalize {
  const list = (json as Json | null)?.type === "Sequence" ? (json as Json).normalizers : [json];
  const found = (list as (Json | null)[]).find((one) => one?.type === "Precompiled");
  return found ? normalizerOf(found) : (text) => text;
}

const LIBRARY_NORMALIZERS = new Map<unknown, new (config: never) => library.Normalizer>([
  ["NFC", library.NFCNormalizer],
  ["NFD", library.NFDNormalizer],
  ["NFKC", library.NFKCNormalizer],
  ["NFKD", library.NFKDNormalizer],
  ["Lowercase", library.LowercaseNormalizer],
  ["Replace", library.ReplaceNormalizer],
  ["Strip", library.StripNormalizer],
]);

/** A normaliser as the file describes it. */
function normalizerOf(json: unknown): Normalize {
  if (json === null || json === undefined) return (text) => text;
  const config = asObject(json, "tokenizer.json: normalizer");
  if (config.type === "Sequence" && Array.isArray(config.normalizers)) {
    const all = config.normalizers.map(normalizerOf);
    return (text) => all.reduce((result, normalize) => normalize(result), text);
  }
  if (config.type === "Precompiled") {
    return config.precompiled_charsmap ? precompiledNormalizer(config.precompiled_charsmap as string) : (text) => text;
  }
  const Normalizer = LIBRARY_NORMALIZERS.get(config.type);
  if (Normalizer === undefined) {
    const known = [...LIBRARY_NORMALIZERS.keys(), "Precompiled", "Sequence"].join(", ");
    throw new ScanvasError(
      "ModelConfigError",
      `tokenizer.json: normalizer: got ${show(config.type)}, supported: ${known}`,
    );
  }
  const normalizer = new Normalizer(config as never);
  return (text) => normalizer.normalize(text);
}

/** A token of tokenizer_config.json is a string or an AddedToken object. */
function tokenText(token: unknown): string | undefined {
  if (typeof token === "string") return token;
  const content = (token as Json | null | undefined)?.content;
  return typeof content === "string" ? content : undefined;
}

function asObject(value: unknown, what: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new ScanvasError(
    "FormatError",
    `${what}: got ${value === null ? "null" : typeof value}, expected a JSON object`,
  );
}
