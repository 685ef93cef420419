"""Golden token ids, computed by transformers.

    /opt/py/bin/python tools/goldens/text.py [reference tokenizer folder]

Writes tests/golden/text/: prompts.json, and per tokenizer a folder with tokenizer.json, tokenizer_config.json and ids.json, a list
of [prompt index, max_length, ids without padding, tokens of the untruncated prompt]:
- pixart: the reference pipeline's, loaded as T5Tokenizer (as diffusers does);
- plain: the same tokenizer.json loaded as it is (PreTrainedTokenizerFast: NFKC, no white-space split);
- charsmap: a T5Tokenizer with real word pieces, <extra_id_*> tokens and a precompiled charsmap, trained here by sentencepiece.
Prompts are prepared as PixArtAlphaPipeline does with clean_caption=False: lower().strip().
"""

import base64
import json
import pathlib
import random
import shutil
import sys
import tempfile
import unicodedata

import sentencepiece
from transformers import PreTrainedTokenizerFast, T5Tokenizer

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/text"
REFERENCE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/work/shared/reference/pixart/pipeline/tokenizer")

SUBJECTS = "cat dog house tree star ship robot bird lighthouse mountain teapot violinist glass-frog astronaut".split()
COLOURS = "red blue green golden translucent pitch-black turquoise".split()
STYLES = ["oil painting", "35mm photograph, f/1.8", "isometric pixel art", "studio lighting, 8k", "in the style of ukiyo-e",
          "(masterpiece:1.2), best quality", "low-poly 3D render", "watercolour & ink", "black and white; high contrast"]
ODD = [
    "", " ", "   \t\n ", "a", "A", "a  b", " a", "a ", "  two   spaces  inside  ", "tab\there", "line\nbreak", "crlf\r\nbreak",
    "no\u00a0break", "em\u2003space", "ideographic\u3000space", "line\u2028separator", "next\u0085line", "zero\u200bwidth",
    "bom\ufeffinside", "\ufeffbom first", "word\u2060joiner", "soft\u00adhyphen", "mongolian\u180eseparator", "form\ffeed", "v\vtab",
    "\x1ca cat\x1f", "\x1ca\x1db\x1ec\x1fd", "nul\x00inside", "\x00", "\x07bell\x08", "del\x7f", "c1\x9f\x81",
    "</s>", "a </s> b", "a</s>b", "<pad>", "<unk>", "</S>", "<extra_id_0> cat <extra_id_2>", "<extra_id_99>", "< /s>", "<s>",
    "\u2581", "a\u2581b", "\u2581\u2581a", "a \u2581 b", "_under_score_",
    "Ünïcödé crème brûlée", "e\u0301te\u0301 nai\u0308f", "Å \u212b A\u030a", "ﬁsh ﬂour ﬀ", "Ⅳ ⅷ № ℡ ™ ½ ¾ x² y₃", "①②③ ㈱ ㎏ ㏒",
    "ＦＵＬＬＷＩＤＴＨ　ｔｅｘｔ！", "ﾊﾝｶｸｶﾀｶﾅ ｶﾞｷﾞ", "full～width ~ tilde", "ﷺ ﷲ", "İstanbul IĞDIR ıi", "ΟΔΥΣΣΕΥΣ Σ ΣΑΣ σας", "ẞ ß straße STRASSE",
    "ǅ ǆ Ǆ", "Ꮳꮳ Ꭰ", "Ა ა", "\u1e9e\u0130\u03f4",
    "Кот на крыше дома", "Домик у моря, закат", "γάτα στη στέγη", "חתול על הגג", "قطة على السطح", "بِسْمِ ٱللَّٰهِ", "बिल्ली छत पर", "แมวบนหลังคา",
    "屋根の上の猫", "屋顶上的猫", "지붕 위의 고양이", "\u1100\u1161\u11a8 \u1112\u1161\u11ab", "mèo trên mái nhà Việt Nam", "ድመት", "კატა", "կատու",
    "🐱 on the roof", "👩‍👩‍👧‍👦 family", "👍🏽👍", "🇯🇵🇫🇷", "❤️ heart", "1️⃣ keycap", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "𝔉𝔯𝔞𝔨𝔱𝔲𝔯 𝟘𝟙", "𠮷野家", "\U0010ffff", "\ufffd \ufffe \uffff",
    "\u202eright to left\u202c", "\u200fmark\u200e", "z\u0300\u0301\u0302\u0303\u0304a\u0316\u0317l\u0334\u0335\u0336go", "a" + "\u0301" * 50,
    "`~!@#$%^&*()-_=+[]{}\\|;:'\",.<>/?", "“quotes” ‘single’ «guillemets» … – — ―", "a...b ... c…", "50% off!!! #1 @home", "C:\\path\\file",
    "https://example.org/a?b=c&d=%20", "user@example.org", "\"';DROP TABLE--", "<script>alert(1)</script>", "{{template}} ${x} %s %d",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "tttttthhhhhhrrrreeeeeeee", "llllllll reeree threethree arear", "qqq zzz xxx jjj kkk", "kkk",
    "x x x", "q", "qq", "q q", "aq", "qa", "aqqa q aq", "0123456789", "3.14159", "1,000,000", "2e-5",
]


def prompts():
    generator = random.Random(3)
    result = list(ODD)
    for _ in range(110):
        one, two = generator.choices(SUBJECTS, k=2)
        text = f"{generator.choice('a A the One two'.split())} {generator.choice(COLOURS)} {one} "
        text += generator.choice([f"left of a small {two}", f"above THE {two}s", f"and {two}, {generator.choice(STYLES)}", f"with a {two}'s hat"])
        result.append(text if generator.random() < 0.8 else text.title())
    ranges = [(0x20, 0x7e), (0xa0, 0x17f), (0x370, 0x5ff), (0x600, 0x6ff), (0x900, 0xdff), (0x2000, 0x2bff), (0x3000, 0x33ff),
              (0xac00, 0xad00), (0xf900, 0xffef), (0x1d400, 0x1d7ff), (0x1f300, 0x1f6ff)]
    for _ in range(70):  # random characters, mixed with plain words
        low, high = generator.choice(ranges)
        words = ["".join(chr(generator.randint(low, high)) for _ in range(generator.randint(1, 6))) for _ in range(5)]
        words[generator.randint(0, 4)] = generator.choice(SUBJECTS)
        result.append(generator.choice([" ", "  ", ", ", "\n"]).join(words))
    long = " ".join(generator.choice(SUBJECTS + COLOURS) for _ in range(1700))
    result += [long[:10_000], long[:300], "cat " * 60, "cat" * 300, "é" * 500, "🐱 " * 200, "a" * 118, "a b " * 29 + "a b c", "a" * 119]
    return result


def protobuf_field(message, wanted):
    """The bytes of the first length-delimited field number `wanted`."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            if tag >> 3 == wanted:
                return message[at:at + length]
            at += length
        elif tag & 7 == 5:
            at += 4
        elif tag & 7 == 1:
            at += 8
        else:
            varint()
    raise KeyError(wanted)


def train_charsmap_tokenizer(folder):
    """A sentencepiece Unigram model on made-up captions, with a small rule table instead of the 240 kB of nmt_nfkc."""
    ranges = [(0xa0, 0x17f), (0x1c4, 0x1cc), (0x2000, 0x200f), (0x2028, 0x202f), (0x2070, 0x209c), (0x2100, 0x218b), (0x2460, 0x2490),
              (0x3000, 0x3000), (0xfb00, 0xfb06), (0xfdf2, 0xfdfa), (0xff01, 0xff9f), (0x1d504, 0x1d51c)]
    rules = {chr(c): unicodedata.normalize("NFKC", chr(c)) for low, high in ranges for c in range(low, high + 1)}
    for base in "aeiounc":
        for mark in "\u0300\u0301\u0302\u0303\u0308\u0327":
            composed = unicodedata.normalize("NFKC", base + mark)
            rules[base + mark] = composed
    for kana in "ｶｷｸ":
        rules[kana + "ﾞ"] = unicodedata.normalize("NFKC", kana + "ﾞ")
    for c in [*range(1, 9), 0xb, *range(0xe, 0x20), 0x7f, 0x8f, 0x9f]:
        rules[chr(c)] = ""
    for c in [9, 0xa, 0xc, 0xd, 0x1680, 0x200b, 0x200e, 0x200f, 0x2028, 0x2029, 0xfeff, 0xfffd, 0x2581]:
        rules[chr(c)] = " "
    rules["~"], rules["\uff5e"] = "~", "\uff5e"
    hexes = lambda text: " ".join(f"{ord(c):X}" for c in text)
    lines = [f"{hexes(source)}\t{hexes(target)}" for source, target in rules.items() if source != target]
    captions = [text for text in prompts()[len(ODD):] if text.isascii() and len(text) < 400] + ["crème brûlée ünïcödé été naïf ガギ ハンカク"] * 3
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "rules.tsv").write_text("\n".join(lines) + "\n")
        (scratch / "text.txt").write_text("\n".join(text.lower() for text in captions) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=str(scratch / "text.txt"), model_prefix=str(scratch / "spm"), vocab_size=260, model_type="unigram",
            normalization_rule_tsv=str(scratch / "rules.tsv"), pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
            minloglevel=2, num_threads=1)
        model = (scratch / "spm.model").read_bytes()
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    vocab = [[processor.id_to_piece(i), processor.get_score(i)] for i in range(len(processor))]
    charsmap = protobuf_field(protobuf_field(model, 3), 2)  # ModelProto.normalizer_spec.precompiled_charsmap
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": vocab[i][0], **special} for i in range(3)]
    for i in (2, 1, 0):
        added.append({"id": len(vocab), "content": f"<extra_id_{i}>", **special})
        vocab.append([f"<extra_id_{i}>", 0.0])
    eos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Precompiled",
                       "precompiled_charsmap": base64.b64encode(charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, eos],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, eos, {"Sequence": {"id": "B", "type_id": 0}}, eos],
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": False},
    }
    config = {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "extra_ids": 3,
              "additional_special_tokens": [f"<extra_id_{i}>" for i in range(3)], "model_max_length": 512}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))


def write_ids(folder, cls):
    tokenizer = cls.from_pretrained(folder)
    rows = []
    for i, prompt in enumerate(prompts()):
        text = prompt.lower().strip()
        untruncated = len(tokenizer(text).input_ids)
        for max_length in (120, 300) if untruncated > 100 else (120, 4) if i % 10 == 0 else (120,):
            ids = tokenizer(text, max_length=max_length, truncation=True).input_ids
            rows.append([i, max_length, ids, untruncated])
    (folder / "ids.json").write_text("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
    print(folder.name, type(tokenizer).__name__, len(tokenizer), "tokens,", len(rows), "rows,",
          sum(2 in row[2] for row in rows), "with unknowns")


def main():
    for name in ("pixart", "plain", "charsmap"):
        (OUT / name).mkdir(parents=True, exist_ok=True)
    (OUT / "prompts.json").write_text(json.dumps(prompts()).replace('", "', '",\n"') + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(REFERENCE / name, OUT / "pixart" / name)
    shutil.copyfile(REFERENCE / "tokenizer.json", OUT / "plain/tokenizer.json")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    (OUT / "plain/tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    train_charsmap_tokenizer(OUT / "charsmap")
    print(len(prompts()), "prompts")
    write_ids(OUT / "pixart", T5Tokenizer)
    write_ids(OUT / "plain", PreTrainedTokenizerFast)
    write_ids(OUT / "charsmap", T5Tokenizer)


if __name__ == "__main__":
    main()
