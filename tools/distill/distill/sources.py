"""Pictures with captions, cut into pieces that one shard each is made of."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import webdataset as wds
from PIL import Image

from . import config, data
from .errors import DistillError

Piece = Callable[[], Iterator[tuple[np.ndarray, str]]]
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def pieces(cfg: config.Latents, size: int, count: int) -> tuple[list[Piece], Piece]:
    """-> what the training shards are made of, and the held-out piece; pictures are uint8 [size, size, 3]"""
    if cfg.source == "scenes":
        return scene_pieces(cfg, size, count)
    if cfg.source == "folder":
        return folder_pieces(cfg, size, count)
    return tar_pieces(cfg, size, count)


def scene(seed: int, index: int) -> data.Scene:
    return data.make_scene(np.random.default_rng((seed, index)))


def scene_pieces(cfg: config.Latents, size: int, count: int) -> tuple[list[Piece], Piece]:
    def piece(start: int, stop: int) -> Piece:
        def run() -> Iterator[tuple[np.ndarray, str]]:
            for i in range(start, stop):
                s = scene(cfg.seed, i)
                yield data.render(s, size), s.caption

        return run

    ends = range(0, count, cfg.shard)
    return [piece(s, min(s + cfg.shard, count)) for s in ends], piece(count, count + cfg.held_out)


def fit(picture: Image.Image, size: int) -> np.ndarray:
    """The largest centred square, resized."""
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    square = picture.convert("RGB").resize((size, size), Image.Resampling.LANCZOS, (left, top, left + edge, top + edge))
    return np.asarray(square)


def captions(folder: Path) -> list[tuple[Path, str]]:
    """Every picture below `folder` whose caption is in a .txt of the same name or in a metadata.jsonl of its folder
    ({"file_name": ..., "text": ...}, as Hugging Face's imagefolder has it), in the order of the names."""
    described: dict[Path, str] = {}
    for table in sorted(folder.rglob("metadata.jsonl")):
        for line in table.read_text().splitlines():
            row = json.loads(line)
            described[table.parent / row["file_name"]] = row["text"]
    for picture in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        words = picture.with_suffix(".txt")
        if words.exists():
            described[picture] = words.read_text().strip()
    return sorted(described.items())


def folder_pieces(cfg: config.Latents, size: int, count: int) -> tuple[list[Piece], Piece]:
    files = captions(Path(cfg.path))
    files = files[: count + cfg.held_out] if count else files
    if len(files) <= cfg.held_out:
        raise DistillError(
            f"{cfg.path}: {len(files)} pictures with captions, expected more than held_out = {cfg.held_out}"
        )

    def piece(part: list[tuple[Path, str]]) -> Piece:
        def run() -> Iterator[tuple[np.ndarray, str]]:
            for path, caption in part:
                with Image.open(path) as picture:
                    yield fit(picture, size), caption

        return run

    train, held = files[: -cfg.held_out], files[-cfg.held_out :]
    return [piece(train[s : s + cfg.shard]) for s in range(0, len(train), cfg.shard)], piece(held)


def tar_pieces(cfg: config.Latents, size: int, count: int) -> tuple[list[Piece], Piece]:
    """One shard from each tar (jpg, png or webp, and txt or json with "caption"); the last tar is held out."""
    urls = [
        u
        for pattern in wds.shardlists.expand_urls(cfg.path)
        for u in (sorted(glob.glob(pattern)) if "*" in pattern else [pattern])
    ]
    if len(urls) < 2:
        raise DistillError(f"{cfg.path}: {len(urls)} tars, expected two or more (the last is held out)")

    def piece(url: str, most: int | None) -> Piece:
        def run() -> Iterator[tuple[np.ndarray, str]]:
            for sample in islice(wds.WebDataset(url, shardshuffle=False, nodesplitter=iter).decode("pil"), most):
                picture = next((sample[e[1:]] for e in SUFFIXES if e[1:] in sample), None)
                words = sample.get("txt") or sample.get("json", {}).get("caption")
                if picture is not None and words:
                    yield fit(picture, size), words

        return run

    train = urls[:-1][: -(-count // cfg.shard)] if count else urls[:-1]
    return [piece(u, None) for u in train], piece(urls[-1], cfg.held_out)
