"""Line plots of the training logs, drawn with Pillow."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = (
    (31, 97, 200),
    (215, 70, 40),
    (40, 150, 70),
    (140, 80, 180),
    (200, 150, 20),
    (20, 150, 160),
    (190, 60, 130),
    (110, 110, 110),
    (90, 60, 30),
)


def read(path: Path, key: str, by: str = "minutes") -> list[tuple[float, float]]:
    """-> (minutes or step, value) of the records that have `key`; of a step done twice, after a kill, the last"""
    records = {r["step"]: r for line in Path(path).read_text().splitlines() if key in (r := json.loads(line))}
    return [(step if by == "step" else r["elapsed"] / 60, r[key]) for step, r in sorted(records.items())]


def panel(
    title: str, lines: dict[str, list[tuple[float, float]]], log: bool = False, unit: str = " min", size=(460, 260)
) -> Image.Image:
    """One set of axes; x in `unit`. Values may be drawn on a logarithmic scale."""
    image = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    ink = dict(zip(lines, itertools.cycle(INK), strict=False))  # a name has one colour beside panels that lack another
    lines = {k: [(x, y) for x, y in v if y > 0 or not log] for k, v in lines.items()}
    lines = {k: v for k, v in lines.items() if v}
    if not lines:  # a run too short to have logged anything
        draw.text((52, 6), f"{title}: no records", fill="black", font=font)
        return image
    left, top, right, bottom = 52, 26, size[0] - 12, size[1] - 24
    scale = np.log10 if log else (lambda v: v)
    xs = np.array([x for points in lines.values() for x, _ in points])
    ys = scale(np.array([y for points in lines.values() for _, y in points]))
    low, high = float(ys.min()), float(ys.max())
    pad = 0.05 * (high - low) + 1e-9
    low, high, last = low - pad, high + pad, max(float(xs.max()), 1e-9)
    draw.text((left, 6), title, fill="black", font=font)
    for k in range(5):
        value = low + (high - low) * k / 4
        y = bottom - (bottom - top) * k / 4
        draw.line((left, y, right, y), fill=(225, 225, 225))
        draw.text((4, y - 6), f"{10**value if log else value:.3g}", fill="black", font=font)
        x = left + (right - left) * k / 4
        draw.text((x - 8, bottom + 6), f"{last * k / 4:.0f}{unit}", fill="black", font=font)
    for k, (name, points) in enumerate(lines.items()):
        place = [
            (left + (right - left) * x / last, bottom - (bottom - top) * (float(scale(y)) - low) / (high - low))
            for x, y in points
        ]
        draw.line(place, fill=ink[name], width=2)
        draw.text((right - 110, top + 4 + 14 * k), name, fill=ink[name], font=font)
    return image


def losses(logs: dict[str, Path]) -> Image.Image:
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
            panels.append(panel(title.format(name=part), {k: read(file, k) for k in keys}, log))
    return sheet(panels or [panel("training", {})])


def sheet(panels: list[Image.Image]) -> Image.Image:
    """Two per row, all of one size."""
    width, height = panels[0].size
    out = Image.new("RGB", (2 * width, -(-len(panels) // 2) * height), "white")
    for k, p in enumerate(panels):
        out.paste(p, (k % 2 * width, k // 2 * height))
    return out
