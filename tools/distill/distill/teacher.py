"""The teacher: every mixer is attention; trained with the text encoder on v-prediction."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from . import tokenizer
from .diffusion import Denoiser, build_denoiser, draw_times, epsilon, noisy, signal_level
from .loop import Loop
from .muon import Muon, groups_for

ADAM_ONLY = ("shared", "relative_attention_bias", "pos_embed", "timestep_embedder", "proj_out", "conv1d")


class Batches:
    """Batch i of a training set: latents, captions (some dropped), times and noise, all drawn from (seed, i)."""

    def __init__(self, dataset: dict, cfg: dict, seed: int):
        self.latents, self.ids, self.cfg, self.seed = dataset["latents"], dataset["ids"], cfg, seed
        self.train = len(self.latents) - cfg.get("held_out", 512)

    def __call__(self, i: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> x [B, 4, h, w], ids [B, L], t [B], noise like x"""
        g = torch.Generator().manual_seed((self.seed << 32) + i)
        rows = torch.randint(self.train, (self.cfg["batch"],), generator=g)
        x, ids = self.latents[rows].float(), self.ids[rows].long()
        drop = torch.rand(len(rows), generator=g) < self.cfg["caption_drop"]
        empty = torch.full_like(ids[0], tokenizer.PAD)
        empty[0] = tokenizer.EOS
        ids = torch.where(drop[:, None], empty, ids)
        t = draw_times(len(rows), g, self.cfg["uniform"], self.cfg["time_mean"], self.cfg["time_spread"])
        return x, trim(ids), t, torch.randn(x.shape, generator=g)

    def held_out(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, ids = self.latents[self.train :].float(), self.ids[self.train :].long()
        g = torch.Generator().manual_seed(0)
        t = ((torch.arange(len(x)) * 1000) // len(x))[torch.randperm(len(x), generator=g)]
        return x, trim(ids), t, torch.randn(x.shape, generator=g)


def trim(ids: Tensor) -> Tensor:
    """Cut the columns that are padding in every row."""
    return ids[:, : int((ids != tokenizer.PAD).sum(1).max())]


def v_loss(v: Tensor, x: Tensor, noise: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
    return (v.float() - (signal * noise - sigma * x)).square().mean()


@torch.no_grad()
def held_out_errors(model: Denoiser, batches: Batches, levels: Tensor) -> dict[str, float]:
    """Mean squared errors of v and epsilon on latents that are never trained on."""
    totals = np.zeros(2)
    x, ids, t, noise = batches.held_out()
    for part in torch.arange(len(x)).split(64):
        x_t, signal, sigma = noisy(x[part], noise[part], t[part], levels)
        with torch.autocast("cpu", torch.bfloat16):
            v = model(x_t, ids[part], t[part]).float()
        error = epsilon(v, x_t, signal, sigma) - noise[part]
        totals += len(part) * np.array([v_loss(v, x[part], noise[part], signal, sigma), error.square().mean()])
    return {"held_out_v": totals[0] / len(x), "held_out_eps": totals[1] / len(x)}


def with_average(model: Denoiser, loop: Loop) -> Denoiser:
    average = copy.deepcopy(model).eval()
    average.load_state_dict(model.state_dict() | loop.ema.shadow)
    return average


def build(cfg: dict, mixers: list[str] | None = None) -> Denoiser:
    torch.manual_seed(1)
    blocks = mixers or ["attention"] * len(cfg["mixers"])
    return build_denoiser(cfg, blocks, tokenizer.build().get_vocab_size())


def train(model_cfg: dict, cfg: dict, dataset: dict, directory: Path) -> Denoiser:
    model = build(model_cfg)
    optimizer = Muon(groups_for(model, cfg["lr"], cfg["adam_lr"], ADAM_ONLY))
    loop = Loop(directory, model, optimizer, cfg["seconds"], cfg["ema"], cfg.get("max_steps"), decay=cfg["decay"])
    batches, levels = Batches(dataset, cfg, seed=2), signal_level()

    def step(i: int) -> dict[str, Tensor]:
        x, ids, t, noise = batches(i)
        x_t, signal, sigma = noisy(x, noise, t, levels)
        with torch.autocast("cpu", torch.bfloat16):
            v = model(x_t, ids, t)
        return {"loss": v_loss(v, x, noise, signal, sigma)}

    def evaluate() -> dict[str, float]:
        return held_out_errors(with_average(model, loop), batches, levels)

    loop.run(step, evaluate, cfg.get("evaluate_every", 240.0))
    return with_average(model, loop)


def load(model_cfg: dict, directory: Path, mixers: list[str] | None = None) -> Denoiser:
    """The averaged weights of a (perhaps unfinished) run."""
    state = torch.load(Path(directory) / "state.pt", weights_only=True)
    model = build(model_cfg, mixers)
    model.load_state_dict(state["model"] | state["ema"]["shadow"])
    return model.eval()
