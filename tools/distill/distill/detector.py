"""A small detector of the objects in a picture; it stands in for a viewer when prompt following is counted.

It sees rendered scenes and autoencoder round trips, and, as counter-examples, things put together wrongly (shuffled
pieces, halves of two objects), which it must call "nothing": a blob of the right colours is not an object.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import config, data, sample
from .loop import Loop, save_atomic
from .sources import scene as training_scene

CELL = 8
NOTHING = len(data.OBJECTS)


@dataclass
class Detection:
    name: str
    color: str
    x: float
    y: float
    score: float


class Residual(nn.Module):
    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.conv = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.silu(self.norm(x)))


class Detector(nn.Module):
    """Pictures [B, 3, H, W] in -1..1 -> per cell of 8 x 8 pixels: centre logit, object logits, colour logits."""

    def __init__(self, width: int = 96):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 48, 4, 4),
            nn.SiLU(),
            nn.Conv2d(48, width, 4, 2, 1),
            *(Residual(width, d) for d in (1, 1, 2, 1, 2, 4)),
            nn.GroupNorm(8, width),
            nn.SiLU(),
        )
        self.head = nn.Conv2d(width, 1 + NOTHING + 1 + len(data.COLORS), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> [B, H/8, W/8], [B, objects + 1, H/8, W/8], [B, colours, H/8, W/8]"""
        y = self.head(self.body(x)).float()
        return y[:, 0], y[:, 1 : NOTHING + 2], y[:, NOTHING + 2 :]


def cell_of(t: data.Thing) -> tuple[int, int]:
    return (2 * t.y + t.size) // (2 * CELL), (2 * t.x + t.size) // (2 * CELL)


def spoil(picture: np.ndarray, t: data.Thing, rng: np.random.Generator) -> None:
    """Make something of the thing's box that is no object: quarters exchanged, or half of it another object."""
    box = picture[t.y : t.y + t.size, t.x : t.x + t.size]
    half = t.size // 2
    if rng.random() < 0.5:
        quarters = [box[i : i + half, j : j + half].copy() for i in (0, half) for j in (0, half)]
        order = np.roll(np.arange(4), rng.integers(1, 4)) if rng.random() < 0.5 else [1, 0, 3, 2]
        for k, (i, j) in zip(order, ((0, 0), (0, half), (half, 0), (half, half)), strict=True):
            box[i : i + half, j : j + half] = quarters[k]
        return
    other = t.name
    while other == t.name:
        other = data.OBJECTS[rng.integers(len(data.OBJECTS))]
    color, clear = data.sprite(other, None, t.size)
    side = np.s_[half:] if rng.random() < 0.5 else np.s_[:, half:]
    corner = box[0, 0].astype(np.float32)
    box[side] = (corner * clear[side] + color[side] + 0.5).astype(np.uint8)


def targets(scenes: list[data.Scene], spoiled: list[set[int]], cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """-> centre heat map [B, c, c], and per cell the object and colour index (-1: not asked)"""
    heat = np.zeros((len(scenes), cells, cells), np.float32)
    kind, color = (np.full(heat.shape, -1, np.int64) for _ in range(2))
    rows, columns = np.mgrid[:cells, :cells]
    for b, s in enumerate(scenes):
        for i, t in enumerate(s.things):
            y, x = cell_of(t)
            heat[b] = np.maximum(heat[b], np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2))
            kind[b, y, x] = NOTHING if i in spoiled[b] else data.OBJECTS.index(t.name)
            if t.color is not None and i not in spoiled[b]:
                color[b, y, x] = data.COLOR_NAMES.index(t.color)
    return torch.from_numpy(heat), torch.from_numpy(kind), torch.from_numpy(color)


def augment(pictures: np.ndarray, rng: np.random.Generator) -> Tensor:
    """uint8 [B, H, W, 3] -> [B, 3, H, W]: a little blur, noise and shift of the colours"""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if rng.random() < 0.4:
        x = 0.5 * x + 0.5 * F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32)) * float(rng.random() * 0.08)
    shift = torch.from_numpy(rng.normal(0, 0.04, (len(x), 3, 1, 1)).astype(np.float32))
    return (x + noise + shift).contiguous(memory_format=torch.channels_last)


def batch(i: int, count: int, decoded: dict | None = None) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Half rendered (a fifth of their things spoiled), half decoded from latents when there are any."""
    rng = np.random.default_rng((5, i))
    scenes, spoiled, pictures = [], [], []
    for k in range(count):
        if decoded is not None and k % 2:
            row = int(rng.integers(len(decoded["pictures"])))
            scenes.append(training_scene(decoded["seed"], row))
            pictures.append(decoded["pictures"][row].numpy())
            spoiled.append(set())
            continue
        scene = data.make_scene(rng) if rng.random() < 0.8 else data.dense_scene(rng)[0]
        picture = data.render(scene)
        bad = {j for j in range(len(scene.things)) if rng.random() < 0.2}
        for j in bad:
            spoil(picture, scene.things[j], rng)
        scenes.append(scene)
        pictures.append(picture)
        spoiled.append(bad)
    return augment(np.stack(pictures), rng), targets(scenes, spoiled, data.BASE // CELL)


def loss(outputs: tuple[Tensor, Tensor, Tensor], wanted: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    logit, kinds, colors = outputs
    heat, kind, color = wanted
    p = logit.sigmoid()
    positive = (heat > 0.99).float()
    focal = -(
        positive * (1 - p) ** 2 * F.logsigmoid(logit) + (1 - positive) * (1 - heat) ** 4 * p**2 * F.logsigmoid(-logit)
    )
    parts = {
        "centre": focal.sum() / positive.sum(),
        "object": F.cross_entropy(kinds, kind, ignore_index=-1),
        "color": F.cross_entropy(colors, color, ignore_index=-1),
    }
    return parts | {"loss": sum(parts.values())}


def decode_some(latents: Tensor, autoencoder: nn.Module, seed: int, path: Path) -> dict:
    """Pictures of the first training latents with a little noise on them, as a generator would leave it."""
    if path.exists():
        return torch.load(path, weights_only=True)
    z = latents.float()
    g = torch.Generator().manual_seed(0)
    z = z + torch.randn(z.shape, generator=g) * torch.rand(len(z), 1, 1, 1, generator=g) * 0.25
    out = {"pictures": torch.from_numpy(sample.decode(autoencoder, z)), "seed": seed}
    save_atomic(out, path)
    return out


class DetectionLoss(nn.Module):
    def __init__(self, student: Detector):
        super().__init__()
        self.student = student

    def forward(self, batch: tuple) -> dict[str, Tensor]:
        x, wanted = batch
        return loss(self.student(x), wanted)


def train(cfg: config.DetectorConfig, decoded: dict | None, directory: Path) -> Detector:
    torch.manual_seed(6)
    model = Detector(cfg.width).to(memory_format=torch.channels_last)
    loop = Loop(directory, DetectionLoss(model), cfg, adam_only=("head",))
    average = loop.run(lambda i: batch(i, cfg.batch, decoded))
    torch.save({"width": cfg.width, "model": average.state_dict()}, directory / "detector.pt")
    return average


def load(directory: Path) -> Detector:
    state = torch.load(Path(directory) / "detector.pt", weights_only=True)
    model = Detector(state["width"])
    model.load_state_dict(state["model"])
    return model.eval()


@torch.no_grad()
def detect(model: Detector, pictures: np.ndarray, threshold: float = 0.4) -> list[list[Detection]]:
    """uint8 [N, 128, 128, 3] -> the things in each picture; what looks like one but is none is "nothing"."""
    out = []
    for part in np.split(pictures, range(64, len(pictures), 64)):
        x = torch.from_numpy(part).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = x.to(model.head.weight.device, memory_format=torch.channels_last)
        logit, kinds, colors = model(x)
        p = logit.sigmoid()
        peak = (p == F.max_pool2d(p[:, None], 5, 1, 2)[:, 0]) & (p > threshold)
        for b in range(len(part)):
            found = []
            for y, x_ in peak[b].nonzero().tolist():
                name = int(kinds[b, :, y, x_].argmax())
                found.append(
                    Detection(
                        "nothing" if name == NOTHING else data.OBJECTS[name],
                        data.COLOR_NAMES[int(colors[b, :, y, x_].argmax())],
                        x_ * CELL + CELL / 2,
                        y * CELL + CELL / 2,
                        float(p[b, y, x_]),
                    )
                )
            out.append(found)
    return out
