"""The state space recurrence of Mamba-2: as a loop over tokens, and as matrix products over chunks of tokens.

h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T        y_t = h_t C_t + D x_t        per head, h is [P, N]
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

try:  # the published CUDA kernels, where that package is installed
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
except ImportError:
    mamba_chunk_scan_combined = None


def ssd_sequential(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """x [B, T, M, P], dt [B, T, M], a [M] (negative), b and c [B, T, N], d [M] -> [B, T, M, P]"""
    h = x.new_zeros(*x.shape[:1], *x.shape[2:], b.shape[-1])
    out = []
    for t in range(x.shape[1]):
        decay = (dt[:, t] * a).exp()[..., None, None]
        h = decay * h + (dt[:, t, :, None] * x[:, t])[..., None] * b[:, t, None, None, :]
        out.append(torch.einsum("bmpn,bn->bmp", h, c[:, t]) + d[:, None] * x[:, t])
    return torch.stack(out, 1)


class _Decay(torch.autograd.Function):
    """L[i, j] = exp(s_i - s_j) for j <= i, else 0, from the running sums s [..., Q].

    The gradient of the difference matrix is g * L, and s_i receives its row sum minus its column sum: no [Q, Q]
    temporaries in float32 survive until the backward pass.
    """

    @staticmethod
    def forward(ctx, s: Tensor, dtype: torch.dtype) -> Tensor:
        q = s.shape[-1]
        # The upper half must vanish before exp: there the differences are positive and may overflow.
        upper = torch.ones(q, q, dtype=torch.bool, device=s.device).triu(1)
        decay = (s[..., :, None] - s[..., None, :]).masked_fill_(upper, -torch.inf).exp_().to(dtype)
        ctx.save_for_backward(decay)
        ctx.precise = s.dtype
        return decay

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None]:
        (decay,) = ctx.saved_tensors
        m = g * decay
        return (m.sum(-1, dtype=ctx.precise) - m.sum(-2, dtype=ctx.precise)), None


def ssd(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, chunk: int = 64) -> Tensor:
    """The same as `ssd_sequential` by matrix products; dt and a in float32, the products in the type of x.

    Within a chunk of Q tokens the recurrence is a masked Q x Q matrix per head, (C B^T) * L; between chunks one state
    per head is carried. With T <= Q there is a single chunk and no state at all.
    """
    if x.is_cuda and mamba_chunk_scan_combined is not None:
        return mamba_chunk_scan_combined(x, dt, a, b[:, :, None], c[:, :, None], chunk_size=256, D=d)
    batch, length, heads, p = x.shape
    q = min(chunk, length)
    pad = -length % q
    if pad:
        # A padded token has dt = 0: it neither decays the state nor adds to it.
        x_, dt, b, c = (
            F.pad(x, (0, 0, 0, 0, 0, pad)),
            F.pad(dt, (0, 0, 0, pad)),
            F.pad(b, (0, 0, 0, pad)),
            F.pad(c, (0, 0, 0, pad)),
        )
    else:
        x_ = x
    k = (length + pad) // q
    xd = (x_ * dt[..., None].to(x.dtype)).view(batch, k, q, heads, p).transpose(2, 3)  # [B, K, M, Q, P]
    b, c = (v.view(batch, k, q, -1) for v in (b, c))  # [B, K, Q, N]
    s = (dt * a).view(batch, k, q, heads).transpose(2, 3).cumsum(-1)  # [B, K, M, Q]
    scores = (c @ b.transpose(-1, -2))[:, :, None]
    y = (scores * _Decay.apply(s, x.dtype)) @ xd  # [B, K, M, Q, P]
    if k > 1:
        to_end = (s[..., -1:] - s).exp().to(x.dtype)  # what token j leaves at the chunk's end
        states = (xd * to_end[..., None]).transpose(-1, -2) @ b[:, :, None].expand(
            -1, -1, heads, -1, -1
        )  # [B, K, M, P, N]
        total = s[..., -1].exp()[..., None, None]  # [B, K, M, 1, 1]
        carry, before = torch.zeros_like(states[:, 0], dtype=s.dtype), []
        for i in range(k):
            before.append(carry)
            carry = total[:, i] * carry + states[:, i].to(s.dtype)
        before = torch.stack(before, 1).to(x.dtype)
        y = y + (c[:, :, None] @ before.transpose(-1, -2)) * s.exp().to(x.dtype)[..., None]
    y = y.transpose(2, 3).reshape(batch, k * q, heads, p)[:, :length]
    return y + d.to(x.dtype)[:, None] * x
