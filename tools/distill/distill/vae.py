"""The autoencoder: diffusers' AutoencoderKL, trained on rendered scenes, with unit-variance latents when exported."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from . import data
from .loop import Loop
from .muon import Muon, groups_for


def build(channels=(16, 32, 64, 128), groups: int = 8) -> AutoencoderKL:
    levels = len(channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=groups,
        sample_size=data.BASE,
        scaling_factor=1.0,
    )


def to_tensor(pictures: np.ndarray) -> Tensor:
    """uint8 [B, H, W, 3] -> float [B, 3, H, W] in -1..1, channels last in memory."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def to_pictures(x: Tensor) -> np.ndarray:
    """float [B, 3, H, W] in -1..1 -> uint8 [B, H, W, 3]"""
    x = (x.float().clamp(-1, 1) + 1) * 127.5 + 0.5
    return x.permute(0, 2, 3, 1).clamp(0, 255).byte().numpy()


def gradient_loss(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance of the finite differences of two pictures [B, 3, H, W]: keeps the thin lines a pixel loss drops."""
    e = a - b
    return (e[..., 1:] - e[..., :-1]).abs().mean() + (e[..., 1:, :] - e[..., :-1, :]).abs().mean()


def reconstruction_loss(y: Tensor, x: Tensor) -> dict[str, Tensor]:
    error = y - x
    l1, l2 = error.abs().mean(), error.square().mean()
    edges = gradient_loss(y, x) + gradient_loss(F.avg_pool2d(y, 2), F.avg_pool2d(x, 2))
    return {"l1": l1, "l2": l2, "edges": edges}


def psnr(y: Tensor, x: Tensor) -> float:
    """Mean over the pictures, in dB, for values in -1..1."""
    mse = (y.float().clamp(-1, 1) - x).square().mean((1, 2, 3)) / 4
    return float((-10 * mse.log10()).mean())


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([vae.decode(vae.encode(b).latent_dist.mode()).sample.float() for b in x.split(16)])


def held_out(count: int = 64) -> Tensor:
    return to_tensor(np.stack([data.render(data.make_scene(np.random.default_rng(10**9 + i))) for i in range(count)]))


def with_average(vae: AutoencoderKL, loop: Loop) -> AutoencoderKL:
    average = copy.deepcopy(vae).eval()
    average.load_state_dict(vae.state_dict() | loop.ema.shadow)
    return average


def train(cfg: dict, directory: Path) -> AutoencoderKL:
    torch.manual_seed(0)
    vae = build(cfg["channels"], cfg["groups"]).to(memory_format=torch.channels_last)
    optimizer = Muon(groups_for(vae, cfg["lr"], cfg["adam_lr"], exclude=("conv_in", "conv_out", "quant_conv")))
    loop = Loop(directory, vae, optimizer, cfg["seconds"], ema=0.995, max_steps=cfg.get("max_steps"), decay=0.5)
    test = held_out(cfg.get("held_out", 64))

    def step(i: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((1, i))
        x = to_tensor(data.autoencoder_batch(rng, cfg["batch"]))
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(i))
            y = vae.decode(mean + (0.5 * logvar).exp() * noise).sample.float()
        losses = reconstruction_loss(y, x)
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        losses["kl"] = kl
        losses["loss"] = losses["l1"] + losses["l2"] + 0.5 * losses["edges"] + cfg["kl"] * kl
        return losses

    def evaluate() -> dict[str, float]:
        return {"psnr": psnr(reconstruct(with_average(vae, loop), test), test)}

    loop.run(step, evaluate, cfg.get("evaluate_every", 180.0))
    return with_average(vae, loop)


def load(directory: Path, cfg: dict) -> AutoencoderKL:
    """The averaged weights of a (perhaps unfinished) run."""
    state = torch.load(Path(directory) / "state.pt", weights_only=True)
    vae = build(cfg["channels"], cfg["groups"])
    vae.load_state_dict(state["model"] | state["ema"]["shadow"])
    return vae.eval()


@torch.no_grad()
def fold_statistics(vae: AutoencoderKL, mean: Tensor, std: Tensor) -> AutoencoderKL:
    """-> a copy whose latents are (z - mean) / std per channel, and which decodes such latents; mean, std: [4].

    The encoder's 1x1 `quant_conv` and the decoder's 1x1 `post_quant_conv` absorb the affine maps, so the result is an
    ordinary AutoencoderKL with scaling factor 1.
    """
    vae = copy.deepcopy(vae)
    quant, post = vae.quant_conv, vae.post_quant_conv
    c = len(mean)
    quant.weight[:c] /= std.view(-1, 1, 1, 1)
    quant.bias[:c] = (quant.bias[:c] - mean) / std
    quant.bias[c:] -= 2 * std.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0, shift_factor=None)
    return vae
