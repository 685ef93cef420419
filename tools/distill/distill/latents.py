"""The stage that runs the fixed networks once: pictures to latents, captions to tokens or embeddings, all to shards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5EncoderModel

from . import config, parallel, shards, sources, vae


@dataclass
class Encoders:
    """The parts that are fixed; without a text encoder the shards hold tokens, and it runs in the training loop."""

    autoencoder: AutoencoderKL
    tokenizer: PreTrainedTokenizerBase
    text_encoder: T5EncoderModel | None = None

    @classmethod
    def of(cls, pipeline: Path, text: bool) -> Encoders:
        pipeline = Path(pipeline)
        device = parallel.accelerator().device
        encoder = None
        if text:
            # T5 overflows in float16.
            encoder = T5EncoderModel.from_pretrained(
                pipeline / "text_encoder", dtype=torch.bfloat16 if device.type == "cuda" else torch.float32
            )
            encoder = encoder.to(device).eval()
        autoencoder = AutoencoderKL.from_pretrained(pipeline / "vae", torch_dtype=torch.float32)
        return cls(autoencoder.to(device).eval(), AutoTokenizer.from_pretrained(pipeline / "tokenizer"), encoder)

    def tokens(self, captions: list[str], length: int) -> list[np.ndarray]:
        """As the pipelines do it: lower case, stripped, cut to `length`, here without padding."""
        rows = self.tokenizer([c.lower().strip() for c in captions], truncation=True, max_length=length).input_ids
        return [np.array(row, np.int32) for row in rows]

    @torch.no_grad()
    def texts(self, captions: list[str], length: int) -> list[dict[str, np.ndarray]]:
        ids = self.tokens(captions, length)
        if self.text_encoder is None:
            return [{"ids": row} for row in ids]
        longest = max(map(len, ids))
        padded = torch.zeros(len(ids), longest, dtype=torch.long)
        mask = torch.zeros_like(padded)
        for i, row in enumerate(ids):
            padded[i, : len(row)] = torch.from_numpy(row)
            mask[i, : len(row)] = 1
        device = self.text_encoder.device
        embeds = self.text_encoder(input_ids=padded.to(device), attention_mask=mask.to(device)).last_hidden_state
        embeds = embeds.float().cpu().numpy().astype(np.float16)
        return [{"embeds": e[: len(row)]} for e, row in zip(embeds, ids, strict=True)]

    def latents(self, pictures: np.ndarray) -> Tensor:
        """uint8 [B, H, W, 3] -> [B, C, H / 8, W / 8] in float32, as the denoiser sees them"""
        return vae.encode(self.autoencoder, pictures)


def build(cfg: config.Latents, size: int, count: int, encoders: Encoders, directory: Path) -> None:
    """Write the shards of one size. Processes share the pieces; what is finished is not made again."""
    directory = Path(directory)
    if (directory / "index.json").exists():
        return
    accelerator = parallel.accelerator()
    encoders.autoencoder.to(memory_format=torch.channels_last)
    train, held = sources.pieces(cfg, size, count)
    names = [f"train-{i:06d}.tar" for i in range(len(train))]
    writer = shards.Writer(directory)

    def samples(piece: sources.Piece) -> Iterator[dict[str, np.ndarray]]:
        items = piece()
        while part := list(itertools.islice(items, cfg.batch)):
            pictures, captions = np.stack([p for p, _ in part]), [c for _, c in part]
            latents = encoders.latents(pictures).cpu().numpy().astype(np.float16)
            for latent, text in zip(latents, encoders.texts(captions, cfg.text_length), strict=True):
                yield {"latent": latent} | text

    jobs = [("held.tar", held), *zip(names, train, strict=True)]
    for name, piece in jobs[accelerator.process_index :: accelerator.num_processes]:
        if not writer.done(name):
            writer.write(name, samples(piece))
            print(json.dumps({"stage": "latents", "size": size, "shard": name, "of": len(names)}), flush=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        (empty,) = encoders.texts([""], cfg.text_length)
        if "embeds" in empty:
            np.save(directory / "empty.npy", empty["embeds"])
        index = [{"file": n, "count": writer.count(n)} for n in names]
        writer.finish(size=size, empty="empty.npy" if "embeds" in empty else empty["ids"].tolist(), train=index)
    accelerator.wait_for_everyone()
