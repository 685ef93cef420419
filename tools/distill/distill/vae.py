"""The autoencoder: diffusers' AutoencoderKL, trained on rendered scenes, with unit-variance latents when exported."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from . import config, data
from .loop import Loop


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
    return x.permute(0, 2, 3, 1).clamp(0, 255).byte().cpu().numpy()


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
    with torch.autocast(vae.device.type, torch.bfloat16):
        parts = [vae.decode(vae.encode(b.to(vae.device)).latent_dist.mode()).sample.float() for b in x.split(16)]
    return torch.cat(parts).to(x.device)


def held_out(count: int = 64) -> Tensor:
    return to_tensor(np.stack([data.render(data.make_scene(np.random.default_rng(10**9 + i))) for i in range(count)]))


@torch.no_grad()
def encode(autoencoder: AutoencoderKL, pictures: np.ndarray) -> Tensor:
    """uint8 [B, H, W, 3] -> the latents that a denoiser sees, [B, C, H / 8, W / 8] in float32"""
    x = to_tensor(pictures).to(autoencoder.device)
    with torch.autocast(x.device.type, torch.bfloat16):
        z = autoencoder.encode(x).latent_dist.mode().float()
    return (z - (autoencoder.config.shift_factor or 0)) * autoencoder.config.scaling_factor


class Reconstruction(nn.Module):
    def __init__(self, student: AutoencoderKL, kl: float):
        super().__init__()
        self.student, self.kl = student, kl

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """batch: pictures [B, 3, H, W], noise [B, 4, H / 8, W / 8]"""
        x, noise = batch
        posterior = self.student.encode(x).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        y = self.student.decode(mean + (0.5 * logvar).exp() * noise).sample.float()
        losses = reconstruction_loss(y, x)
        losses["kl"] = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        losses["loss"] = losses["l1"] + losses["l2"] + 0.5 * losses["edges"] + self.kl * losses["kl"]
        return losses


def train(cfg: config.Vae, directory: Path) -> AutoencoderKL:
    """-> the averaged autoencoder with unit-variance latents"""
    torch.manual_seed(0)
    model = build(cfg.channels, cfg.groups).to(memory_format=torch.channels_last)
    loop = Loop(directory, Reconstruction(model, cfg.kl), cfg, adam_only=("conv_in", "conv_out", "quant_conv"))
    test = held_out(cfg.held_out)
    rank, size = loop.accelerator.process_index, loop.accelerator.num_processes

    def batches(i: int) -> tuple[Tensor, Tensor]:
        x = to_tensor(data.autoencoder_batch(np.random.default_rng((1, i)), cfg.batch))
        noise = torch.randn(len(x), 4, *(n // 8 for n in x.shape[2:]), generator=torch.Generator().manual_seed(i))
        return x[rank::size], noise[rank::size]

    average = loop.run(batches, lambda average: {"psnr": psnr(reconstruct(average, test), test)})
    return fold_statistics(average, *statistics(average, cfg.held_out * 16))


@torch.no_grad()
def statistics(vae: AutoencoderKL, count: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel of the latents of `count` scenes"""
    z = torch.cat(
        [
            encode(
                vae, np.stack([data.render(data.make_scene(np.random.default_rng((9, i)))) for i in range(s, s + 32)])
            )
            for s in range(0, count, 32)
        ]
    )
    return z.mean((0, 2, 3)), z.std((0, 2, 3))


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
