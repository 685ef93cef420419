"""The denoiser against the reference outputs, and the scan against its own definition."""

from __future__ import annotations

import pytest
import torch
from conftest import GOLDEN, relative
from safetensors.torch import load_file

from distill.model import DEFAULTS, Block, T2MDTransformer2DModel, position_embedding
from distill.ssd import ssd, ssd_sequential


@pytest.mark.parametrize("training", [False, True], ids=["fused", "matmul"])
@pytest.mark.parametrize("case", [0, 1, 2])
def test_t2md_reference(case, training):
    model = T2MDTransformer2DModel.from_pretrained(GOLDEN / "t2md" / "transformer")
    data = {k.split(".")[1]: v for k, v in load_file(GOLDEN / "t2md" / "case.safetensors").items() if k[0] == str(case)}
    hidden: list[torch.Tensor] = []
    with torch.set_grad_enabled(training):
        eps = model(data["latent"], data["embeds"], data["mask"], data["t"], hidden=hidden)
    assert relative(eps.detach(), data["eps"]) < 1e-5
    assert relative(torch.stack(hidden).detach(), data["hidden"]) < 1e-5


def test_pixart_equals_diffusers():
    from diffusers import PixArtTransformer2DModel

    directory = GOLDEN / "pixart" / "pipeline" / "transformer"
    ours, theirs = (
        T2MDTransformer2DModel.from_pretrained(directory),
        PixArtTransformer2DModel.from_pretrained(directory).eval(),
    )
    case = load_file(GOLDEN / "pixart" / "case.safetensors")
    latent, t = torch.randn(2, 4, 12, 20, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 900])
    embeds, mask = case["1.prompt_embeds"].repeat(2, 1, 1), case["1.prompt_mask"].repeat(2, 1)
    with torch.no_grad():
        expected = theirs(
            latent,
            encoder_hidden_states=embeds,
            encoder_attention_mask=mask,
            timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample
        assert relative(ours(latent, embeds, mask, t), expected) < 1e-5


def test_masked_text_takes_no_part():
    model = T2MDTransformer2DModel.from_pretrained(GOLDEN / "t2md" / "transformer")
    g = torch.Generator().manual_seed(1)
    latent, embeds = torch.randn(1, 4, 8, 8, generator=g), torch.randn(1, 9, 48, generator=g)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        a = model(latent, embeds, mask, torch.tensor([500]))
        b = model(latent, embeds[:, :4], mask[:, :4], torch.tensor([500]))
        c = model(latent, embeds[:, :3], mask[:, :3], torch.tensor([500]))
    assert relative(a, b) < 1e-5
    assert relative(c, b) > 1e-4


def test_centred_positions_stay_in_range():
    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "pos_embed_type": "centered_sincos",
        "pos_embed_base_size": 8,
    }
    small, large = position_embedding(config, 8, 8), position_embedding(config, 24, 24)
    # The middle cell of every 3 x 3 group has the coordinate of the base cell.
    assert torch.allclose(large.view(24, 24, -1)[1::3, 1::3].reshape(64, -1), small, atol=1e-5)


def scan_inputs(length: int, rate: float, dtype=torch.float64):
    g = torch.Generator().manual_seed(length)
    heads, p, n = 3, 4, 5
    x = torch.randn(2, length, heads, p, generator=g, dtype=dtype)
    dt = torch.rand(2, length, heads, generator=g, dtype=dtype)
    a = -rate * (0.5 + torch.rand(heads, generator=g, dtype=dtype))
    b, c = (torch.randn(2, length, n, generator=g, dtype=dtype) for _ in range(2))
    return x, dt, a, b, c, torch.randn(heads, generator=g, dtype=dtype)


@pytest.mark.parametrize("rate", [0.01, 1.0, 60.0], ids=["slow", "middling", "fast"])
@pytest.mark.parametrize(("length", "chunk"), [(1, 16), (7, 16), (16, 16), (37, 16), (64, 16), (65, 64), (130, 16)])
def test_chunked_scan_is_the_recurrence(length, chunk, rate):
    inputs = [v.requires_grad_() for v in scan_inputs(length, rate)]
    expected = ssd_sequential(*inputs)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9), dtype=expected.dtype)
    gradients = torch.autograd.grad((expected * weight).sum(), inputs)
    actual = ssd(*inputs, chunk=chunk)
    assert relative(actual.detach(), expected.detach()) < 1e-10
    for got, wanted in zip(torch.autograd.grad((actual * weight).sum(), inputs), gradients, strict=True):
        assert float((got - wanted).norm()) < 1e-10 * (1 + float(wanted.norm()))


@pytest.mark.parametrize(("length", "chunk"), [(3, 4), (4, 4), (7, 3)])
def test_gradients_of_the_chunked_scan(length, chunk):
    inputs = [v.requires_grad_() for v in scan_inputs(length, 1.0)]
    assert torch.autograd.gradcheck(lambda *v: ssd(*v, chunk=chunk), inputs, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_mixer_gradients(bidirectional):
    """A whole Mamba mixer, on a grid that is no square, height first."""
    torch.manual_seed(0)
    config = DEFAULTS | dict(num_attention_heads=1, attention_head_dim=8, cross_attention_dim=8, mamba_d_state=4)
    config |= dict(mamba_head_dim=8, mamba_bidirectional=bidirectional)
    block = Block(config, "mamba_h").double()
    u = torch.randn(1, 6, 8, dtype=torch.float64, requires_grad=True)

    def mix(u, *weights):
        names = [n for n, _ in block.named_parameters() if "mamba" in n]
        return torch.func.functional_call(
            Mix(block), {f"block.{n}": w for n, w in zip(names, weights, strict=True)}, (u,)
        )

    weights = [p for n, p in block.named_parameters() if "mamba" in n]
    assert torch.autograd.gradcheck(mix, [u, *weights], fast_mode=True)


class Mix(torch.nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, u):
        return self.block.mix(u, (2, 3))


def test_checkpointing_changes_nothing():
    torch.manual_seed(0)
    model = T2MDTransformer2DModel.from_pretrained(GOLDEN / "t2md" / "transformer")
    data = {k[2:]: v for k, v in load_file(GOLDEN / "t2md" / "case.safetensors").items() if k[0] == "0"}
    gradients = []
    for model.checkpointing in (False, True):
        mixers: list = []
        out = model(data["latent"], data["embeds"], data["mask"], data["t"], mixers)
        assert len(mixers) == len(model.transformer_blocks)
        loss = out.square().sum() + sum(y.square().sum() for _, y in mixers)
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_scan_depends_on_the_past_only():
    x, dt, a, b, c, d = scan_inputs(40, 1.0)
    y = ssd(x, dt, a, b, c, d, chunk=16)
    later = x.clone()
    later[:, 25:] += 1
    z = ssd(later, dt, a, b, c, d, chunk=16)
    assert torch.equal(y[:, :25], z[:, :25])
    assert not torch.allclose(y[:, 25:], z[:, 25:])
