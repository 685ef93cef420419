"""The student: the teacher with most of its attention replaced by Mamba mixers (contract section 3, stages 1 and 2)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .diffusion import Denoiser, noisy, signal_level
from .loop import Loop
from .muon import Muon, groups_for
from .teacher import ADAM_ONLY, Batches, build, held_out_errors, v_loss, with_average


def from_teacher(model_cfg: dict, teacher: Denoiser) -> Denoiser:
    """Everything the teacher has is copied; the Mamba mixers are new. Only the token mixers can be trained."""
    student = build(model_cfg, model_cfg["mixers"])
    ours, theirs = student.state_dict(), teacher.state_dict()
    student.load_state_dict(ours | {k: v for k, v in theirs.items() if k in ours})
    for name, p in student.named_parameters():
        p.requires_grad_(".mamba" in name or ".attn1." in name)
    return student


def relative_error(y: Tensor, target: Tensor) -> Tensor:
    """Squared error over the target's variance: layers with loud outputs do not drown the others."""
    target = target.float()
    return (y.float() - target).square().mean() / target.var().clamp_min(1e-6)


@torch.no_grad()
def teacher_pass(teacher: Denoiser, x_t: Tensor, ids: Tensor, t: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """-> the teacher's v and the (input, output) of each of its mixers"""
    record: list[tuple[Tensor, Tensor]] = []
    with torch.autocast("cpu", torch.bfloat16):
        v = teacher(x_t, ids, t, record)
    return v.float(), record


def _loop(cfg: dict, student: Denoiser, directory: Path) -> Loop:
    optimizer = Muon(groups_for(student, cfg["lr"], cfg["adam_lr"], ADAM_ONLY))
    return Loop(directory, student, optimizer, cfg["seconds"], cfg["ema"], cfg.get("max_steps"), decay=cfg["decay"])


def force(cfg: dict, teacher: Denoiser, student: Denoiser, dataset: dict, directory: Path) -> Denoiser:
    """Teacher forcing: each Mamba mixer learns its attention layer's map on the teacher's own inputs."""
    loop = _loop(cfg, student, directory)
    batches, levels = Batches(dataset, cfg, seed=3), signal_level()
    blocks = student.transformer.transformer_blocks

    def step(i: int) -> dict[str, Tensor]:
        x, ids, t, noise = batches(i)
        x_t, _, _ = noisy(x, noise, t, levels)
        _, record = teacher_pass(teacher, x_t, ids, t)
        grid = tuple(n // student.transformer.patch for n in x.shape[-2:])
        losses = {}
        for n, (block, (u, target)) in enumerate(zip(blocks, record, strict=True)):
            if block.kind != "attention":
                with torch.autocast("cpu", torch.bfloat16):
                    losses[f"mixer{n}"] = relative_error(block.mix(u, grid), target)
        losses["loss"] = torch.stack(list(losses.values())).sum()
        return losses

    loop.run(
        step, lambda: held_out_errors(with_average(student, loop), batches, levels), cfg.get("evaluate_every", 180.0)
    )
    return with_average(student, loop)


def distill(cfg: dict, teacher: Denoiser, student: Denoiser, dataset: dict, directory: Path) -> Denoiser:
    """Distillation: the data's v, half the weight on the teacher's v, a fifth on the mixers' outputs.

    The errors are taken in v. The error in epsilon is sqrt(a_t) times it, which all but vanishes at the noise levels
    that decide the layout.
    """
    loop = _loop(cfg, student, directory)
    batches, levels = Batches(dataset, cfg, seed=4), signal_level()

    def step(i: int) -> dict[str, Tensor]:
        x, ids, t, noise = batches(i)
        x_t, signal, sigma = noisy(x, noise, t, levels)
        target, theirs = teacher_pass(teacher, x_t, ids, t)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            embeds, mask = student.encode(ids)
        ours: list[tuple[Tensor, Tensor]] = []
        with torch.autocast("cpu", torch.bfloat16):
            v = student.transformer(x_t, embeds, mask, t, ours)
        data = v_loss(v, x, noise, signal, sigma)
        soft = (v.float() - target).square().mean()
        feature = torch.stack([relative_error(a[1], b[1]) for a, b in zip(ours, theirs, strict=True)]).mean()
        loss = data + cfg["soft_weight"] * soft + cfg["feature_weight"] * feature
        return {"loss": loss, "data": data, "soft": soft, "feature": feature}

    loop.run(
        step, lambda: held_out_errors(with_average(student, loop), batches, levels), cfg.get("evaluate_every", 180.0)
    )
    return with_average(student, loop)
