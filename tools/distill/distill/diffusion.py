"""The noise schedule, what the network predicts, and the networks bundled for training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel

from . import tokenizer
from .config import Model
from .errors import DistillError
from .model import T2MDTransformer2DModel, initialise

STEPS = 1000


class Batch(NamedTuple):
    """x [B, C, h, w] latents, text: ids [B, L] or embeddings [B, L, C], mask [B, L], t [B], noise like x"""

    x: Tensor
    text: Tensor
    mask: Tensor
    t: Tensor
    noise: Tensor


def miniature_scheduler() -> DPMSolverMultistepScheduler:
    """PixArt-alpha's schedule of noise, with v-prediction."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=STEPS,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
    )


@dataclass(frozen=True)
class Schedule:
    """levels [1000]: the share of signal power after each step; prediction: "epsilon" or "v_prediction"."""

    levels: Tensor
    prediction: str

    @classmethod
    def miniature(cls) -> Schedule:
        solver = miniature_scheduler()
        return cls(solver.alphas_cumprod.float(), solver.config.prediction_type)

    @classmethod
    def of(cls, directory: Path) -> Schedule:
        """Reads a pipeline's scheduler/, whatever class it names."""
        directory = Path(directory)
        path = directory / "scheduler" / "scheduler_config.json"
        try:
            config = json.loads(path.read_text())
        except OSError as error:
            raise DistillError(
                f"{path}: {error.strerror}; a pipeline directory as diffusers saves it has one"
            ) from error
        scheduler = DDPMScheduler.from_config({k: v for k, v in config.items() if k[0] != "_"})
        if scheduler.config.prediction_type not in ("epsilon", "v_prediction"):
            raise DistillError(
                f"{path}: prediction_type {scheduler.config.prediction_type!r}, expected epsilon or v_prediction"
            )
        return cls(scheduler.alphas_cumprod.float(), scheduler.config.prediction_type)

    def noisy(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """-> (x_t, sqrt(a), sqrt(1 - a)); x_t = sqrt(a) x + sqrt(1 - a) noise"""
        a = self.levels.to(batch.t.device)[batch.t].view(-1, 1, 1, 1)
        signal, sigma = a.sqrt(), (1 - a).sqrt()
        return signal * batch.x + sigma * batch.noise, signal, sigma

    def target(self, batch: Batch, signal: Tensor, sigma: Tensor) -> Tensor:
        return batch.noise if self.prediction == "epsilon" else signal * batch.noise - sigma * batch.x

    def epsilon(self, out: Tensor, x_t: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        """What the network's output says about the noise."""
        return out if self.prediction == "epsilon" else signal * out + sigma * x_t


def draw_times(count: int, generator: torch.Generator, uniform: float, mean: float, spread: float) -> Tensor:
    """Stratified times; a `uniform` share of the batches covers 0..999 evenly, the rest is logit-normal."""
    even = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    even = even[torch.randperm(count, generator=generator)]
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
    """Text encoder (or none, where the captions come embedded) and transformer: v or epsilon out."""

    def __init__(self, text_encoder: T5EncoderModel | None, transformer: T2MDTransformer2DModel):
        super().__init__()
        self.text_encoder, self.transformer = text_encoder, transformer

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def blank(self) -> Denoiser:
        """Another of the same shape, its weights at random."""
        encoder = None if self.text_encoder is None else T5EncoderModel(self.text_encoder.config)
        return Denoiser(encoder, T2MDTransformer2DModel(**self.transformer.config)).eval()

    def embed(self, text: Tensor, mask: Tensor) -> Tensor:
        """ids [B, L] -> [B, L, caption_channels]; embeddings are passed on. Not for `forward`, as `mix` is not."""
        return self._embed(text, mask)

    def _embed(self, text: Tensor, mask: Tensor) -> Tensor:
        if text.is_floating_point():
            return text
        return self.text_encoder(input_ids=text, attention_mask=mask).last_hidden_state

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """ids [B, L] -> embeds [B, L, caption_channels], mask [B, L]"""
        mask = (ids != tokenizer.PAD).long()
        return self.embed(ids, mask), mask

    def forward(self, x_t: Tensor, text: Tensor, mask: Tensor, t: Tensor, mixers: list | None = None) -> Tensor:
        out = self.transformer(x_t, self._embed(text, mask), mask, t, mixers)
        return out[:, : x_t.shape[1]]  # learned variances are not used

    @classmethod
    def from_pretrained(cls, pipeline: Path, transformer: Path | None = None, text: bool = True) -> Denoiser:
        """The pipeline's networks in float32; `transformer` replaces its own; without `text` no text encoder."""
        pipeline = Path(pipeline)
        encoder = None
        if text:
            encoder = T5EncoderModel.from_pretrained(pipeline / "text_encoder", dtype=torch.float32)
        return cls(encoder, T2MDTransformer2DModel.from_pretrained(transformer or pipeline / "transformer")).eval()


def build_denoiser(cfg: Model, vocabulary: int) -> Denoiser:
    """A new teacher: attention in every block."""
    transformer = T2MDTransformer2DModel(
        num_attention_heads=cfg.heads,
        attention_head_dim=cfg.head_dim,
        num_layers=cfg.layers,
        caption_channels=cfg.text_width,
        cross_attention_dim=cfg.heads * cfg.head_dim,
        sample_size=cfg.sample_size,
        pos_embed_type=cfg.pos_embed_type,
        pos_embed_base_size=cfg.sample_size // 2,
    )
    initialise(transformer)
    return Denoiser(build_text_encoder(vocabulary, cfg.text_width, cfg.text_layers), transformer)
