"""What every training stage shares: schedule, optimiser, averaged weights, checkpoints, a log, several processes."""

from __future__ import annotations

import copy
import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from . import parallel
from .config import Training
from .errors import DistillError
from .muon import Muon, groups_for
from .threads import Yielder

# A spike is worth a skipped step; that many in a row mean that the weights are lost.
MOST_SKIPPED = 3


def save_atomic(payload: object, path: Path) -> None:
    """Write beside `path` and rename, so that a kill leaves the old file or the new one, never half of one."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save(payload, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        # What its zip writer could not write, torch reports as a RuntimeError about positions.
        broken = isinstance(error, RuntimeError) and "unexpected pos" in str(error)
        if not isinstance(error, OSError) and not broken:
            raise
        full = broken or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kept = "the file that was there is intact" if path.exists() else "nothing was there before"
        reason = "the disk is full" if full else error
        raise DistillError(f"{path}: {reason}; {kept}; make room and run again") from error


def rate(progress: float, warmup: float = 0.02, decay: float = 0.4) -> float:
    """Factor on the learning rate at `progress` in 0..1: linear warm-up, plateau, linear decay to 2 %."""
    if progress < warmup:
        return max(progress / warmup, 0.05)
    return max(min(1.0, (1 - progress) / max(decay, 1e-9)), 0.02)


class Average:
    """Averaged weights as a model of their own, ready to be used; the horizon grows with the number of steps."""

    def __init__(self, model: nn.Module, limit: float):
        self.limit, self.steps = limit, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.limit, (1 + self.steps) / (10 + self.steps))
        pairs = [
            (a, p.detach()) for a, p in zip(self.model.parameters(), model.parameters(), strict=True) if p.requires_grad
        ]
        torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], 1 - decay)


class Loop:
    """Train `step.student` until the configured steps or seconds are used, resuming from `directory/state.pt`.

    `step` maps a batch to named losses and "loss" is minimised. It is what accelerate wraps: its registered parameters
    are the student's alone.
    """

    def __init__(
        self,
        directory: Path,
        step: nn.Module,
        cfg: Training,
        accelerator: Accelerator | None = None,
        adam_only: tuple[str, ...] = (),
    ):
        self.directory, self.cfg = Path(directory), cfg
        self.accelerator = accelerator or parallel.accelerator()
        if cfg.seconds is not None and self.accelerator.num_processes > 1:
            raise DistillError(
                f"{self.directory.name}: a schedule in seconds with {self.accelerator.num_processes} processes, "
                "whose clocks differ; give steps"
            )
        self.model = step.student.to(self.accelerator.device)
        self.average = Average(self.model, cfg.ema)
        self.elapsed, self.steps, self.skipped = 0.0, 0, 0
        self.path = self.directory / "state.pt"
        state = self._read() if self.path.exists() else None
        if cfg.sharded:
            parallel.shard(self.model)
            parallel.shard(self.average.model)
        if cfg.optimizer == "adamw":
            trained = [p for p in self.model.parameters() if p.requires_grad]
            self.optimizer = torch.optim.AdamW(
                [dict(params=trained, base_lr=cfg.adam_lr)], cfg.adam_lr, (0.9, 0.98), weight_decay=cfg.weight_decay
            )
        else:
            self.optimizer = Muon(groups_for(self.model, cfg.lr, cfg.adam_lr, adam_only))
        if state is not None:
            parallel.load_state(self.model, self.optimizer, self.average.model, state, cfg.sharded)
            self.average.steps = state["average_steps"]
            self.elapsed, self.steps = state["elapsed"], state["steps"]
        if cfg.compile:
            step = torch.compile(step, dynamic=False)
        self.step = step if cfg.sharded else self.accelerator.prepare(step)

    def _read(self) -> dict:
        try:
            return torch.load(self.path, weights_only=True, map_location="cpu", mmap=True)
        except Exception as error:
            raise DistillError(
                f"{self.path}: not a checkpoint ({error}); remove it to start this stage again"
            ) from error

    def save(self) -> None:
        state = parallel.full_state(self.model, self.optimizer, self.average.model, self.cfg.sharded)
        state |= {"average_steps": self.average.steps, "elapsed": self.elapsed, "steps": self.steps}
        if self.accelerator.is_main_process:
            save_atomic(state, self.path)
        self.accelerator.wait_for_everyone()

    @property
    def progress(self) -> float:
        return self.steps / self.cfg.steps if self.cfg.steps is not None else self.elapsed / self.cfg.seconds

    def log(self, **values: float) -> None:
        if not self.accelerator.is_main_process:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        record = {
            "step": self.steps,
            "elapsed": round(self.elapsed, 1),
            **{k: float(f"{float(v):.7g}") for k, v in values.items()},
        }
        with open(self.directory / "log.jsonl", "a") as f:
            f.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)

    def run(self, batches: Callable[[int], object], evaluate: Callable[[nn.Module], dict] | None = None) -> nn.Module:
        """`batches(i)` must depend on i alone. `evaluate` is given the averaged model. -> the averaged model"""
        cfg, sums, count, start_of_log = self.cfg, {}, 0, self.elapsed
        yielder = Yielder()
        while self.progress < 1:
            start = time.monotonic()
            if not cfg.compile:  # what is compiled is for one number of threads
                yielder.update()
            for group in self.optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate(self.progress, cfg.warmup, cfg.decay)
            batch = parallel.to_device(batches(self.steps), self.accelerator.device)
            with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=cfg.bf16):
                losses = self.step(batch)
            self.optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(losses["loss"])
            norm = parallel.clip(self.model, cfg.clip)
            losses = {
                k: float(v)
                for k, v in self.accelerator.reduce({k: v.detach().float() for k, v in losses.items()}, "mean").items()
            } | {"norm": float(norm)}
            if torch.isfinite(norm):
                self.optimizer.step()
                self.average.update(self.model)
                self.skipped = 0
            else:
                self._skip(losses)
            self.steps += 1
            self.elapsed += time.monotonic() - start
            if torch.isfinite(norm):
                count += 1
                for k, v in losses.items():
                    sums[k] = sums.get(k, 0.0) + v
            if self.steps % cfg.log_every == 0 and count:
                self.log(**{k: v / count for k, v in sums.items()}, rate=count / max(self.elapsed - start_of_log, 1e-9))
                sums, count, start_of_log = {}, 0, self.elapsed
            if evaluate and self.steps % cfg.evaluate_every == 0 and self.progress < 1:
                self._evaluate(evaluate)
            if self.steps % cfg.save_every == 0 and not self.skipped and self.progress < 1:
                self.save()
        self.save()
        if evaluate:
            self._evaluate(evaluate)
        return self.average.model

    def _skip(self, losses: dict[str, float]) -> None:
        self.skipped += 1
        self.log(skipped=self.skipped)
        if self.skipped >= MOST_SKIPPED:
            found = ", ".join(f"{k} {v:.3g}" for k, v in losses.items())
            kept = f"the checkpoint in {self.path} is intact" if self.path.exists() else "there is no checkpoint yet"
            raise DistillError(
                f"{self.directory.name}: {self.skipped} steps in a row up to {self.steps} without finite gradients "
                f"({found}); {kept}; "
                "lower lr and adam_lr, or set bf16 = false, and run again"
            )

    def _evaluate(self, evaluate: Callable[[nn.Module], dict]) -> None:
        start = time.monotonic()
        with torch.no_grad(), torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=self.cfg.bf16):
            self.log(**evaluate(self.average.model))
        self.elapsed += time.monotonic() - start
