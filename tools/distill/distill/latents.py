"""The training set: captions and normalised latents of rendered scenes, kept in one file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from . import data, tokenizer, vae
from .loop import save_atomic

TEXT_LENGTH = 24


def scene(seed: int, index: int) -> data.Scene:
    return data.make_scene(np.random.default_rng((seed, index)))


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, pictures: np.ndarray) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> posterior means [B, 4, H / 8, W / 8] in float32"""
    with torch.autocast("cpu", torch.bfloat16):
        return autoencoder.encode(vae.to_tensor(pictures)).latent_dist.mode().float()


def build(cfg: dict, autoencoder: AutoencoderKL, path: Path, resolution: int = data.BASE, batch: int = 64) -> dict:
    """-> {"latents" float16 [N, 4, h, w], mean 0 and variance 1 per channel, "ids" int16 [N, L], "mean", "std"}"""
    if Path(path).exists():
        return torch.load(path, weights_only=True)
    # In inference the weights' conversion is not worth redoing at every call.
    autoencoder = autoencoder.to(memory_format=torch.channels_last)
    words = tokenizer.build()
    latents, ids = [], []
    for start in range(0, cfg["count"], batch):
        scenes = [scene(cfg["seed"], i) for i in range(start, min(start + batch, cfg["count"]))]
        latents.append(encode(autoencoder, np.stack([data.render(s, resolution) for s in scenes])))
        ids.append(tokenizer.encode(words, [s.caption for s in scenes], TEXT_LENGTH))
        if start // batch % 100 == 0:
            print(json.dumps({"stage": "latents", "done": start + len(scenes)}), flush=True)
    z = torch.cat(latents)
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    z = (z - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
    out = {"latents": z.half(), "ids": torch.from_numpy(np.concatenate(ids)), "mean": mean, "std": std}
    save_atomic(out, path)
    return out


def describe(s: data.Scene) -> dict:
    return asdict(s)
