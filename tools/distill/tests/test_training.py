"""The optimiser, the checkpoints and the stages on a model of a few thousand weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import relative
from torch import nn

from distill import detector, vae
from distill.config import Training
from distill.diffusion import Batch, Schedule, draw_times
from distill.errors import DistillError
from distill.loop import Loop, rate, save_atomic
from distill.muon import Muon, groups_for, orthogonalise


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
def test_orthogonalise(shape):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(g, 6).double())
    assert values.min() > 0.4
    assert values.max() < 1.4
    # Directions survive: the result and its source have a large common part.
    assert (orthogonalise(g) * g).sum() > 0


def test_muon_reaches_a_linear_map():
    torch.manual_seed(0)
    model, target = nn.Linear(24, 16), nn.Linear(24, 16)
    optimizer = Muon(groups_for(model, 0.02, 0.02))
    x = torch.randn(256, 24)
    first = None
    for k in range(150):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate(k / 150)
        loss = (model(x) - target(x)).square().mean()
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1e-3 * first


def test_adamw_group_equals_torch():
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(7)), None
    theirs = nn.Parameter(ours.detach().clone())
    a = Muon([dict(params=[ours], lr=0.01, muon=False)])
    b = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.98), weight_decay=0.0)
    for k in range(5):
        ours.grad, theirs.grad = (torch.sin(p.detach() * (k + 1)) for p in (ours, theirs))
        a.step()
        b.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_groups_send_vectors_to_adamw():
    model = nn.Sequential(nn.Conv2d(8, 16, 3), nn.GroupNorm(4, 16), nn.Conv1d(16, 16, 4, groups=16))
    muon, adam = groups_for(model, 1.0, 1.0)
    assert [p.shape for p in muon["params"]] == [model[0].weight.shape]
    assert len(adam["params"]) == 5


def test_schedule():
    assert rate(0.5) == 1.0
    assert rate(0.0) < 0.1
    assert rate(0.9, decay=0.4) == pytest.approx(0.25)


class Flip(nn.Module):
    """Learn to reverse a vector."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.student = nn.Sequential(nn.Linear(12, 16), nn.SiLU(), nn.Linear(16, 12))

    def forward(self, x):
        return {"loss": (self.student(x) - x.flip(1)).square().mean()}


CFG = Training(steps=8, lr=1e-2, adam_lr=1e-2, ema=0.9, save_every=3, log_every=1)


def batch(i: int) -> torch.Tensor:
    return torch.randn(32, 12, generator=torch.Generator().manual_seed(i))


class Stop(Exception):
    pass


def stopping_at(step: int):
    def batches(i):
        if i == step:
            raise Stop
        return batch(i)

    return batches


def weights(loop: Loop) -> list[torch.Tensor]:
    return [*loop.model.state_dict().values(), *loop.average.model.state_dict().values()]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_resume_is_exact(tmp_path, optimizer):
    cfg = replace(CFG, optimizer=optimizer)
    straight = Loop(tmp_path / "a", Flip(), cfg)
    straight.run(batch)
    with pytest.raises(Stop):  # after the checkpoint at step 3
        Loop(tmp_path / "b", Flip(), cfg).run(stopping_at(5))
    resumed = Loop(tmp_path / "b", Flip(), cfg)
    assert resumed.steps == 3
    resumed.run(batch)
    assert resumed.steps == 8
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))
    assert not torch.equal(straight.model[0].weight, straight.average.model[0].weight)


def test_compiled_steps_are_the_same(tmp_path):
    plain, compiled = Loop(tmp_path / "a", Flip(), CFG), Loop(tmp_path / "b", Flip(), replace(CFG, compile=True))
    plain.run(batch)
    compiled.run(batch)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weights(plain), weights(compiled), strict=True))
    resumed = Loop(tmp_path / "b", Flip(), replace(CFG, steps=9))  # without the names that compiling adds
    assert resumed.steps == 8


def test_nan_stops_with_the_checkpoint_intact(tmp_path):
    def batches(i):
        return batch(i) * (torch.nan if i >= 4 else 1)

    with pytest.raises(DistillError, match=r"3 steps in a row up to 6.*loss nan.*checkpoint.*intact.*lower lr"):
        Loop(tmp_path / "a", Flip(), CFG).run(batches)
    resumed = Loop(tmp_path / "a", Flip(), CFG)
    assert resumed.steps == 3
    assert all(w.isfinite().all() for w in weights(resumed))
    straight = Loop(tmp_path / "b", Flip(), CFG)
    straight.run(batch)
    resumed.run(batch)
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


def test_one_spike_is_skipped(tmp_path):
    loop = Loop(tmp_path, Flip(), CFG)
    loop.run(lambda i: batch(i) * (torch.inf if i == 4 else 1))
    assert loop.steps == 8
    assert all(w.isfinite().all() for w in weights(loop))
    assert sum("skipped" in line for line in (tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    """/dev/full takes no byte: the file beside the checkpoint is a link to it."""
    path = tmp_path / "state.pt"
    save_atomic({"steps": 1}, path)
    (tmp_path / "state.pt.tmp").symlink_to("/dev/full")
    with pytest.raises(
        DistillError, match=r"state\.pt: the disk is full; the file that was there is intact; make room"
    ):
        save_atomic({"steps": 2, "weight": torch.zeros(1000)}, path)
    assert torch.load(path)["steps"] == 1
    save_atomic({"steps": 2}, path)
    assert torch.load(path)["steps"] == 2


def test_a_spoiled_checkpoint_is_named(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"PK half")
    with pytest.raises(DistillError, match=r"state\.pt: not a checkpoint.*remove it"):
        Loop(tmp_path, Flip(), CFG)


def test_noise_and_times():
    schedule = Schedule.miniature()
    x, e = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    b = Batch(x, x, x, torch.tensor([10, 900]), e)
    x_t, signal, sigma = schedule.noisy(b)
    assert torch.allclose(schedule.epsilon(schedule.target(b, signal, sigma), x_t, signal, sigma), e, atol=1e-5)
    t = draw_times(1000, torch.Generator().manual_seed(0), 1.0, 0.0, 1.0)
    assert abs(t.float().mean() - 500) < 2
    t = draw_times(1000, torch.Generator().manual_seed(0), 0.0, -0.3, 1.0)
    assert abs(t.float().median() - 1000 * torch.sigmoid(torch.tensor(-0.3))) < 5
    assert 0 <= t.min() <= t.max() <= 999


def test_fold_statistics():
    torch.manual_seed(0)
    model = vae.build((8, 8, 16, 16), 4).eval()
    mean, std = torch.tensor([0.3, -1.0, 0.0, 2.0]), torch.tensor([0.5, 2.0, 3.0, 1.0])
    folded = vae.fold_statistics(model, mean, std)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before, after = model.encode(x).latent_dist, folded.encode(x).latent_dist
        expected = (before.mean - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
        assert relative(after.mean, expected) < 1e-5
        assert relative(after.std, before.std / std.view(1, -1, 1, 1)) < 1e-5
        assert relative(folded.decode(expected).sample, model.decode(before.mean).sample) < 1e-5
    assert folded.config.scaling_factor == 1.0


def test_detector_learns_one_batch(tmp_path):
    torch.manual_seed(0)
    model = detector.Detector(32)
    optimizer = Muon(groups_for(model, 5e-3, 3e-3, ("head",)))
    x, wanted = detector.batch(0, 8, None)
    first = None
    for _ in range(60):
        losses = detector.loss(model(x), wanted)
        first = first or losses["loss"].item()
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert losses["loss"].item() < 0.2 * first
    pictures = ((x.permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255).byte().numpy()
    found = detector.detect(model.eval(), pictures)
    things = [int((h > 0.99).sum()) for h in wanted[0]]
    assert np.mean([len(f) == n for f, n in zip(found, things, strict=True)]) >= 0.75
