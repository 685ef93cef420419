"""The denoiser: a PixArt transformer whose token mixers are attention or bidirectional Mamba-2, block by block.

Parameter names are those of diffusers' PixArtTransformer2DModel and mamba_ssm's Mamba2, so that with every mixer set to
"attention" the weights are a PixArt model's. Letters: B batch, T tokens = h * w, D width, L text tokens.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .errors import DistillError
from .ssd import ssd

MIXERS = ("attention", "mamba_h", "mamba_w")
DEFAULTS = {
    "_class_name": "T2MDTransformer2DModel",
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "attention_head_dim": 72,
    "attention_type": "default",
    "caption_channels": 4096,
    "cross_attention_dim": 1152,
    "dropout": 0.0,
    "in_channels": 4,
    "interpolation_scale": None,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "norm_num_groups": 32,
    "norm_type": "ada_norm_single",
    "num_attention_heads": 16,
    "num_embeds_ada_norm": 1000,
    "num_layers": 28,
    "out_channels": 4,
    "patch_size": 2,
    "sample_size": 64,
    "upcast_attention": False,
    "use_additional_conditions": None,
    "token_mixers": None,
    "mamba_d_state": 256,
    "mamba_expand": 2,
    "mamba_head_dim": 64,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "mamba_bidirectional": True,
    "mamba_fusion": "concat",
    "pos_embed_type": "sincos",
    "pos_embed_base_size": 32,
}


def position_embedding(config: dict, h: int, w: int) -> Tensor:
    """-> [h * w, D] in float32 (contract section 2.3)"""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    if config["pos_embed_type"] == "centered_sincos":
        scale = config["pos_embed_base_size"] / max(h, w)
        rows, columns = ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * scale for n in (h, w))
    else:
        base = config["sample_size"] // config["patch_size"]
        interpolation = config["interpolation_scale"]
        if interpolation is None:
            interpolation = max(config["sample_size"] // 64, 1)
        rows, columns = (torch.arange(n, dtype=torch.float64) / (n / base) / interpolation for n in (h, w))
    quarter = width // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)

    def encode(x: Tensor) -> Tensor:
        angles = x[:, None] * omega
        return torch.cat([angles.sin(), angles.cos()], -1)  # [n, D / 2]

    out = torch.cat([encode(columns)[None].expand(h, -1, -1), encode(rows)[:, None].expand(-1, w, -1)], -1)
    return out.reshape(h * w, width).float()


def timestep_embedding(t: Tensor, size: int = 256) -> Tensor:
    """t [B] -> [B, size], cosines first."""
    half = size // 2
    omega = torch.exp(-math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t.float()[:, None] * omega
    return torch.cat([angles.cos(), angles.sin()], -1)


class Attention(nn.Module):
    """Multi-head attention from x [B, T, D] to context [B, L, D] (to x itself when there is none)."""

    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(context, width)
        self.to_v = nn.Linear(context, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """bias [B, 1, 1, L] is added to the scores."""
        context = x if context is None else context
        q, k, v = (
            f(u).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for f, u in ((self.to_q, x), (self.to_k, context), (self.to_v, context))
        )
        if torch.is_grad_enabled() and x.device.type == "cpu":
            # The CPU's fused attention has a backward pass ten times slower than these products.
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
            if bias is not None:
                scores = scores + bias.to(scores.dtype)
            out = scores.softmax(-1).to(v.dtype) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v, None if bias is None else bias.to(q.dtype))
        return self.to_out[0](out.transpose(1, 2).flatten(2))


class GatedNorm(nn.Module):
    """RMSNorm(y * silu(z)) * weight"""

    def __init__(self, width: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        u = y * F.silu(z)
        precise = u.to(torch.promote_types(u.dtype, torch.float32))
        scale = (precise.square().mean(-1, keepdim=True) + self.eps).rsqrt().to(u.dtype)
        return u * scale * self.weight.to(u.dtype)


class Mamba2(nn.Module):
    """One Mamba-2 scan; run over both directions at once by stacking them along the batch."""

    def __init__(self, config: dict):
        super().__init__()
        if config["mamba_n_groups"] != 1:
            raise DistillError(f"mamba_n_groups {config['mamba_n_groups']}: only 1 is known")
        width = config["num_attention_heads"] * config["attention_head_dim"]
        self.inner = config["mamba_expand"] * width
        self.state, self.head, self.taps = config["mamba_d_state"], config["mamba_head_dim"], config["mamba_d_conv"]
        if self.inner % self.head:
            raise DistillError(f"mamba_head_dim {self.head}: does not divide the inner width {self.inner}")
        heads = self.inner // self.head
        channels = self.inner + 2 * self.state
        self.in_proj = nn.Linear(width, self.inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, self.taps, groups=channels, padding=self.taps - 1)
        step = torch.exp(torch.rand(heads) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, width, bias=False)

    def forward(self, u: Tensor, bidirectional: bool) -> Tensor:
        """u [B, T, D] -> [B, T, D], or [B, T, 2D] = (forward, backward) when bidirectional."""
        batch, length = u.shape[:2]
        projected = self.in_proj(u)
        if bidirectional:
            # in_proj sees one token at a time, so the reversed sequence is the reversed product.
            projected = torch.cat([projected, projected.flip(1)])
        z, xbc, dt = projected.split([self.inner, self.inner + 2 * self.state, self.dt_bias.numel()], -1)
        weight = self.conv1d.weight[:, 0].to(xbc.dtype)  # [channels, taps]
        padded = F.pad(xbc, (0, 0, self.taps - 1, 0))
        # A few shifted products are faster than a depthwise convolution on a CPU.
        mixed = self.conv1d.bias.to(xbc.dtype) + sum(padded[:, k : k + length] * weight[:, k] for k in range(self.taps))
        x, b, c = F.silu(mixed).split([self.inner, self.state, self.state], -1)
        # Decays are sums and exponentials over the whole sequence: never in half precision.
        precise = torch.promote_types(dt.dtype, torch.float32)
        dt = F.softplus(dt.to(precise) + self.dt_bias.to(precise))
        y = ssd(x.unflatten(-1, (-1, self.head)), dt, -self.A_log.to(precise).exp(), b, c, self.D)
        out = self.out_proj(self.norm(y.flatten(2), z))
        if not bidirectional:
            return out
        forward, backward = out.split(batch)
        return torch.cat([forward, backward.flip(1)], -1)


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        first = nn.Module()
        first.proj = nn.Linear(width, 4 * width)
        self.net = nn.ModuleList([first, nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](F.gelu(self.net[0].proj(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, config: dict, mixer: str):
        super().__init__()
        heads = config["num_attention_heads"]
        width = heads * config["attention_head_dim"]
        self.kind, self.eps = mixer, config["norm_eps"]
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)
        if mixer == "attention":
            self.attn1 = Attention(width, width, heads)
        else:
            self.bidirectional = config["mamba_bidirectional"]
            self.concat = config["mamba_fusion"] == "concat"
            self.mamba = Mamba2(config)
            inputs = 2 * width if self.bidirectional and self.concat else width
            self.mamba_fuse = nn.Linear(inputs, width)
            with torch.no_grad():  # start as the mean of the directions
                eye = torch.eye(width)
                self.mamba_fuse.weight.copy_(torch.cat([eye, eye], 1) / 2 if inputs > width else eye)
                self.mamba_fuse.bias.zero_()
        self.attn2 = Attention(width, config["cross_attention_dim"], heads)
        self.ff = FeedForward(width)

    def mix(self, u: Tensor, grid: tuple[int, int]) -> Tensor:
        """The token mixer alone: u [B, T, D] -> [B, T, D]. Not for `forward`: sharded weights come and go with it."""
        return self._mix(u, grid)

    def _mix(self, u: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.kind == "attention":
            return self.attn1(u)
        h, w = grid
        if self.kind == "mamba_h":  # column by column
            u = u.unflatten(1, (h, w)).transpose(1, 2).flatten(1, 2)
        y = self.mamba(u, self.bidirectional)
        if self.bidirectional and not self.concat:
            first, second = y.chunk(2, -1)
            y = first + second
        y = self.mamba_fuse(y)
        if self.kind == "mamba_h":
            y = y.unflatten(1, (w, h)).transpose(1, 2).flatten(1, 2)
        return y

    def forward(
        self, x: Tensor, t0: Tensor, text: Tensor, bias: Tensor | None, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, T, D], t0 [B, 6, D], text [B, L, D] -> the residual stream, the mixer's input, the mixer's output"""
        s1, c1, g1, s2, c2, g2 = (self.scale_shift_table.to(x.dtype) + t0).unsqueeze(2).unbind(1)  # each [B, 1, D]
        width = x.shape[-1:]
        u = torch.addcmul(s1, F.layer_norm(x, width, eps=self.eps), 1 + c1)
        mixed = self._mix(u, grid)
        x = torch.addcmul(x, g1, mixed)
        x = x + self.attn2(x, text, bias)
        y = torch.addcmul(s2, F.layer_norm(x, width, eps=self.eps), 1 + c2)
        return torch.addcmul(x, g2, self.ff(y)), u, mixed


class TwoLinear(nn.Module):
    def __init__(self, inputs: int, width: int, activation):
        super().__init__()
        self.linear_1 = nn.Linear(inputs, width)
        self.linear_2 = nn.Linear(width, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(self.activation(self.linear_1(x)))


class T2MDTransformer2DModel(nn.Module):
    def __init__(self, **config):
        super().__init__()
        c = self.config = DEFAULTS | config
        heads = c["num_attention_heads"]
        width = heads * c["attention_head_dim"]
        c["token_mixers"] = list(c["token_mixers"] or ["attention"] * c["num_layers"])
        if len(c["token_mixers"]) != c["num_layers"] or not set(c["token_mixers"]) <= set(MIXERS):
            raise DistillError(
                f"token_mixers {c['token_mixers']}: expected one of {', '.join(MIXERS)} "
                f"for each of {c['num_layers']} blocks"
            )
        conditions = c["use_additional_conditions"]
        if conditions or (conditions is None and c["sample_size"] == 128):
            raise DistillError(
                "use_additional_conditions: size and aspect conditions are not supported; take PixArt-XL-2-512x512"
            )
        self.patch = c["patch_size"]
        self.pos_embed = nn.Module()
        self.pos_embed.proj = nn.Conv2d(c["in_channels"], width, self.patch, self.patch)
        self.adaln_single = nn.Module()
        self.adaln_single.emb = nn.Module()
        self.adaln_single.emb.timestep_embedder = TwoLinear(256, width, F.silu)
        self.adaln_single.linear = nn.Linear(width, 6 * width)
        self.caption_projection = TwoLinear(c["caption_channels"], width, lambda x: F.gelu(x, approximate="tanh"))
        self.transformer_blocks = nn.ModuleList(Block(c, m) for m in c["token_mixers"])
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)
        self.proj_out = nn.Linear(width, self.patch**2 * c["out_channels"])
        self.checkpointing = False  # trade a second forward pass of every block for the memory of its activations
        self._positions: dict[tuple[int, int], Tensor] = {}

    def centre_positions(self, base: int) -> None:
        """Measure positions from the middle, `base` tokens along the long edge (contract section 2.3)."""
        self.config |= {"pos_embed_type": "centered_sincos", "pos_embed_base_size": base}
        self._positions.clear()

    def accept_text(self, width: int) -> None:
        """A text encoder of another width needs a new first matrix of the caption projection."""
        if width != self.config["caption_channels"]:
            self.config["caption_channels"] = width
            self.caption_projection.linear_1 = nn.Linear(width, self.caption_projection.linear_2.in_features)

    def _position(self, h: int, w: int, like: Tensor) -> Tensor:
        if (h, w) not in self._positions:
            self._positions[h, w] = position_embedding(self.config, h, w)
        return self._positions[h, w].to(like)

    def forward(
        self,
        latent: Tensor,
        embeds: Tensor,
        mask: Tensor,
        t: Tensor,
        mixers: list | None = None,
        hidden: list | None = None,
    ) -> Tensor:
        """latent [B, C, H, W], embeds [B, L, caption_channels], mask [B, L] (1: token), t [B] -> like latent

        `mixers` receives the input and output of every token mixer, `hidden` the residual stream after every block.
        """
        p = self.patch
        batch, _, height, width = latent.shape
        h, w = height // p, width // p
        # A patch is a row of the matrix product that the strided convolution is.
        patches = latent.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).reshape(batch, h * w, -1)
        x = F.linear(patches, self.pos_embed.proj.weight.flatten(1), self.pos_embed.proj.bias)
        x = x + self._position(h, w, x)
        time = self.adaln_single.emb.timestep_embedder(timestep_embedding(t).to(self.proj_out.weight.dtype))  # [B, D]
        t0 = self.adaln_single.linear(F.silu(time)).unflatten(-1, (6, -1)).to(x.dtype)
        text = self.caption_projection(embeds)
        bias = ((1 - mask.to(x.dtype)) * -10000.0)[:, None, None, :]
        for block in self.transformer_blocks:
            if self.checkpointing and torch.is_grad_enabled():
                x, u, mixed = checkpoint(block, x, t0, text, bias, (h, w), use_reentrant=False)
            else:
                x, u, mixed = block(x, t0, text, bias, (h, w))
            if mixers is not None:
                mixers.append((u, mixed))
            if hidden is not None:
                hidden.append(x)
        shift, scale = (self.scale_shift_table[None].to(x.dtype) + time[:, None].to(x.dtype)).chunk(2, 1)
        x = F.layer_norm(x, x.shape[-1:], eps=self.config["norm_eps"]) * (1 + scale) + shift
        x = self.proj_out(x).unflatten(1, (h, w)).unflatten(-1, (p, p, -1))
        return x.permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, height, width)

    @classmethod
    def from_pretrained(cls, directory: Path) -> T2MDTransformer2DModel:
        """Reads a T2MD or PixArt transformer directory; half precision weights are brought back to float32."""
        directory = Path(directory)
        try:
            config = json.loads((directory / "config.json").read_text())
        except OSError as error:
            raise DistillError(
                f"{directory}: no transformer here ({error.strerror} config.json); give a pipeline's transformer/"
            ) from error
        model = cls(**{k: v for k, v in config.items() if k in DEFAULTS and k != "_class_name"})
        index = directory / "diffusion_pytorch_model.safetensors.index.json"
        files = ["diffusion_pytorch_model.safetensors"]
        if index.exists():
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        weights = {k: v.float() for file in files for k, v in load_file(directory / file).items()}
        model.load_state_dict(weights)
        return model.eval()

    def save_pretrained(self, directory: Path, dtype: torch.dtype = torch.float32) -> None:
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(self.config, indent=2) + "\n")
        weights = {k: v.detach().to(dtype).contiguous() for k, v in self.state_dict().items()}
        save_file(weights, directory / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})


def initialise(model: T2MDTransformer2DModel) -> None:
    """PixArt's initialisation: blocks start as the identity on their cross-attention, the output at zero."""
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not model.proj_out:
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(model.pos_embed.proj.weight.data.flatten(1))
    for linear in (
        model.adaln_single.emb.timestep_embedder.linear_1,
        model.adaln_single.emb.timestep_embedder.linear_2,
    ):
        nn.init.normal_(linear.weight, std=0.02)
    nn.init.normal_(model.adaln_single.linear.weight, std=0.02)
    for block in model.transformer_blocks:
        nn.init.zeros_(block.attn2.to_out[0].weight)
    nn.init.zeros_(model.proj_out.weight)
    nn.init.zeros_(model.proj_out.bias)
