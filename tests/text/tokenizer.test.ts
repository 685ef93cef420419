import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../../src/text/tokenizer.ts";

// Made by tools/goldens/text.py with transformers: see there for the three tokenizers.
type Row = [prompt: number, maxLength: number, ids: number[], untruncated: number];
const folder = new URL("../golden/text/", import.meta.url);
const read = (path: string): unknown => JSON.parse(readFileSync(new URL(path, folder), "utf8"));
const load = (name: string) => loadTokenizer(read(`${name}/tokenizer.json`), read(`${name}/tokenizer_config.json`));
const prompts = read("prompts.json") as string[];

describe.each(["pixart", "charsmap", "plain"])("the %s tokenizer", (name) => {
  const tokenizer = load(name);
  const rows = read(`${name}/ids.json`) as Row[];

  it("gives the ids that transformers gives", () => {
    expect(rows.length).toBeGreaterThan(300);
    const wrong = rows.filter(([prompt, maxLength, ids]) => {
      const actual = tokenizer.tokenize(prompts[prompt], maxLength).ids;
      return JSON.stringify([...actual]) !== JSON.stringify(ids);
    });
    const shown = wrong.map(([prompt, maxLength, ids]) => ({
      prompt: JSON.stringify(prompts[prompt]).slice(0, 80),
      expected: ids.slice(0, 40).join(" "),
      actual: tokenizer.tokenize(prompts[prompt], maxLength).ids.slice(0, 40).join(" "),
    }));
    expect(shown).toEqual([]);
  });

  it("says what was cut, and always ends with </s>", () => {
    for (const [prompt, maxLength, ids, untruncated] of rows) {
      const result = tokenizer.tokenize(prompts[prompt], maxLength);
      expect(result.truncated).toBe(untruncated > maxLength);
      expect(result.ids.at(-1)).toBe(1);
      expect(result.ids.length).toBe(ids.length);
    }
    expect(rows.filter(([, maxLength, , untruncated]) => untruncated > maxLength).length).toBeGreaterThan(20);
    expect(tokenizer.tokenize("a red cat", 1).ids).toEqual(Int32Array.of(1));
  });

  it.each<[string, string]>([
    ["NUL", "a\0b\0"],
    ["lone surrogates", "\ud800 a \udc00\ud800b\udfff"],
    ["a megabyte of one letter", "a".repeat(1 << 20)],
    ["a megabyte of spaces", " ".repeat(1 << 20)],
    ["a megabyte of spaces and then a letter", " ".repeat(1 << 20) + "a"],
    ["letters a lot of spaces apart", `a${" ".repeat(15_000)}b${" ".repeat(4_000)}.`],
    ["a megabyte of words", "red cat ".repeat(1 << 17)],
    ["20,000 characters that become 18 each", "\ufdfa".repeat(20_000)],
    ["10,000 emoji", "\u{1f431}".repeat(10_000)],
    ["zalgo", `z${"\u0300\u0316\u0334".repeat(6_600)}`],
    ["joined emoji", "\u{1f468}\u200d".repeat(6_600)],
    ["special tokens", "</s><pad><unk>".repeat(1_400)],
    ["a cut through a surrogate pair", `${"a".repeat(19_999)}\u{1f431}`],
    ["words that objects have", "__proto__ constructor toString end"],
  ])(
    "survives %s",
    (_, prompt) => {
      const started = performance.now();
      const { ids, text } = tokenizer.tokenize(prompt, 120);
      expect(performance.now() - started).toBeLessThan(10_000);
      expect(ids.length).toBeGreaterThan(0);
      expect(ids.length).toBeLessThanOrEqual(120);
      expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize)).toBe(true);
      expect(text.length).toBeLessThanOrEqual(20_000);
    },
    30_000,
  );
});

describe("tokenize", () => {
  const tokenizer = load("pixart");

  it("lower-cases and strips, and an empty prompt is </s>", () => {
    expect(tokenizer.tokenize(" \u2003A Red\tCAT \x1f\n", 120).text).toBe("a red\tcat");
    expect(tokenizer.tokenize("", 120)).toEqual({ ids: Int32Array.of(1), truncated: false, text: "" });
    expect(tokenizer.tokenize(" \n ", 120).ids).toEqual(Int32Array.of(1));
    expect(tokenizer.tokenize("\ufeffa", 120).text).toBe("\ufeffa"); // JavaScript's trim would take it, Python's strip does not
    expect(tokenizer.tokenize("\ud800a", 120).text).toBe("\ufffda");
  });

  it("cuts a 10,000-character prompt to the length asked for", () => {
    const { ids, truncated } = tokenizer.tokenize("tree ".repeat(2000), 300);
    expect([ids.length, truncated]).toEqual([300, true]);
    const exact = tokenizer.tokenize("a ".repeat(59).trim() + "a", 120);
    expect([exact.ids.length, exact.truncated]).toEqual([120, false]);
  });

  it("refuses what is no prompt and no length", () => {
    const error = expect.objectContaining({ name: "InvalidArgumentError" }) as Error;
    expect(() => tokenizer.tokenize(undefined as unknown as string, 120)).toThrow(error);
    for (const length of [0, -1, 1.5, NaN]) expect(() => tokenizer.tokenize("a", length)).toThrow(error);
  });
});

describe("loadTokenizer", () => {
  const file = read("pixart/tokenizer.json") as { model: Record<string, unknown>; added_tokens: object[] };
  const config = read("pixart/tokenizer_config.json") as object;
  const plain = { tokenizer_class: "PreTrainedTokenizerFast" };
  const withModel = (changes: object) => ({ ...file, model: { ...file.model, ...changes } });
  const charsmap = (precompiled_charsmap: unknown) => ({
    ...file,
    normalizer: { type: "Precompiled", precompiled_charsmap },
  });

  it.each<[string, unknown, unknown, string]>([
    ["no object", null, config, "FormatError"],
    ["no config", file, "{}", "FormatError"],
    ["another model", withModel({ type: "BPE" }), config, "ModelConfigError"],
    ["no vocabulary", withModel({ vocab: [] }), config, "FormatError"],
    ["a vocabulary of strings", withModel({ vocab: ["a", "b"] }), config, "FormatError"],
    ["an unknown token out of range", withModel({ unk_id: 39 }), config, "FormatError"],
    ["no unknown token", withModel({ unk_id: null }), config, "FormatError"],
    ["an added token without id", { ...file, added_tokens: [{ content: "x" }] }, config, "FormatError"],
    ["another end token", file, { ...config, eos_token: "<end>" }, "ModelConfigError"],
    ["an unknown normalizer", { ...file, normalizer: { type: "Magic" } }, plain, "ModelConfigError"],
    ["an unknown pre-tokenizer", { ...file, pre_tokenizer: { type: "Magic" } }, plain, "ModelConfigError"],
    ["a charsmap that is not base64", charsmap("!"), config, "FormatError"],
    ["a charsmap that is too short", charsmap(btoa("abc")), config, "FormatError"],
    ["a charsmap that promises more than it has", charsmap(btoa("\xff\xff\0\0abcd")), config, "FormatError"],
  ])("refuses %s", (_, tokenizerJson, configJson, name) => {
    expect(() => loadTokenizer(tokenizerJson, configJson)).toThrow(expect.objectContaining({ name }) as Error);
  });

  it("takes an end token written as an object, and counts added tokens into the vocabulary", () => {
    const added = { id: 50, content: "<extra>", special: true };
    const tokenizer = loadTokenizer(
      { ...file, added_tokens: [...file.added_tokens, added] },
      { ...config, eos_token: { content: "</s>" } },
    );
    expect(tokenizer.vocabSize).toBe(51);
    expect([...tokenizer.tokenize("a <extra>", 9).ids]).toEqual([3, 5, 50, 1]);
    expect(load("pixart").vocabSize).toBe(39);
  });

  it("takes a tokenizer whose config names no class for T5's", () => {
    const ids = (configJson: object) => [...loadTokenizer(file, configJson).tokenize("a  ﬁ", 9).ids];
    expect(ids({})).toEqual(ids(config));
    expect(ids({})).not.toEqual(ids(plain));
  });
});
