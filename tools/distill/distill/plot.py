"""Line plots of the training logs, drawn with matplotlib."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

# Text stays text, and the same log gives the same bytes: figures are kept in git.
matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "scanvas", "font.size": 9}

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One set of axes: lines by name, each of (x, y) with x in `unit`."""

    title: str
    lines: dict[str, Points]
    unit: str
    log: bool = False


def read(path: Path, key: str, by: str = "minutes") -> Points:
    """-> (minutes or step, value) of the records that have `key`; of a step done twice, after a kill, the last"""
    records = {r["step"]: r for line in Path(path).read_text().splitlines() if key in (r := json.loads(line))}
    return [(step if by == "step" else r["elapsed"] / 60, r[key]) for step, r in sorted(records.items())]


def losses(logs: dict[str, Path]) -> list[Panel]:
    """The curves of each log, named by its stage."""
    shown = {
        "vae": ("autoencoder: PSNR on held-out scenes, dB", ("psnr",), False),
        "teacher": ("teacher: squared error", ("loss", "held_out"), True),
        "force": ("teacher forcing: relative error of a mixer", ("mixer1", "mixer3", "mixer4", "mixer6"), True),
        "distill": ("distillation", ("data", "soft", "feature", "held_out"), True),
        "adapt": ("adaptation: squared error", ("loss", "held_out"), True),
        "highres": ("higher resolution, {name}: squared error", ("loss", "held_out"), True),
        "detector": ("detector", ("loss", "object", "color"), True),
    }
    panels = []
    for name, file in logs.items():
        stage, _, part = name.partition("-")
        if stage in shown:
            title, keys, log = shown[stage]
            panels.append(Panel(title.format(name=part), {k: read(file, k) for k in keys}, "minutes", log))
    return panels


def figure(panels: Sequence[Panel], columns: int = 2) -> Figure:
    """Panels in rows, legends beside the axes. A line's colour is its place among the names, drawn or empty."""
    rows = max(1, -(-len(panels) // columns))
    drawn = Figure(figsize=(5.5 * columns, 2.9 * rows), layout="constrained")
    for k, panel in enumerate(panels):
        axes = drawn.add_subplot(rows, columns, k + 1)
        axes.set_title(panel.title, fontsize="medium", loc="left")
        axes.set_xlabel(panel.unit)
        axes.grid(alpha=0.3, which="both")
        axes.spines[["top", "right"]].set_visible(False)
        if panel.log:
            axes.set_yscale("log")
        for n, (name, points) in enumerate(panel.lines.items()):
            if points:
                marker = "o" if len(points) == 1 else None
                axes.plot(*zip(*points, strict=True), color=f"C{n}", linewidth=1.3, marker=marker, label=name)
        if axes.lines:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        else:  # a run too short to have logged anything
            axes.set_title(f"{panel.title}: no records", fontsize="medium", loc="left")
    return drawn


def save(panels: Sequence[Panel], path: Path, columns: int = 2) -> None:
    figure(panels, columns).savefig(path, metadata={"Date": None})
