"""The noise schedule, v-prediction, and the networks bundled for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from . import tokenizer
from .model import T2MDTransformer, initialise

STEPS = 1000
BETAS = (1e-4, 0.02)


def signal_level() -> Tensor:
    """The share a_t of signal power after step t, [1000]."""
    return torch.cumprod(1 - torch.linspace(*BETAS, STEPS), 0)


def noisy(x: Tensor, noise: Tensor, t: Tensor, levels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """-> (x_t, sqrt(a), sqrt(1 - a)); x_t = sqrt(a) x + sqrt(1 - a) noise"""
    a = levels[t].view(-1, 1, 1, 1)
    signal, sigma = a.sqrt(), (1 - a).sqrt()
    return signal * x + sigma * noise, signal, sigma


def epsilon(v: Tensor, x_t: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
    """What v = sqrt(a) noise - sqrt(1 - a) x says about the noise."""
    return signal * v + sigma * x_t


def draw_times(count: int, generator: torch.Generator, uniform: float, mean: float, spread: float) -> Tensor:
    """Stratified times; a `uniform` share of the batches covers 0..999 evenly, the rest is logit-normal."""
    even = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    if torch.rand((), generator=generator) >= uniform:
        even = torch.sigmoid(mean + spread * torch.special.ndtri(even.clamp(1e-4, 1 - 1e-4)))
    return (even * STEPS).long().clamp(0, STEPS - 1)


def build_text_encoder(vocabulary: int, width: int = 192, layers: int = 3, heads: int = 4) -> T5EncoderModel:
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=width // heads,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        is_encoder_decoder=False,
        is_decoder=False,
        use_cache=False,
        pad_token_id=tokenizer.PAD,
        eos_token_id=tokenizer.EOS,
    )
    return T5EncoderModel(config)


class Denoiser(nn.Module):
    """Text encoder and transformer: token ids in, v out."""

    def __init__(self, text_encoder: T5EncoderModel, transformer: T2MDTransformer):
        super().__init__()
        self.text_encoder, self.transformer = text_encoder, transformer

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids [B, L] -> embeds [B, L, caption_channels], mask [B, L]"""
        mask = (ids != tokenizer.PAD).long()
        return self.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask

    def forward(self, x_t: Tensor, ids: Tensor, t: Tensor, mixers: list | None = None) -> Tensor:
        embeds, mask = self.encode(ids)
        return self.transformer(x_t, embeds, mask, t, mixers)


def build_denoiser(cfg: dict, mixers: list[str], vocabulary: int) -> Denoiser:
    text = build_text_encoder(vocabulary, cfg["text_width"], cfg["text_layers"])
    width = cfg["heads"] * cfg["head_dim"]
    transformer = T2MDTransformer(
        num_attention_heads=cfg["heads"],
        attention_head_dim=cfg["head_dim"],
        num_layers=len(mixers),
        caption_channels=cfg["text_width"],
        cross_attention_dim=width,
        sample_size=cfg["sample_size"],
        token_mixers=mixers,
        mamba_d_state=cfg["d_state"],
        mamba_head_dim=cfg.get("mamba_head_dim", 64),
        pos_embed_type="centered_sincos",
        pos_embed_base_size=cfg["sample_size"] // 2,
    )
    initialise(transformer)
    return Denoiser(text, transformer)
