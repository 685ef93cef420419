"""What the run with the real teacher leans on: its width, T5's own tokenizer, shards at an address, sharded weights."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
import sentencepiece
import torch
from conftest import GOLDEN, ROOT, SMOKE, distill, losses, start
from safetensors.torch import load_file
from transformers import AutoTokenizer

from distill import config, export, layout, shards
from distill.errors import DistillError


def test_two_blocks_of_the_real_width(tmp_path):
    """PixArt-XL's width, heads, captions and size of picture, the paper's state of 256, through force and distill."""
    layout.write(tmp_path / "pipeline")
    sets = [f'workdir="{tmp_path}"', f'pipeline="{tmp_path}/pipeline"', f'output.model="{tmp_path}/model"']
    arguments = [ROOT / "configs/real-width.toml", *(x for s in sets for x in ("--set", s))]
    result = distill("run", *arguments)
    assert result.returncode == 0, result.stderr[-3000:]
    written = json.loads((tmp_path / "model/transformer/config.json").read_text())
    assert written["num_attention_heads"] * written["attention_head_dim"] == 1152
    assert (written["mamba_d_state"], written["token_mixers"]) == (256, ["attention", "mamba_h"])
    for stage in ("force", "distill"):
        found = losses(tmp_path / stage / "log.jsonl")
        assert len(found) == 3 and all(0 < r["loss"] < 100 for r in found), found


def test_a_tokenizer_that_is_a_sentencepiece_model(tmp_path):
    """PixArt's directory on the hub has spiece.model alone; what is exported has the tokenizer.json of browsers."""
    given, out = tmp_path / "pipeline", tmp_path / "model"
    shutil.copytree(GOLDEN / "pixart" / "pipeline", given)
    for file in (given / "tokenizer").iterdir():
        file.unlink()
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("a photo of a red car left of a frog\nthree blue stars\nthe quick brown fox jumps\n" * 20)
    words = given / "tokenizer" / "spiece"
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    sentencepiece.SentencePieceTrainer.train(input=str(sentences), model_prefix=str(words), vocab_size=30, **ids)
    words.with_suffix(".vocab").unlink()
    (given / "tokenizer/tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}\n')
    export.save(config.Output(model=str(out)), given / "transformer", given)
    assert (out / "tokenizer/tokenizer.json").exists()
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(words.with_suffix(".model")))
    for text in ("a red car", "three frogs jump"):
        assert AutoTokenizer.from_pretrained(out / "tokenizer")(text).input_ids == [*theirs.encode(text), 1]


def test_shards_at_an_address(smoke):
    """Batches from a URL are those of the folder."""
    folder = smoke.path("latents") / "128"
    cfg = smoke.cfg.force
    local, remote = shards.Stream(folder, cfg), shards.Stream(f"file://{folder}", cfg)
    for i in range(3):
        assert all(torch.equal(a, b) for a, b in zip(local(i), remote(i), strict=True))
    assert len(list(remote.held_out())) == len(list(local.held_out())) > 0
    with pytest.raises(DistillError, match=r"file:///nowhere/index\.json: .*run the stage latents first"):
        shards.Stream("file:///nowhere", cfg)


def test_training_from_an_address(smoke, tmp_path):
    """A run whose shards lie elsewhere makes no latents of its own."""
    sets = [f'parent="{smoke.dir}"', 'parent_stages=["vae", "teacher"]', f'workdir="{tmp_path}"', "force.steps=2"]
    sets.append(f'latents.url="file://{smoke.path("latents")}"')
    for stage in ("latents", "force"):
        result = distill(stage, SMOKE, *(x for s in sets for x in ("--set", s)))
        assert result.returncode == 0, result.stderr[-3000:]
    assert not (tmp_path / "latents").exists()
    assert (tmp_path / "force/transformer/config.json").exists()


def test_sharded_weights_over_two_processes(smoke, tmp_path):
    """FSDP's losses are those of one process that holds everything; killed in the middle, both go on as one."""
    common = [f'parent="{smoke.dir}"', "force.steps=6", "force.save_every=2", "force.log_every=1", "force.bf16=false"]
    common += ['force.optimizer="adamw"', "force.clip=100"]

    def arguments(name: str, sharded: bool) -> list:
        sets = [f'workdir="{tmp_path / name}"', f"force.sharded={str(sharded).lower()}", *common]
        return ["force", SMOKE, *(x for s in sets for x in ("--set", s))]

    for name, processes in (("one", 1), ("two", 2)):
        result = distill(*arguments(name, processes > 1), processes=processes)
        assert result.returncode == 0, result.stderr[-3000:]
    process = start(*arguments("killed", True), processes=2)
    for line in process.stdout:
        if '"step": 5,' in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    result = distill(*arguments("killed", True), processes=2)
    assert result.returncode == 0, result.stderr[-3000:]
    assert '"step": 3,' not in result.stdout and '"step": 6,' in result.stdout
    one, two = (losses(tmp_path / name / "force" / "log.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 6
    for a, b in zip(one, two, strict=True):
        assert all(b[k] == pytest.approx(v, rel=1e-3) for k, v in a.items()), (a, b)
    weights = [
        load_file(tmp_path / name / "force/transformer/diffusion_pytorch_model.safetensors")
        for name in ("one", "two", "killed")
    ]
    for k, w in weights[0].items():
        assert torch.allclose(weights[1][k], w, atol=2e-4), k
        assert torch.equal(weights[2][k], weights[1][k]), k


def test_a_sharded_high_resolution_phase(smoke, tmp_path):
    """As configs/pixart-alpha.toml has it: all weights, activations made again, a whole transformer at the end."""
    phase = '{mix={128=1.0}, steps=2, batch=4, lanes=2, optimizer="adamw", sharded=true, checkpointing=true}'
    known = ["vae", "latents", "teacher", "force", "distill", "adapt"]
    sets = [f'parent="{smoke.dir}"', f"parent_stages={known}", f'workdir="{tmp_path}"', f"highres.phases=[{phase}]"]
    result = distill("highres", SMOKE, *(x for s in sets for x in ("--set", s)), processes=2)
    assert result.returncode == 0, result.stderr[-3000:]
    name = "transformer/diffusion_pytorch_model.safetensors"
    before, after = (load_file(folder / name) for folder in (smoke.path("adapt"), tmp_path / "highres"))
    assert before.keys() == after.keys()
    assert all(w.shape == before[k].shape and torch.isfinite(w).all() for k, w in after.items())
    assert sum(not torch.equal(w, before[k]) for k, w in after.items()) > len(after) / 2
