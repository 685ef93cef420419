"""The student: the teacher with most of its attention replaced by Mamba mixers (contract section 3, stages 1 and 2)."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import config, parallel
from .diffusion import Batch, Denoiser, Schedule
from .model import Block, T2MDTransformer2DModel, initialise
from .training import DataLoss, run


def from_teacher(cfg: config.Student, teacher: Denoiser, init: str = "teacher") -> Denoiser:
    """All that the teacher has is copied ("teacher"), its attention put into the new mixers too ("causal"), or nothing
    but its shape is taken ("scratch"; the text encoder always stays)."""
    torch.manual_seed(cfg.seed)
    theirs = teacher.transformer
    transformer = T2MDTransformer2DModel(
        **theirs.config
        | {
            "_class_name": "T2MDTransformer2DModel",
            "token_mixers": cfg.token_mixers(theirs.config["num_layers"]),
            "mamba_d_state": cfg.d_state,
            "mamba_expand": cfg.expand,
            "mamba_head_dim": cfg.head_dim,
            "mamba_d_conv": cfg.d_conv,
            "mamba_bidirectional": cfg.bidirectional,
            "mamba_fusion": cfg.fusion,
        }
    )
    if init == "scratch":
        initialise(transformer)
    else:
        ours = transformer.state_dict()
        transformer.load_state_dict(ours | {k: v for k, v in theirs.state_dict().items() if k in ours})
    if init == "causal":
        for new, old in zip(transformer.transformer_blocks, theirs.transformer_blocks, strict=True):
            if new.kind != "attention" and old.kind == "attention":
                from_attention(new, old)
    return Denoiser(copy.deepcopy(teacher.text_encoder), transformer)  # its own: sharding changes a module in place


@torch.no_grad()
def from_attention(new: Block, old: Block) -> None:
    """The paper's causal-to-causal initialisation: a scan without decay and convolution is linear attention, C, B and x
    its queries, keys and values. One group of B and C serves all heads, so it takes the mean head's rows, repeated
    up to the state's size."""
    attention, scan = old.attn1, new.mamba
    width, inner, state = attention.to_v.weight.shape[0], scan.inner, scan.state
    _, x, b, c, _ = scan.in_proj.weight.split([inner, inner, state, state, scan.dt_bias.numel()])
    copies = -(-inner // width)
    x.copy_(attention.to_v.weight.repeat(copies, 1)[:inner])
    for rows, source in ((b, attention.to_k), (c, attention.to_q)):
        mean = source.weight.unflatten(0, (attention.heads, -1)).mean(0)
        rows.copy_(mean.repeat(-(-state // len(mean)), 1)[:state])
    scan.out_proj.weight.copy_(attention.to_out[0].weight.repeat(1, copies)[:, :inner] / copies)


def train_mixers(student: Denoiser, attention: bool) -> None:
    """Only the token mixers require gradients: the Mamba mixers, and the attention that is left where asked for."""
    for name, p in student.named_parameters():
        p.requires_grad_(".mamba" in name or (attention and ".attn1." in name))


class Taught(nn.Module):
    """What both losses share: the frozen teacher, kept out of the module's own parameters."""

    def __init__(
        self, student: Denoiser, teacher: Denoiser, schedule: Schedule, normalise: bool, sharded: bool = False
    ):
        super().__init__()
        self.student, self.schedule, self.normalise = student, schedule, normalise
        teacher.to(parallel.accelerator().device).eval().requires_grad_(False)
        self.hidden = (parallel.shard(teacher) if sharded else teacher,)

    @torch.no_grad()
    def teach(self, x_t: Tensor, embeds: Tensor, batch: Batch) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """-> the teacher's output and the (input, output) of each of its mixers"""
        record: list[tuple[Tensor, Tensor]] = []
        out = self.hidden[0](x_t, embeds, batch.mask, batch.t, record)
        return out.float(), record

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tensor:
        return self.hidden[0].embed(batch.text, batch.mask)

    def mixer_errors(self, pairs: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Squared errors of (ours, theirs), each over the variance of theirs in the global batch: layers with loud
        outputs do not drown the others."""
        errors = [(ours.float() - theirs.float()).square().mean() for ours, theirs in pairs]
        if not self.normalise:
            return errors
        moments = torch.stack([torch.stack([y.float().mean(), y.float().square().mean()]) for _, y in pairs])
        mean, square = parallel.mean(moments).unbind(1)
        return [e / v for e, v in zip(errors, (square - mean.square()).clamp_min(1e-6), strict=True)]


class ForceLoss(Taught):
    """Teacher forcing: each Mamba mixer learns its attention layer's map on the teacher's own inputs."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x_t, _, _ = self.schedule.noisy(batch)
        _, record = self.teach(x_t, self.embed(batch), batch)
        transformer = self.student.transformer
        grid = (x_t.shape[-2] // transformer.patch, x_t.shape[-1] // transformer.patch)
        pairs = {
            f"mixer{n}": (self.imitate(block, u, grid), target)
            for n, (block, (u, target)) in enumerate(zip(transformer.transformer_blocks, record, strict=True))
            if block.kind != "attention"
        }
        losses = dict(zip(pairs, self.mixer_errors(list(pairs.values())), strict=True))
        return losses | {"loss": torch.stack(list(losses.values())).sum()}

    def imitate(self, block: Block, u: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.student.transformer.checkpointing:
            return checkpoint(block.mix, u, grid, use_reentrant=False)
        return block.mix(u, grid)


class DistillLoss(Taught):
    """The data, `soft` of the teacher's output, `feature` of the mixers' outputs; each in what the networks predict.

    With v-prediction the error in epsilon is sqrt(a_t) times the one in v: it all but vanishes at the noise levels that
    decide the layout, so v it is there.
    """

    def __init__(self, student: Denoiser, teacher: Denoiser, schedule: Schedule, cfg: config.Distill):
        super().__init__(student, teacher, schedule, cfg.normalise, cfg.sharded)
        self.soft, self.feature = cfg.soft_weight, cfg.feature_weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x_t, signal, sigma = self.schedule.noisy(batch)
        embeds = self.embed(batch)
        target, theirs = self.teach(x_t, embeds, batch)
        ours: list[tuple[Tensor, Tensor]] = []
        out = self.student(x_t, embeds, batch.mask, batch.t, ours).float()
        data = (out - self.schedule.target(batch, signal, sigma)).square().mean()
        soft = (out - target).square().mean()
        feature = torch.stack(self.mixer_errors([(a[1], b[1]) for a, b in zip(ours, theirs, strict=True)])).mean()
        loss = data + self.soft * soft + self.feature * feature
        return {"loss": loss, "data": data, "soft": soft, "feature": feature}


def force(
    cfg: config.Force, teacher: Denoiser, student: Denoiser, stream, schedule: Schedule, directory: Path
) -> Denoiser:
    train_mixers(student, attention=False)
    return run(ForceLoss(student, teacher, schedule, cfg.normalise, cfg.sharded), cfg, stream, directory)


def distill(
    cfg: config.Distill, teacher: Denoiser, student: Denoiser, stream, schedule: Schedule, directory: Path
) -> Denoiser:
    if cfg.train == "all":
        student.requires_grad_(True)
        if student.text_encoder is not None:
            student.text_encoder.requires_grad_(False)
    else:
        train_mixers(student, attention=True)
    taught = cfg.soft_weight > 0 or cfg.feature_weight > 0
    step = DistillLoss(student, teacher, schedule, cfg) if taught else DataLoss(student, schedule)
    return run(step, cfg, stream, directory)
