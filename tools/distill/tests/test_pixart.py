"""A PixArt-alpha directory as diffusers saves it, through latents, force, distill, adapt and export, unchanged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds
from conftest import GOLDEN, ROOT, distill, relative
from diffusers import PixArtTransformer2DModel
from PIL import Image
from safetensors.torch import load_file

from distill import config, data, latents, shards, sources
from distill.diffusion import Denoiser, Schedule
from distill.errors import DistillError
from distill.student import from_attention, from_teacher

PIPELINE = GOLDEN / "pixart" / "pipeline"
TRAINING = "steps=2 batch=4 lanes=2 checkpointing=true log_every=1 save_every=1 evaluate_every=2".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures that are no squares, half with captions beside them, half in a table."""
    out = tmp_path_factory.mktemp("pictures")
    (out / "more").mkdir()
    rows = []
    for i in range(12):
        scene = sources.scene(1, i)
        picture = Image.fromarray(data.render(scene)).resize((150, 130))
        if i % 2:
            picture.save(out / "more" / f"{i}.jpg")
            rows.append(json.dumps({"file_name": f"{i}.jpg", "text": scene.caption}))
        else:
            picture.save(out / f"{i}.png")
            (out / f"{i}.txt").write_text(scene.caption + "\n")
    (out / "more" / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    Image.new("RGB", (8, 8)).save(out / "without-caption.png")
    return out


def digest(directory: Path) -> dict[str, str]:
    return {
        str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in directory.rglob("*")
        if p.is_file()
    }


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    """configs/pixart-alpha.toml with the small directory, few steps and the folder as its data."""
    work = tmp_path_factory.mktemp("pixart")
    sets = [f'workdir="{work}"', f'pipeline="{PIPELINE}"', "latents.source=folder", f'latents.path="{folder}"']
    sets += ["latents.sizes=[128,256]", "latents.counts=[0,0]", "latents.held_out=2", "latents.shard=3"]
    sets += [
        "student.d_state=16",
        "student.head_dim=24",
        f'output.model="{work}/model"',
        f'adapt.pipeline="{PIPELINE}"',
    ]
    sets += [f"{stage}.{s}" for stage in ("force", "distill", "adapt") for s in TRAINING]
    sets.append('highres.phases=[{mix={256=1.0}, steps=1, batch=2, lanes=2, optimizer="adamw"}]')
    before = digest(PIPELINE)
    result = distill("run", ROOT / "configs/pixart-alpha.toml", *(x for s in sets for x in ("--set", s)))
    assert result.returncode == 0, result.stderr[-3000:]
    assert digest(PIPELINE) == before
    return work


def test_student_has_the_teacher_s_other_weights(run):
    teacher = load_file(PIPELINE / "transformer/diffusion_pytorch_model.safetensors")
    for stage in ("force", "distill"):
        ours = load_file(run / stage / "transformer/diffusion_pytorch_model.safetensors")
        same = {k for k, v in teacher.items() if k in ours and torch.equal(ours[k], v)}
        mixers = {k for k in teacher if ".attn1." in k}
        assert same >= set(teacher) - mixers
        # Attention stays in block 0 alone: of five blocks, the paper's order replaces four.
        assert {k.split(".")[1] for k in ours if ".attn1." in k} == {"0"}
    distilled = load_file(run / "distill/transformer/diffusion_pytorch_model.safetensors")
    forced = load_file(run / "force/transformer/diffusion_pytorch_model.safetensors")
    assert {k for k in distilled if not torch.equal(distilled[k], forced[k])} == {
        k for k in distilled if ".mamba" in k or ".attn1." in k
    }


def test_logs_hold_the_paper_s_losses(run):
    (record,) = [
        r
        for r in map(json.loads, (run / "distill/log.jsonl").read_text().splitlines())
        if r.get("data") and r["step"] == 1
    ]
    assert record["loss"] == pytest.approx(record["data"] + 0.5 * record["soft"] + 0.2 * record["feature"], rel=1e-5)


def test_exported_directory(run):
    index = json.loads((run / "model/model_index.json").read_text())
    assert index["_class_name"] == "T2MDPipeline"
    written = json.loads((run / "model/transformer/config.json").read_text())
    assert written["out_channels"] == 8
    assert written["pos_embed_type"] == "centered_sincos"
    assert (run / "model/text_encoder.onnx").exists()


def test_embeddings_in_shards_are_the_text_encoder_s(run, folder):
    """And the latents the autoencoder's, scaled as the pipeline says."""
    cfg = config.Latents(
        source="folder", path=str(folder), sizes=[128], counts=[0], held_out=2, shard=3, text_length=120
    )
    train, held = sources.pieces(cfg, 128, 0)
    assert len(train) == 4
    (picture, caption), *_ = list(held())
    encoders = latents.Encoders.of(PIPELINE, text=True)
    # The autoencoder runs in bfloat16, whose last bit (4e-3) changes with the batch.
    sample = shards.read_shard(str(run / "latents/128/held.tar"))[0]
    assert relative(torch.from_numpy(sample["latent"]), encoders.latents(picture[None])[0].half()) < 2e-2
    assert np.allclose(sample["embeds"], encoders.texts([caption], 120)[0]["embeds"], atol=1e-2)
    z = encoders.autoencoder.encode(torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist.mode()
    assert relative(torch.from_numpy(sample["latent"])[None], z.detach() * 0.13025) < 4e-2


def test_teacher_is_diffusers_own(run):
    """What the losses take for the teacher's epsilon is PixArt's, its learned variances left out."""
    theirs = PixArtTransformer2DModel.from_pretrained(PIPELINE / "transformer").eval()
    stream = shards.Stream(run / "latents/128", config.Force(steps=1, batch=4, lanes=2))
    batch = stream(3)
    model, schedule = Denoiser.from_pretrained(PIPELINE, text=False), Schedule.of(PIPELINE)
    assert schedule.prediction == "epsilon"
    x_t, signal, sigma = schedule.noisy(batch)
    with torch.no_grad():
        expected = theirs(
            x_t,
            encoder_hidden_states=batch.text,
            encoder_attention_mask=batch.mask,
            timestep=batch.t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
        ).sample[:, :4]
        out = model(x_t, batch.text, batch.mask, batch.t)
    assert relative(out, expected) < 1e-5
    assert torch.equal(schedule.target(batch, signal, sigma), batch.noise)


def test_causal_initialisation_is_linear_attention():
    """Without decay, convolution and gate, a causal scan with these weights sums V K^T Q by attention's matrices."""
    teacher = Denoiser.from_pretrained(PIPELINE, text=False)
    cfg = config.Student(d_state=18, head_dim=24, bidirectional=False)
    ours = from_teacher(cfg, teacher, "causal")
    new, old = ours.transformer.transformer_blocks[2], teacher.transformer.transformer_blocks[2]
    inner = new.mamba.inner
    _, x, b, c, _ = new.mamba.in_proj.weight.detach().split([inner, inner, 18, 18, new.mamba.dt_bias.numel()])
    assert torch.equal(x[:72], old.attn1.to_v.weight)
    assert torch.equal(x[72:], old.attn1.to_v.weight)
    assert torch.allclose(b, old.attn1.to_k.weight.view(4, 18, 72).mean(0))
    assert torch.allclose(c, old.attn1.to_q.weight.view(4, 18, 72).mean(0))
    u = torch.randn(5, 72)
    assert torch.allclose(
        new.mamba.out_proj.weight @ (x @ u.T), old.attn1.to_out[0].weight @ (old.attn1.to_v.weight @ u.T), atol=1e-5
    )
    from_attention(new, old)  # idempotent
    assert torch.equal(new.mamba.in_proj.weight.split([inner, inner, 18, 18, new.mamba.dt_bias.numel()])[1], x)


def test_any_number_of_processes_sees_the_same_batches(run):
    cfg = config.Force(steps=1, batch=8, lanes=4, caption_drop=0.3)
    folder = run / "latents" / "128"
    whole = [shards.Stream(folder, cfg)(i) for i in range(5)]
    assert not torch.equal(whole[0].x, whole[1].x)
    for processes in (2, 4):
        for i, expected in enumerate(whole):
            parts = [shards.Stream(folder, cfg, p, processes)(i) for p in range(processes)]
            # A process has lanes p, p + n, ...; two samples of each.
            rows = [2 * lane + k for p in range(processes) for lane in range(p, 4, processes) for k in range(2)]
            assert torch.equal(torch.cat([p.x for p in parts]), expected.x[rows])
            assert torch.equal(torch.cat([p.t for p in parts]), expected.t[rows])
            assert torch.equal(torch.cat([p.noise for p in parts]), expected.noise[rows])
    with pytest.raises(DistillError, match="lanes = 4: not a multiple of 3 processes"):
        shards.Stream(folder, cfg, 0, 3)
    with pytest.raises(DistillError, match="lanes = 8: more than the 4 shards"):
        shards.Stream(folder, config.Force(steps=1, batch=8, lanes=8))


def test_an_epoch_is_every_sample_once(run):
    """Batches are taken across the ends of shards and epochs; order differs from epoch to epoch."""
    cfg = config.Force(steps=1, batch=2, lanes=1, caption_drop=0.0)
    stream = shards.Stream(run / "latents" / "128", cfg)
    epochs = [torch.cat([stream(5 * e + i).x for i in range(5)]) for e in range(2)]
    known = shards.first(run / "latents" / "128", 10).float()

    def order(rows: torch.Tensor) -> list[int]:
        return [int((known - row).abs().sum((1, 2, 3)).argmin()) for row in rows]

    assert sorted(order(epochs[0])) == sorted(order(epochs[1])) == list(range(10))
    assert order(epochs[0]) != order(epochs[1])


def test_tars_give_what_the_folder_gives(folder, tmp_path):
    files = sources.captions(folder)
    assert len(files) == 12
    for n, part in enumerate((files[:5], files[5:10], files[10:])):
        with wds.TarWriter(str(tmp_path / f"pairs-{n:03d}.tar")) as tar:
            for i, (path, caption) in enumerate(part):
                text = {"txt": caption} if i % 2 else {"json": json.dumps({"caption": caption}).encode()}
                tar.write({"__key__": f"{i}", path.suffix[1:]: path.read_bytes()} | text)
    train, held = sources.pieces(
        config.Latents(source="webdataset", path=str(tmp_path / "pairs-{000..002}.tar"), counts=[0]), 64, 0
    )
    got = [item for piece in (*train, held) for item in piece()]
    with_fit = [(sources.fit(Image.open(p), 64), c) for p, c in files]
    assert [c for _, c in got] == [c for _, c in with_fit]
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(got, with_fit, strict=True))
    with pytest.raises(DistillError, match="1 tars, expected two or more"):
        sources.pieces(config.Latents(source="webdataset", path=str(tmp_path / "pairs-000.tar"), counts=[0]), 64, 0)


def test_latents_go_on_after_the_last_whole_shard(run, folder, tmp_path):
    """What a killed run left is kept as it is; half a shard is made again."""
    shutil.copytree(run / "latents/128", tmp_path / "128")
    before = digest(tmp_path)
    (tmp_path / "128/index.json").unlink()
    (tmp_path / "128/train-000002.tar").rename(tmp_path / "128/train-000002.tar.tmp")
    kept = (tmp_path / "128/train-000001.tar").stat().st_mtime_ns
    cfg = config.Latents(
        source="folder", path=str(folder), sizes=[128], counts=[0], held_out=2, shard=3, text_length=120, batch=32
    )
    latents.build(cfg, 128, 0, latents.Encoders.of(PIPELINE, text=True), tmp_path / "128")
    assert (tmp_path / "128/train-000001.tar").stat().st_mtime_ns == kept
    assert digest(tmp_path).keys() == before.keys()
    ours, theirs = (shards.read_shard(str(p / "train-000002.tar")) for p in (tmp_path / "128", run / "latents/128"))
    assert all(np.array_equal(a["latent"], b["latent"]) for a, b in zip(ours, theirs, strict=True))
    with pytest.raises(DistillError, match=r"elsewhere/index\.json: .*run the stage latents first"):
        shards.Stream(tmp_path / "elsewhere", config.Force(steps=1))
