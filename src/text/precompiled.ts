/**
 * SentencePiece's precompiled normaliser (`precompiled_charsmap` of a tokenizer.json, base64), as Hugging Face's Rust tokenizers runs
 * it. @huggingface/tokenizers 0.2.0 keeps the table but never reads it: it approximates with a few regular expressions and NFKC.
 *
 * The blob: u32 size of the trie in bytes, the trie (a Darts double array of u32, searched by UTF-8 bytes), then the replacements,
 * UTF-8, each ended by a zero byte; a leaf's value is the offset of its replacement. Sources: sentencepiece normalizer.cc, darts.h,
 * the crate spm_precompiled and tokenizers' normalizers/precompiled.rs.
 */
import { ScanvasError } from "../errors.ts";

/** A function that normalises text by the table. Throws FormatError when `base64` is no such table. */
export function precompiledNormalizer(base64: string): (text: string) => string {
  const { trie, replacements } = parse(base64);
  const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const cache = new Map<string, string | undefined>();

  /** The replacement of the shortest entry that `chunk` begins with; all of `chunk` is replaced by it, as in the Rust crate. */
  const transform = (chunk: string): string | undefined => {
    if (!cache.has(chunk)) {
      const at = shortestPrefix(trie, encoder.encode(chunk));
      cache.set(chunk, at === undefined ? undefined : decoder.decode(untilZero(replacements, at)));
    }
    return cache.get(chunk);
  };
  /** Splitting takes most of the time; in plain ASCII the only grapheme of two characters is a line break. */
  const graphemes = (text: string): Iterable<string> =>
    /^\p{ASCII}*$/u.test(text)
      ? (text.match(/\r\n|\p{ASCII}/gu) ?? [])
      : Array.from(segmenter.segment(text), (part) => part.segment);
  return (text) => {
    let result = "";
    for (const segment of graphemes(text)) {
      // Graphemes of up to five bytes are looked up whole ("e" + combining acute), longer ones by code point.
      const whole = encoder.encode(segment).length < 6 ? transform(segment) : undefined;
      if (whole !== undefined) result += whole;
      else for (const character of segment) result += transform(character) ?? character;
    }
    return result;
  };
}

function parse(base64: string): { trie: Uint32Array; replacements: Uint8Array } {
  const broken = (why: string, cause?: unknown) =>
    new ScanvasError("FormatError", `tokenizer.json: precompiled_charsmap is broken: ${why}`, { cause });
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw broken("not base64", cause);
  }
  const view = new DataView(bytes.buffer);
  const size = bytes.length >= 4 ? view.getUint32(0, true) : 0;
  if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length)
    throw broken(`a trie of ${size} bytes in ${bytes.length}`);
  const trie = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  return { trie, replacements: bytes.subarray(4 + size) };
}

/** Darts' commonPrefixSearch, stopped at the first hit. A unit holds a label, the offset to its children and whether one is a leaf. */
function shortestPrefix(trie: Uint32Array, key: Uint8Array): number | undefined {
  const offset = (unit: number) => (unit >>> 10) << ((unit & 0x200) >>> 6);
  let node = offset(trie[0]);
  for (const byte of key) {
    if (byte === 0) return undefined;
    node ^= byte;
    const unit = trie[node];
    if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined;
    node ^= offset(unit);
    if ((unit & 0x100) !== 0) return trie[node] & 0x7fffffff;
  }
  return undefined;
}

function untilZero(bytes: Uint8Array, start: number): Uint8Array {
  const end = bytes.indexOf(0, start);
  return bytes.subarray(start, end < 0 ? bytes.length : end);
}
