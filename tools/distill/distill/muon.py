"""Muon for matrices and convolution kernels, AdamW for everything else, as one optimiser."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz iteration [..., r, c] -> [..., r, c]: the singular values of each matrix are pushed towards one."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.reshape(-1, *g.shape[-2:])
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).bfloat16()
    for _ in range(steps):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(g.shape).to(g.dtype)


class Muon(torch.optim.Optimizer):
    """Parameter groups with `muon=True` take orthogonalised momentum steps, the others AdamW steps.

    A Muon step has root mean square `0.2 * lr` whatever the shape of the matrix, so one rate serves both kinds.
    Kernels [o, i, kh, kw] are treated as matrices [o, i * kh * kw].
    """

    def __init__(self, groups: list[dict], momentum: float = 0.95, betas=(0.9, 0.98), eps: float = 1e-8):
        super().__init__(groups, dict(lr=1e-3, muon=False, momentum=momentum, betas=betas, eps=eps, weight_decay=0.0))

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            (self._muon if group["muon"] else self._adamw)(group)

    def _muon(self, group: dict) -> None:
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for p in group["params"]:
            if p.grad is not None:
                alike[p.flatten(1).shape].append(p)
        for shape, params in alike.items():
            for p in params:
                if not self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            grads, momenta = [p.grad for p in params], [self.state[p]["momentum"] for p in params]
            torch._foreach_mul_(momenta, group["momentum"])
            torch._foreach_add_(momenta, grads)
            ahead = torch._foreach_add(grads, momenta, alpha=group["momentum"])
            # Matrices of one shape go through the iteration together: one by one they are too small for a processor.
            updates = orthogonalise(torch.stack([u.flatten(1) for u in ahead]))
            # An orthogonal r x c matrix has root mean square 1 / sqrt(max(r, c)).
            scale = 0.2 * max(shape) ** 0.5
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            directions = [u.view(p.shape) for u, p in zip(updates, params, strict=True)]
            torch._foreach_add_(params, directions, alpha=-group["lr"] * scale)

    def _adamw(self, group: dict) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        for p in params:
            if not self.state[p]:
                self.state[p] = {"step": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)}
            self.state[p]["step"] += 1
        b1, b2 = group["betas"]
        grads = [p.grad for p in params]
        m = [self.state[p]["m"] for p in params]
        v = [self.state[p]["v"] for p in params]
        torch._foreach_lerp_(m, grads, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, 1 - b2)
        step = self.state[params[0]]["step"]
        denominator = torch._foreach_sqrt(v)
        torch._foreach_div_(denominator, (1 - b2**step) ** 0.5)
        torch._foreach_add_(denominator, group["eps"])
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(params, m, denominator, -group["lr"] / (1 - b1**step))


def groups_for(model: nn.Module, lr: float, adam_lr: float, exclude: tuple[str, ...] = ()) -> list[dict]:
    """Matrices and kernels go to Muon; vectors, embeddings, thin depthwise kernels and names in `exclude` to AdamW."""
    matrices, rest = [], []
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        thin = p.ndim < 2 or p.shape[0] < 8 or p[0].numel() < 8 or name.endswith("scale_shift_table")
        (rest if thin or any(e in name for e in exclude) else matrices).append(p)
    return [
        dict(params=matrices, lr=lr, base_lr=lr, muon=True),
        dict(params=rest, lr=adam_lr, base_lr=adam_lr, muon=False),
    ]
