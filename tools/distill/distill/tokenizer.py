"""A T5-style `tokenizer.json` whose pieces are the caption words, with single letters as the fallback."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from . import data

PAD, EOS, UNK = 0, 1, 2
SPECIAL = ("<pad>", "</s>", "<unk>")


def _special(i: int, content: str) -> dict:
    return dict(id=i, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)


def describe() -> dict:
    """The content of tokenizer.json.

    Unigram picks the most probable split: a whole word costs 2 nats, every piece of a spelled-out one 10, so a known
    word is always one token.
    """
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    vocabulary: list[list] = [[s, 0.0] for s in SPECIAL]
    vocabulary += [["▁" + w, -2.0] for w in data.words()]
    vocabulary += [[c, -10.0] for c in "▁" + string.ascii_lowercase + string.digits + ".,-'"]
    vocabulary = list({piece: [piece, score] for piece, score in reversed(vocabulary)}.values())[::-1]
    sequence = [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    pair = [*sequence, {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(i, s) for i, s in enumerate(SPECIAL)],
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": sequence,
            "pair": pair,
            "special_tokens": {"</s>": {"id": "</s>", "ids": [EOS], "tokens": ["</s>"]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": UNK, "vocab": vocabulary, "byte_fallback": False},
    }


def build() -> Tokenizer:
    return Tokenizer.from_str(json.dumps(describe()))


def fast() -> PreTrainedTokenizerFast:
    """The same, with the interface of transformers."""
    return PreTrainedTokenizerFast(tokenizer_object=build(), eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def save(directory: Path) -> None:
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(describe(), ensure_ascii=False, indent=1) + "\n")
    config = {
        "backend": "tokenizers",
        "eos_token": "</s>",
        "extra_ids": 0,
        "extra_special_tokens": [],
        "model_max_length": 120,
        "pad_token": "<pad>",
        "tokenizer_class": "T5Tokenizer",
        "unk_token": "<unk>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def encode(tokenizer: Tokenizer, captions: list[str], length: int) -> np.ndarray:
    """-> int16 [B, length], padded; a caption that is too long keeps its end token."""
    out = np.full((len(captions), length), PAD, np.int16)
    for row, caption in zip(out, captions, strict=True):
        ids = tokenizer.encode(caption.lower().strip()).ids
        if len(ids) > length:
            ids = [*ids[: length - 1], EOS]
        row[: len(ids)] = ids
    return out
