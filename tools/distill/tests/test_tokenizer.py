from __future__ import annotations

from transformers import AutoTokenizer

from distill import data, sources, tokenizer

CAPTIONS = [sources.scene(1, i).caption for i in range(300)]


def test_every_caption_word_is_one_token():
    words = tokenizer.build()
    for caption in CAPTIONS:
        encoding = words.encode(caption)
        assert encoding.ids[-1] == tokenizer.EOS
        assert len(encoding.ids) == len(caption.split()) + 1
        assert tokenizer.UNK not in encoding.ids
        assert words.decode(encoding.ids) == caption
        assert len(encoding.ids) <= 24


def test_unknown_words_are_spelled():
    tokens = tokenizer.build().encode("a quoll").tokens
    assert tokens == ["▁a", "▁", "q", "u", "o", "l", "l", "</s>"]


def test_transformers_reads_the_saved_files(tmp_path):
    tokenizer.save(tmp_path)
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), tokenizer.build()
    for caption in [*CAPTIONS, "", "a quoll, two 7s"]:
        assert theirs(caption).input_ids == ours.encode(caption).ids
    padded = theirs("a cat", padding="max_length", max_length=120, truncation=True)
    assert padded.input_ids[:4] == [*ours.encode("a cat").ids, tokenizer.PAD]
    assert sum(padded.attention_mask) == 3
    assert (theirs.pad_token_id, theirs.eos_token_id, theirs.unk_token_id) == (0, 1, 2)


def test_encode_pads_and_cuts():
    rows = tokenizer.encode(tokenizer.build(), ["  A Cat ", "", "a cat and a dog"], 4)
    ids = tokenizer.build().get_vocab()
    assert rows[0].tolist() == [ids["▁a"], ids["▁cat"], tokenizer.EOS, tokenizer.PAD]
    assert rows[1].tolist() == [tokenizer.EOS, 0, 0, 0]
    assert rows[2].tolist() == [ids["▁a"], ids["▁cat"], ids["▁and"], tokenizer.EOS]


def test_vocabulary_has_no_duplicates():
    vocabulary = [piece for piece, _ in tokenizer.describe()["model"]["vocab"]]
    assert len(vocabulary) == len(set(vocabulary))
    assert {"▁" + w for w in data.words()} <= set(vocabulary)
