"""The parts around the training: threads, plots, the command line's configuration."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distill import evaluate, plot
from distill.threads import Yielder, free_threads


@pytest.mark.parametrize(
    ("others", "most", "expected"), [(0.1, 2, 2), (0.5, 2, 1), (1.0, 2, 1), (2.0, 2, 1), (1.0, 8, 7)]
)
def test_free_threads(others, most, expected):
    assert free_threads(others, most) == expected


def test_yielder_measures_the_machine():
    yielder = Yielder(period=0.0)
    before = yielder.mark
    sum(range(2_000_000))
    seconds, busy, own = (a - b for a, b in zip(yielder._read(), before, strict=True))
    assert 0 < own <= busy + 0.05
    assert seconds > 0


def test_plot_draws_the_values(tmp_path):
    log = tmp_path / "log.jsonl"
    records = [
        {"step": k, "elapsed": 60.0 * k, "loss": 2.0**-k} | ({"psnr": 20.0 + k} if k % 2 else {}) for k in range(6)
    ]
    log.write_text("\n".join(map(json.dumps, records)) + "\n")
    assert plot.read(log, "psnr") == [(1.0, 21.0), (3.0, 23.0), (5.0, 25.0)]
    assert plot.read(log, "psnr", "step") == [(1, 21.0), (3, 23.0), (5, 25.0)]
    panels = [plot.Panel("t", {"none": [], "loss": plot.read(log, "loss")}, "minutes", log=True)]
    panels.append(plot.Panel("empty", {"loss": []}, "steps"))
    axes, empty = plot.figure(panels).axes
    (line,) = axes.lines
    assert (line.get_label(), line.get_color(), axes.get_yscale()) == ("loss", "C1", "log")
    assert line.get_xydata().tolist() == [[k, 2.0**-k] for k in range(6)]
    assert "no records" in empty.get_title("left")
    for name in ("a.svg", "b.svg"):
        plot.save(panels, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_contact_sheet_shows_every_picture():
    pictures = np.stack([np.full((32, 32, 3), 10 * k + 5, np.uint8) for k in range(5)])
    sheet = np.asarray(evaluate.contact_sheet(["x"] * 5, {"a": pictures, "b": 255 - pictures}, per_row=2))
    for k in range(5):
        assert ((sheet == 10 * k + 5).all(-1)).sum() > 500
        assert ((sheet == 250 - 10 * k).all(-1)).sum() > 500
