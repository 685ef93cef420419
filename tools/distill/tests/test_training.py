"""The optimiser, the checkpoints and the stages on a model of a few thousand weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import relative
from torch import nn

from distill import data, detector, evaluate, export, golden, sample, stages, student, vae
from distill.diffusion import draw_times, epsilon, noisy, signal_level
from distill.loop import Loop, rate
from distill.muon import Muon, groups_for, orthogonalise
from distill.teacher import Batches


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


def tiny_loop(directory, steps):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(12, 16), nn.SiLU(), nn.Linear(16, 12))
    optimizer = Muon(groups_for(model, 1e-2, 1e-2))
    # The schedule is the same for the short run and the long one.
    loop = Loop(directory, model, optimizer, seconds=1e9, ema=0.9, max_steps=8)
    stop = type("Stop", (Exception,), {})

    def step(i):
        if i == steps:
            raise stop
        x = torch.randn(32, 12, generator=torch.Generator().manual_seed(i))
        return {"loss": (model(x) - x.flip(1)).square().mean()}

    try:
        loop.run(step)
    except stop:
        loop.save()
    return model, loop


def test_resume_is_exact(tmp_path):
    straight, loop = tiny_loop(tmp_path / "a", 8)
    tiny_loop(tmp_path / "b", 3)
    resumed, again = tiny_loop(tmp_path / "b", 8)
    assert again.steps == 8
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    for k, v in loop.ema.shadow.items():
        assert torch.equal(v, again.ema.shadow[k])
        assert not torch.equal(v, straight.state_dict()[k])


def test_noise_and_times():
    levels = signal_level()
    x, e = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    x_t, signal, sigma = noisy(x, e, torch.tensor([10, 900]), levels)
    assert torch.allclose(epsilon(signal * e - sigma * x, x_t, signal, sigma), e, atol=1e-5)
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


def test_stages_export_and_reload(tiny, tmp_path, monkeypatch):
    """The whole chain, then the exported directory through diffusers and transformers."""
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler
    from transformers import AutoTokenizer, T5EncoderModel

    config = tmp_path / "tiny.toml"
    text = (stages.Path(__file__).parent / "tiny.toml").read_text()
    text = text.replace("/tmp/scanvas-tiny", tiny["workdir"])
    for name in ("MODEL", "GOLDEN", "DOCS"):
        text = text.replace(name, str(tmp_path / name.lower()))
    config.write_text(text)
    run = stages.Run(config)
    for name in stages.STAGES:
        run.stage(name)
    dataset = run.dataset()
    assert dataset["latents"].float().std((0, 2, 3)).sub(1).abs().max() < 1e-2

    teacher, pupil = run.load_teacher(), run.load_student()
    trained = student.from_teacher(run.cfg["model"], teacher)
    for name, p in trained.named_parameters():
        mine = dict(pupil.named_parameters())[name]
        # Distillation moves the token mixers and nothing else.
        assert torch.equal(mine, p) != p.requires_grad, name

    out = tmp_path / "pipeline"
    export.save(out, pupil, run.autoencoder(), torch.float32)
    model, autoencoder = export.load(out)
    ids = dataset["ids"][:2].long()
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([40, 700])
    with torch.no_grad():
        assert torch.equal(model(noise, ids, t), pupil(noise, ids, t))
        theirs = T5EncoderModel.from_pretrained(out / "text_encoder").eval()
        embeds, mask = pupil.encode(ids)
        assert relative(theirs(input_ids=ids, attention_mask=mask).last_hidden_state, embeds) < 1e-6
        z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        decoder = AutoencoderKL.from_pretrained(out / "vae").eval()
        assert relative(decoder.decode(z).sample, run.autoencoder().decode(z).sample) < 1e-6
    assert DPMSolverMultistepScheduler.from_pretrained(out / "scheduler").config.prediction_type == "v_prediction"
    assert AutoTokenizer.from_pretrained(out / "tokenizer")("a cat").input_ids[-1] == 1
    index = json.loads((out / "model_index.json").read_text())
    assert index["_class_name"] == "T2MDPipeline"
    assert {k for k in index if k[0] != "_"} == {p.name for p in out.iterdir() if p.is_dir()}

    shown = sample.pictures(model, autoencoder, ["a cat", "two dogs"], [1, 2], steps=3)
    assert shown.shape == (2, 128, 128, 3)
    golden.build(out, tmp_path / "golden", "a red car", steps=2)
    from safetensors.torch import load_file

    case = load_file(tmp_path / "golden" / "case.safetensors")
    with torch.no_grad():
        again = model.transformer(
            case["forward.latent"], case["forward.embeds"], case["forward.mask"], case["forward.t"]
        )
    assert relative(again, case["forward.output"]) < 1e-6
    assert case["0.latents"].shape == (2, 1, 4, 16, 16)
    assert case["0.image"].shape == (1, 3, 128, 128)

    # The products, on a few of the prompts.
    prompts = evaluate.held_out_prompts()
    few = [prompts[i] for i in evaluate.grid_prompts()]
    monkeypatch.setattr(evaluate, "held_out_prompts", lambda: few)
    monkeypatch.setattr(evaluate, "grid_prompts", lambda: list(range(len(few))))
    for name in stages.PRODUCTS:
        run.stage(name)
    scores = json.loads((tmp_path / "docs" / "scores.json").read_text())
    assert scores["prompts"] == 16
    assert set(scores["student"]) == {*data.KINDS, "mean", "all_prompts", "seconds"}
    assert {p.name for p in (tmp_path / "docs").iterdir()} == {"grid.png", "losses.png", "scores.json"}
    assert (tmp_path / "golden" / "case.json").exists()


def test_batches_depend_on_the_step_alone():
    g = torch.Generator().manual_seed(0)
    dataset = {
        "latents": torch.randn(40, 4, 8, 8, generator=g).half(),
        "ids": torch.randint(3, 9, (40, 6), dtype=torch.int16),
    }
    cfg = dict(batch=16, caption_drop=0.5, uniform=0.2, time_mean=0.0, time_spread=1.0, held_out=8)
    a, b = Batches(dataset, cfg, 1)(5), Batches(dataset, cfg, 1)(5)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    other = Batches(dataset, cfg, 1)(6)
    assert not torch.equal(a[0], other[0])
    dropped = (a[1][:, 0] == 1).float().mean()
    assert 0.1 < dropped < 0.9


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
