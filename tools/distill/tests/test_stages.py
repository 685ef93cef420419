"""Every stage of the smoke configuration, and what it exports through diffusers, transformers and onnxruntime."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import SMOKE, distill, losses, relative, start
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer, T5EncoderModel

from distill import compare, data, evaluate, export, golden, sample, shards, stages
from distill.diffusion import Denoiser


def test_all_stages_are_done(smoke):
    assert smoke.stages == list(stages.STAGES)
    assert all(smoke.done(s) for s in smoke.stages)
    latents = shards.first(smoke.path("latents") / "128", 96).float()
    assert latents.shape == (96, 4, 16, 16)
    assert latents.std((0, 2, 3)).sub(1).abs().max() < 0.3


def test_what_each_stage_trains(smoke):
    models = {"teacher": Denoiser.from_pretrained(smoke.pipeline)}
    models |= {s: Denoiser.from_pretrained(smoke.pipeline, smoke.student(s)) for s in ("force", "distill", "adapt")}
    weights = {k: dict(m.transformer.named_parameters()) for k, m in models.items()}

    def moved(before: str, after: str) -> set[str]:
        return {n for n, w in weights[after].items() if n in weights[before] and not torch.equal(w, weights[before][n])}

    mixers = {n for n in weights["distill"] if ".mamba" in n}
    assert moved("teacher", "force") == set()
    assert moved("force", "distill") == mixers | {n for n in weights["distill"] if ".attn1." in n}
    assert moved("distill", "adapt") == set(weights["adapt"])
    configs = {k: m.transformer.config["pos_embed_type"] for k, m in models.items()}
    assert configs == dict.fromkeys(("teacher", "force", "distill"), "sincos") | {"adapt": "centered_sincos"}


def test_exported_pipeline(smoke, tmp_path):
    out = smoke.dir / "model"
    model, autoencoder = export.load(out)
    ours = Denoiser.from_pretrained(smoke.parts, smoke.student("highres"))
    ids = torch.tensor([[9, 20, 11, 1, 0], [5, 1, 0, 0, 0]])
    mask = (ids != 0).long()
    noise, t = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([40, 700])
    with torch.no_grad():
        assert relative(model(noise, ids, mask, t), ours(noise, ids, mask, t)) < 2e-3  # float16 weights
        theirs = T5EncoderModel.from_pretrained(out / "text_encoder", dtype=torch.float32).eval()
        embeds = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        assert relative(embeds, model.embed(ids, mask)) < 1e-6
        z = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        decoder = AutoencoderKL.from_pretrained(out / "vae", torch_dtype=torch.float32).eval()
        assert relative(decoder.decode(z).sample, autoencoder.decode(z).sample) < 1e-6
    assert {v.dtype for v in load_file(out / "transformer/diffusion_pytorch_model.safetensors").values()} == {
        torch.float16
    }
    assert DPMSolverMultistepScheduler.from_pretrained(out / "scheduler").config.prediction_type == "v_prediction"
    assert AutoTokenizer.from_pretrained(out / "tokenizer")("a cat").input_ids[-1] == 1
    index = json.loads((out / "model_index.json").read_text())
    assert index["_class_name"] == "T2MDPipeline"
    assert {k for k in index if k[0] != "_"} == {p.name for p in out.iterdir() if p.is_dir()}

    golden.build(out, tmp_path, "a red car", steps=2)
    case = load_file(tmp_path / "case.safetensors")
    with torch.no_grad():
        again = model.transformer(
            case["forward.latent"], case["forward.embeds"], case["forward.mask"], case["forward.t"]
        )
    assert relative(again, case["forward.output"]) < 1e-6
    shown = sample.pictures(model, autoencoder, ["a cat", "two dogs"], [1, 2], steps=3, size=192)
    assert shown.shape == (2, 192, 192, 3)
    # A last part that is not full is filled up with prompts that were had already; each picture comes out once.
    three = ["a cat", "two dogs", "a red car"], [1, 2, 3]
    parts, whole = (sample.pictures(model, autoencoder, *three, steps=2, batch=n).astype(int) for n in (2, 3))
    assert parts.shape == whole.shape and abs(parts - whole).max() <= 8 < abs(whole[1] - whole[2]).max()


@pytest.mark.parametrize("length", [1, 7, 120])
def test_text_encoder_as_onnx(smoke, length):
    out = smoke.dir / "model"
    session = onnxruntime.InferenceSession(out / "text_encoder.onnx")
    model = T5EncoderModel.from_pretrained(out / "text_encoder", dtype=torch.float32).eval()
    ids = torch.randint(3, 100, (1, length), generator=torch.Generator().manual_seed(length))
    mask = (torch.arange(length) <= length // 2).long()[None]
    (embeds,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert relative(torch.from_numpy(embeds), expected) < 1e-5


def test_a_finished_stage_says_so(smoke):
    sets = [f'workdir="{smoke.dir}"']
    result = distill("force", SMOKE, *(x for s in sets for x in ("--set", s)))
    assert result.returncode == 0
    assert "force: done already; remove" in result.stderr


def test_a_finished_phase_is_not_trained_again(smoke, tmp_path):
    """A killed run of several phases goes on in the one that it was in."""
    known = json.dumps(["vae", "latents", "teacher", "force", "distill", "adapt"])
    run = stages.Run(SMOKE, [f'workdir="{tmp_path}"', f'parent="{smoke.dir}"', f"parent_stages={known}"])
    shutil.copytree(smoke.dir / "highres", tmp_path / "highres")
    first, second = tmp_path / "highres" / "phase1", tmp_path / "highres" / "phase2"
    (first / "state.pt").unlink()
    shutil.rmtree(second)
    second.with_suffix(".done").unlink()
    run.stage("highres")
    assert sorted(p.name for p in first.iterdir()) == ["log.jsonl", "transformer"]
    assert second.with_suffix(".done").exists() and run.done("highres")
    mine, theirs = (
        load_file(d / "highres/transformer/diffusion_pytorch_model.safetensors") for d in (tmp_path, smoke.dir)
    )
    assert all(torch.allclose(mine[k], v, atol=1e-5) for k, v in theirs.items())


def test_report(smoke):
    docs = smoke.dir / "docs"
    scores = json.loads((docs / "scores.json").read_text())
    assert scores["prompts"] == 18 and scores["pictures"] == 2
    for name in ("teacher", "force", "distill", "adapt", "student"):
        own = {"fid"} if name in ("teacher", "student") else set()
        own |= {"eps_from_teacher"} if name != "teacher" else set()
        expected = {*data.KINDS, "mean", "all_prompts", "seconds", "held_out", "held_out_eps", "eps_by_time"}
        assert set(scores[name]) == expected | own
        assert len(scores[name]["eps_by_time"]) == 10
        assert scores[name].get("fid", 1) > 0
    at_256 = scores["sizes"]["256"]
    assert at_256["prompts"] == 2 and 0 <= at_256["all_prompts"] <= 1
    with Image.open(docs / "size_256.png") as sheet:
        assert sheet.width >= 2 * 256 and sheet.height >= 256
    figures = {"grid.png", "losses.svg", "errors.svg", "size_256.png"}
    assert {p.name for p in docs.iterdir()} == {*figures, "scores.json", "logs"}
    assert {p.name for p in (docs / "logs").iterdir()} == {
        *(f"{stage}.jsonl" for stage in ("vae", "teacher", "force", "distill", "adapt", "detector")),
        "highres-phase1.jsonl",
        "highres-phase2.jsonl",
    }


def test_report_draws_nothing_twice(smoke, tmp_path, monkeypatch):
    """A report cut short goes on; pictures of other weights or settings are drawn anew."""
    scores = smoke.dir / "docs" / "scores.json"
    before, drawn = scores.read_text(), []
    monkeypatch.setattr(sample, "pictures", lambda *_, **__: drawn.append(1) or np.full((1, 8, 8, 3), len(drawn)))
    evaluate.report(smoke)
    assert scores.read_text() == before and not drawn
    model, decoder = export.load(Path(smoke.cfg.output.model))
    for guidance, factor, times in ((2.0, 1, 1), (2.0, 1, 1), (1.5, 1, 2), (1.5, 2, 3), (2.0, 0.5, 3)):
        next(model.parameters()).data.mul_(factor)
        draw = evaluate.Drawings(tmp_path, dataclasses.replace(smoke.cfg.output, guidance=guidance))
        draw("student", model, decoder, ["a photo of a cat"], [1])
        assert len(drawn) == times


def test_comparison(smoke, tmp_path):
    """Two rows of one teacher, two seeds each: all trained, judged alike, in a table with their titles."""
    rows = {"a": "as it is", "b": "soft labels left out"}
    paths = []
    for n, title in rows.items():
        paths.append(tmp_path / f"{n}.toml")
        paths[-1].write_text(f"""
            base = "{SMOKE}"
            without = ["adapt", "highres"]
            workdir = "{tmp_path / n}"
            parent = "{smoke.dir}"
            title = "{title}"
            force.steps = 2
            distill = {{ steps = 2, evaluate_every = 1, soft_weight = {0.5 if n == "a" else 0.0} }}
            output.prompts = 3
            """)
    made = [compare.row(path, seeds=2) for path in paths]
    compare.compare(made, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "ablations.json").read_text())
    assert list(found) == ["teacher", *rows]
    assert found["a"]["held_out"] != found["b"]["held_out"]
    one, other = (seed["held_out"] for seed in found["a"]["seeds"])
    assert one != other
    assert found["a"]["held_out"] == pytest.approx((one + other) / 2)
    lines = (tmp_path / "out" / "ablations.md").read_text().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split(" | ")[0] for line in lines[3:]] == [f"| {title}" for title in rows.values()]
    assert ["±" in line for line in lines[2:]] == [False, True, True]  # the teacher is one
    assert compare.held_out(made[0])[-1][0] == 4  # of one budget: two steps of each stage
    assert {p.name for p in (tmp_path / "out" / "logs").iterdir()} == {
        f"{n}{seed}-{stage}.jsonl" for n in rows for seed in ("", "-seed2") for stage in ("force", "distill")
    }


def test_two_processes_have_the_loss_curve_of_one(smoke, tmp_path):
    """Two gloo processes through torchrun and accelerate, the same global batches, from force to distill."""
    common = [
        f'parent="{smoke.dir}"',
        "force.bf16=false",
        "force.log_every=1",
        "distill.bf16=false",
        "distill.log_every=1",
    ]
    common += ["force.steps=4", "distill.steps=4", "distill.save_every=2"]
    for processes in (1, 2):
        work = tmp_path / str(processes)
        sets = [x for s in [f'workdir="{work}"', *common] for x in ("--set", s)]
        for stage in ("force", "distill"):
            result = distill(stage, SMOKE, *sets, processes=processes)
            assert result.returncode == 0, result.stderr[-3000:]
    for stage in ("force", "distill"):
        one, two = (losses(tmp_path / str(n) / stage / "log.jsonl") for n in (1, 2))
        assert len(one) == len(two) == 4
        for a, b in zip(one, two, strict=True):
            assert a.keys() == b.keys()
            assert all(b[k] == pytest.approx(v, rel=2e-4) for k, v in a.items()), (stage, a, b)
        one, two = (
            load_file(tmp_path / str(n) / stage / "transformer/diffusion_pytorch_model.safetensors") for n in (1, 2)
        )
        assert max(relative(two[k], v) for k, v in one.items() if v.norm() > 0) < 1e-2


def test_a_killed_run_resumes_exactly(smoke, tmp_path):
    """SIGKILL in the middle, twice; the weights at the end are those of a run that was left alone, to the last bit."""
    sets = [f'parent="{smoke.dir}"', "threads=1", "force.steps=24", "force.save_every=5", "force.log_every=1"]
    finals = []
    for name, kills in (("straight", ()), ("killed", (7, 13))):
        work = tmp_path / name
        arguments = ["force", SMOKE, *(x for s in [f'workdir="{work}"', *sets] for x in ("--set", s))]
        for step in kills:
            process = start(*arguments)
            for line in process.stdout:
                if f'"step": {step},' in line:
                    break
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            process.stdout.close()
        result = distill(*arguments)
        assert result.returncode == 0, result.stderr[-3000:]
        # Continued from the checkpoint, not from the start.
        assert ('"step": 2,' in result.stdout) == (not kills)
        finals.append(load_file(work / "force/transformer/diffusion_pytorch_model.safetensors"))
    assert all(torch.equal(w, finals[1][k]) for k, w in finals[0].items())


def test_a_full_disk_in_a_stage(smoke, tmp_path):
    """The shell's limit on the size of files stands in for the disk: the write fails in the middle."""
    sets = [f'parent="{smoke.dir}"', f'workdir="{tmp_path}"', "force.save_every=2", "force.steps=4"]
    arguments = ["force", SMOKE, *(x for s in sets for x in ("--set", s))]
    result = distill(*arguments, before="trap '' XFSZ; ulimit -f 200")
    assert result.returncode == 1
    assert "state.pt" in result.stderr.splitlines()[-1]
    assert "make room and run again" in result.stderr.splitlines()[-1]
    assert not list((tmp_path / "force").glob("*.tmp"))
    assert distill(*arguments).returncode == 0


def test_a_full_disk_at_the_export(smoke, tmp_path):
    """After training: a sentence and no traceback, and a second run mends it."""
    sets = [f'parent="{smoke.dir}"', f"parent_stages={json.dumps(stages.STAGES)}", f'output.model="{tmp_path}"']
    arguments = ["export", SMOKE, *(x for s in [f'workdir="{tmp_path}"', *sets] for x in ("--set", s))]
    result = distill(*arguments, before="trap '' XFSZ; ulimit -f 20")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "File too large" in result.stderr and "mend it and run again" in result.stderr.splitlines()[-1]
    assert distill(*arguments).returncode == 0
