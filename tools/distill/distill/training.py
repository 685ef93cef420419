"""Training on the data's error alone: the teacher from nothing, the adapted student, the high-resolution phases."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import config, parallel
from .diffusion import Batch, Denoiser, Schedule
from .loop import Loop

# Muon is for the matrices inside; these are tables, the input, the output or too thin.
ADAM_ONLY = ("shared", "relative_attention_bias", "pos_embed", "timestep_embedder", "proj_out", "conv1d")


class DataLoss(nn.Module):
    def __init__(self, student: Denoiser, schedule: Schedule):
        super().__init__()
        self.student, self.schedule = student, schedule

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x_t, signal, sigma = self.schedule.noisy(batch)
        out = self.student(x_t, batch.text, batch.mask, batch.t)
        return {"loss": (out.float() - self.schedule.target(batch, signal, sigma)).square().mean()}


@torch.no_grad()
def held_out_errors(model: Denoiser, batches: Iterable[Batch], schedule: Schedule) -> dict[str, float]:
    """Mean squared errors of what the network predicts and of epsilon, on latents that are never trained on."""
    totals, count = np.zeros(2), 0
    device = model.device
    for batch in batches:
        batch = parallel.to_device(batch, device)
        x_t, signal, sigma = schedule.noisy(batch)
        out = model(x_t, batch.text, batch.mask, batch.t).float()
        error = (out - schedule.target(batch, signal, sigma)).square().mean()
        eps = (schedule.epsilon(out, x_t, signal, sigma) - batch.noise).square().mean()
        totals += len(batch.x) * np.array([float(error), float(eps)])
        count += len(batch.x)
    return {"held_out": totals[0] / count, "held_out_eps": totals[1] / count}


def run(step: nn.Module, cfg: config.Diffusion, stream, directory: Path) -> Denoiser:
    """`stream(i)` gives batch i, `stream.held_out()` the test's; what requires no gradient stays. -> the average"""
    step.student.transformer.checkpointing = cfg.checkpointing
    loop = Loop(directory, step, cfg, adam_only=ADAM_ONLY)
    average = loop.run(stream, lambda average: held_out_errors(average, stream.held_out(), step.schedule))
    return parallel.whole(average, average.blank()) if cfg.sharded else average
