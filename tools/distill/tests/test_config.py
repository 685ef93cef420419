"""A configuration that is wrong ends in one sentence that says what to mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT, SMOKE, distill

from distill import config
from distill.config import Student
from distill.errors import DistillError


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_read(path, monkeypatch):
    monkeypatch.setattr(Path, "is_dir", lambda self: True)  # the pipeline directories are elsewhere
    assert config.load(path).workdir


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("distill.sofft_weight=0.5", r"\[distill\] sofft_weight: no such key; did you mean soft_weight\?"),
        ("distill.steps=ten", r"\[distill\] steps: found 'ten', expected int"),
        ("distill.steps=0", r"\[distill\] steps: found 0, expected more than 0"),
        ("distill.seconds=10", r"\[distill\] steps: found 8, expected steps \(a number\) or seconds, not both"),
        ("distill.batch=6", r"\[distill\] batch: found 6, expected a multiple of lanes = 4"),
        ("distill.lr=-1", r"\[distill\] lr: found -1.0, expected more than 0"),
        ("distill.init=magic", r"\[distill\] init: found 'magic'"),
        ("distill.optimizer=sgd", r"\[distill\] optimizer: found 'sgd', expected \"muon\" or \"adamw\""),
        ("distill.sharded=true", r"\[distill\] sharded: found True, expected optimizer = \"adamw\""),
        ("distill=7", r"distill: found 7, expected Distill"),
        ("latents.source=folder", r"\[latents\] path: found '', expected where the folder lies"),
        ("latents.counts=[1]", r"\[latents\] counts: found \[1\], expected one for each of sizes"),
        (
            "highres.phases=[{steps=1, batch=4, mix={256=1.0}, batches={128=4}}]",
            r"\] batches: found \{'128': 4\}, expected multiples of lanes = 4 for sizes of the mix \['256'\]",
        ),
        ("output.sizes={100=4}", r"\[output\] sizes: found .*'100': 4\}, expected multiples of 128"),
        ("pipeline=/nowhere", r"pipeline: found '/nowhere', expected no \['vae', 'model', 'teacher'\]"),
        ('student.mixers=["attention"]', r"\[student\] mixers: found 1, expected one for each of the teacher's 8"),
        ('student.mixers=["mambo"]', r"\[student\] mixers: found \['mambo'\], expected each one of attention"),
        ("student.fusion=mean", r"\[student\] fusion: found 'mean', expected \"concat\" or \"sum\""),
        ("model.pos_embed_type=rotary", r"\[model\] pos_embed_type: found 'rotary', expected sincos or"),
        ("output.dtype=int8", r"\[output\] dtype: found 'int8', expected float16 or float32"),
        ("latents.sizes=[128,192,512]", r"\[latents\] sizes: found \[128, 192, 512\], expected multiples of 128"),
    ],
)
def test_wrong_values(override, message):
    with pytest.raises(DistillError, match=message):
        config.load(SMOKE, [override])


def test_the_paper_s_order_is_the_default():
    mixers = Student().token_mixers(28)
    assert [i for i, m in enumerate(mixers) if m == "attention"] == [0, 7, 14, 21]
    assert mixers[1:7] == ["mamba_h", "mamba_w"] * 3


def test_files_that_are_no_config(tmp_path):
    with pytest.raises(DistillError, match=r"none\.toml: cannot be read \(No such file or directory\)"):
        config.load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("workdir = \n")
    with pytest.raises(DistillError, match=r"bad\.toml: not TOML: .*line 1"):
        config.load(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(DistillError, match=r"empty\.toml workdir: missing"):
        config.load(tmp_path / "empty.toml")


def test_base_and_overrides(tmp_path):
    (tmp_path / "own.toml").write_text(f'base = "{SMOKE}"\n[distill]\nsoft_weight = 0.0\n')
    cfg = config.load(tmp_path / "own.toml", ["distill.steps=3", "workdir=/tmp/x"])
    assert (cfg.distill.soft_weight, cfg.distill.steps, cfg.distill.batch, cfg.workdir) == (0.0, 3, 16, "/tmp/x")


def test_a_base_without_some_of_its_tables(tmp_path):
    (tmp_path / "row.toml").write_text(
        f'base = "{SMOKE}"\nwithout = ["force"]\n[distill]\ninit = "teacher"\n',
    )
    assert config.load(tmp_path / "row.toml").force is None
    (tmp_path / "row.toml").write_text(f'base = "{SMOKE}"\nwithout = ["farce"]\n')
    with pytest.raises(DistillError, match="'farce' is no table of"):
        config.load(tmp_path / "row.toml")


def test_the_command_says_it_in_one_line():
    result = distill("run", SMOKE, "--set", "distill.sofft_weight=0.5")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("distill: ")
    assert "Traceback" not in result.stderr


def test_a_phase_may_have_a_batch_for_each_size():
    phase = config.load(SMOKE).highres.phases[0]
    assert {size: phase.of(size).batch for size in phase.mix} == {"128": 16, "256": 4}
