"""Give way to other work: OpenMP's barriers make a thread that has lost its core stop all the others."""

from __future__ import annotations

import os
import time

import torch

TICK = os.sysconf("SC_CLK_TCK")


def _busy() -> float:
    """Seconds of processor time used by the whole machine."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, soft, steal = (int(v) for v in f.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


class Yielder:
    """Call `update()` often: every few seconds it sets torch's threads to the cores that others leave free."""

    def __init__(self, period: float = 6.0):
        self.most, self.period = torch.get_num_threads(), period
        self.mark = self._read()

    def _read(self) -> tuple[float, float, float]:
        own = os.times()
        return time.monotonic(), _busy(), own.user + own.system

    def update(self) -> None:
        now = time.monotonic()
        if now - self.mark[0] < self.period or self.most == 1:
            return
        fresh = self._read()
        seconds, busy, own = (a - b for a, b in zip(fresh, self.mark, strict=True))
        self.mark = fresh
        torch.set_num_threads(free_threads((busy - own) / seconds, self.most))


def free_threads(others: float, most: int) -> int:
    """Threads to use while other processes keep `others` cores busy."""
    return max(1, most - int(others + 0.65))
