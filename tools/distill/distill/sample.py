"""Pictures from prompts, with diffusers' own DPM-Solver++."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from . import tokenizer, vae
from .diffusion import Denoiser, miniature_scheduler


def solver_of(pipeline: Path) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ with the noise and the prediction of a pipeline's scheduler/"""
    config = json.loads((Path(pipeline) / "scheduler" / "scheduler_config.json").read_text())
    return DPMSolverMultistepScheduler.from_config({k: v for k, v in config.items() if k[0] != "_"})


def seeded_noise(seed: int, height: int, width: int) -> Tensor:
    """-> [1, 4, height / 8, width / 8], what a diffusers pipeline draws for this seed"""
    return torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def sample_latents(
    model: Denoiser,
    ids: Tensor,
    noise: Tensor,
    steps: int,
    guidance: float,
    autocast: bool = True,
    trace: list[Tensor] | None = None,
    solver: DPMSolverMultistepScheduler | None = None,
) -> Tensor:
    """ids [B, L], noise [B, 4, h, w] -> latents [B, 4, h, w], on the model's device; `trace` receives the latents
    after every step."""
    device = next(model.parameters()).device
    ids, noise = ids.to(device), noise.to(device)
    solver = solver or miniature_scheduler()
    solver.set_timesteps(steps)
    empty = torch.full_like(ids, tokenizer.PAD)
    empty[:, 0] = tokenizer.EOS
    latents = noise * solver.init_noise_sigma
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        embeds, mask = model.encode(torch.cat([empty, ids]))
        for t in solver.timesteps:
            both = torch.cat([latents, latents])
            v = model(both, embeds, mask, t.to(device).expand(len(both))).float()
            unconditional, conditional = v.chunk(2)
            v = unconditional + guidance * (conditional - unconditional)
            latents = solver.step(v, t, latents).prev_sample
            if trace is not None:
                trace.append(latents)
    return latents


@torch.no_grad()
def decode(autoencoder: AutoencoderKL, latents: Tensor) -> np.ndarray:
    """Latents [B, 4, h, w] of the exported (normalised) autoencoder -> uint8 [B, H, W, 3]"""
    with torch.autocast(autoencoder.device.type, torch.bfloat16):
        parts = [autoencoder.decode(part).sample for part in latents.to(autoencoder.device).split(16)]
        return np.concatenate([vae.to_pictures(part) for part in parts])


def pictures(
    model: Denoiser,
    autoencoder: AutoencoderKL,
    prompts: list[str],
    seeds: list[int],
    steps: int = 20,
    guidance: float = 3.0,
    size: int = 128,
    batch: int = 32,
    words: PreTrainedTokenizerBase | None = None,
    solver: DPMSolverMultistepScheduler | None = None,
) -> np.ndarray:
    """-> uint8 [N, size, size, 3]; `words` and `solver` are the pipeline's, else the miniature's"""
    if words is None:
        ids = torch.from_numpy(tokenizer.encode(tokenizer.build(), prompts, 32)).long()
    else:
        lower = [p.lower().strip() for p in prompts]
        ids = words(lower, padding="longest", truncation=True, max_length=120, return_tensors="pt").input_ids
    noise = torch.cat([seeded_noise(s, size, size) for s in seeds])
    count, batch = len(ids), min(batch, len(ids))
    parts = []
    for start in range(0, count, batch):
        first = min(start, count - batch)  # the last part is as large as the others: one shape for a compiled model
        i, n = ids[first : first + batch], noise[first : first + batch]
        parts.append(sample_latents(model, i, n, steps, guidance, solver=solver)[start - first :])
    return decode(
        autoencoder, torch.cat(parts) / autoencoder.config.scaling_factor + (autoencoder.config.shift_factor or 0)
    )
