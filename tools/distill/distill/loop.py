"""What every training stage shares: a clock-driven schedule, averaged weights, checkpoints and a log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from .threads import Yielder


def save_atomic(payload: object, path: Path) -> None:
    """Write beside `path` and rename, so that a kill leaves the old file or the new one, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    torch.save(payload, temporary)
    os.replace(temporary, path)


def rate(progress: float, warmup: float = 0.02, decay: float = 0.4) -> float:
    """Factor on the learning rate at `progress` in 0..1: linear warm-up, plateau, linear decay to 2 %."""
    if progress < warmup:
        return max(progress / warmup, 0.05)
    return max(min(1.0, (1 - progress) / decay), 0.02)


class Ema:
    """Averaged weights of the trainable parameters; the horizon grows with the number of steps."""

    def __init__(self, model: nn.Module, limit: float):
        self.limit, self.steps = limit, 0
        self.shadow = {k: p.detach().clone() for k, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.limit, (1 + self.steps) / (10 + self.steps))
        params = dict(model.named_parameters())
        torch._foreach_lerp_(list(self.shadow.values()), [params[k].detach() for k in self.shadow], 1 - decay)

    def state_dict(self) -> dict:
        return {"shadow": self.shadow, "steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]
        for k, v in state["shadow"].items():
            self.shadow[k].copy_(v)


class Loop:
    """Run `step` until `seconds` of training time (or `max_steps`) are used, resuming from `directory/state.pt`."""

    def __init__(
        self,
        directory: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        seconds: float,
        ema: float = 0.999,
        max_steps: int | None = None,
        save_every: float = 120.0,
        log_every: float = 20.0,
        clip: float = 1.0,
        decay: float = 0.4,
    ):
        self.directory, self.model, self.optimizer = Path(directory), model, optimizer
        self.seconds, self.max_steps, self.save_every, self.log_every = seconds, max_steps, save_every, log_every
        self.clip, self.decay = clip, decay
        self.ema = Ema(model, ema)
        self.elapsed, self.steps, self.done = 0.0, 0, False
        self.path = self.directory / "state.pt"
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.elapsed, self.steps = state["elapsed"], state["steps"]

    def save(self) -> None:
        save_atomic(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.state_dict(),
                "elapsed": self.elapsed,
                "steps": self.steps,
            },
            self.path,
        )

    @property
    def progress(self) -> float:
        if self.max_steps is not None:
            return self.steps / self.max_steps
        return self.elapsed / self.seconds

    def log(self, **values: float) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        record = {
            "step": self.steps,
            "elapsed": round(self.elapsed, 1),
            **{k: round(float(v), 6) for k, v in values.items()},
        }
        with open(self.directory / "log.jsonl", "a") as f:
            f.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)

    def run(
        self,
        step: Callable[[int], dict[str, torch.Tensor]],
        evaluate: Callable[[], dict] | None = None,
        evaluate_every=180.0,
    ) -> None:
        """`step(i)` returns named losses and "loss" is minimised. The data of step i must depend on i alone."""
        sums: dict[str, float] = {}
        count, last_log, last_save, last_eval = 0, self.elapsed, self.elapsed, self.elapsed
        yielder = Yielder()
        while self.progress < 1:
            start = time.monotonic()
            yielder.update()
            factor = rate(self.progress, decay=self.decay)
            for group in self.optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            losses = step(self.steps)
            self.optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], self.clip)
            if torch.isfinite(norm):
                self.optimizer.step()
                self.ema.update(self.model)
            self.steps += 1
            count += 1
            for k, v in (losses | {"norm": norm}).items():
                sums[k] = sums.get(k, 0.0) + float(v.detach())
            self.elapsed += time.monotonic() - start
            if self.elapsed - last_log >= self.log_every:
                self.log(
                    **{k: v / count for k, v in sums.items()},
                    rate=count / (self.elapsed - last_log),
                    threads=torch.get_num_threads(),
                )
                sums, count, last_log = {}, 0, self.elapsed
            if self.elapsed - last_save >= self.save_every:
                self.save()
                last_save = self.elapsed
            if evaluate and self.elapsed - last_eval >= evaluate_every:
                start = time.monotonic()
                self.log(**evaluate())
                self.elapsed += time.monotonic() - start
                last_eval = self.elapsed
        self.save()
        if evaluate:
            self.log(**evaluate())
