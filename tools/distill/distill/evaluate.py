"""Does the picture show what the prompt says? Held-out prompts, the check, score, FID, errors by time, the report."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from . import config, data, detector, export, geneval, parallel, plot, sample, training, vae
from .detector import Detection, Detector, detect
from .diffusion import STEPS, Batch, Denoiser, Schedule

if TYPE_CHECKING:
    from .stages import Run

SHEET = 2048  # pixels, the width of a sheet of large pictures


def held_out_prompts() -> list[data.Scene]:
    """A fixed list: colours, numbers and companions that the model never saw together (and every object alone)."""
    rng = np.random.default_rng(2024)
    out = [data.make_scene(rng, "single", [{"name": o}], prefix="a photo of ", background="") for o in data.OBJECTS]
    for color, name in sorted(data.HELD_OUT_PAIRS):
        out.append(
            data.make_scene(rng, "colors", [{"name": name, "color": color}], prefix="a photo of ", background="")
        )
    meetings = sorted(tuple(sorted(m)) for m in data.HELD_OUT_MEETINGS)
    for pair in meetings + [m[::-1] for m in meetings]:
        out.append(data.make_scene(rng, "two", [{"name": n} for n in pair], prefix="a photo of ", background=""))
    for index, count in sorted(data.HELD_OUT_COUNTS):
        thing = {"name": data.OBJECTS[index], "count": count}
        out.append(data.make_scene(rng, "counting", [thing], prefix="a photo of ", background=""))
    for k, pair in enumerate(meetings + [m[::-1] for m in meetings]):
        relation = list(data.RELATIONS)[k % 4]
        scene = data.make_scene(
            rng, "position", [{"name": n} for n in pair], relation, prefix="a photo of ", background=""
        )
        out.append(scene)
    pairs = sorted(data.HELD_OUT_PAIRS)
    for k, (color, name) in enumerate(pairs + pairs[::2]):
        other = name
        while other == name:
            other = data.COLORABLE[rng.integers(len(data.COLORABLE))]
        second = color
        while second == color or (second, other) in data.HELD_OUT_PAIRS:
            second = data.COLOR_NAMES[rng.integers(len(data.COLOR_NAMES))]
        things = [{"name": name, "color": color}, {"name": other, "color": second}]
        things = things if k % 2 else things[::-1]
        out.append(data.make_scene(rng, "color_attr", things, prefix="a photo of ", background=""))
    return out


def follows(scene: data.Scene, found: list[Detection]) -> bool:
    """All that the caption says, and nothing else: objects and their number, colours, the relation."""
    wanted = Counter({o["name"]: o["count"] for o in scene.spec})
    if Counter(d.name for d in found) != wanted:
        return False
    for o in scene.spec:
        if o["color"] and any(d.color != o["color"] for d in found if d.name == o["name"]):
            return False
    if scene.relation:
        first, second = (next(d for d in found if d.name == o["name"]) for o in scene.spec)
        dx, dy = second.x - first.x, second.y - first.y
        ahead = {"left": dx, "right": -dx, "above": dy, "below": -dy}[scene.relation]
        return ahead > 16 and ahead >= 0.9 * max(abs(dx), abs(dy))
    return True


def score(scenes: list[data.Scene], found: list[list[Detection]]) -> dict[str, float]:
    """Share of prompts followed per kind, and their mean over the kinds, as GenEval counts."""
    kinds: dict[str, list[bool]] = {}
    for s, f in zip(scenes, found, strict=True):
        kinds.setdefault(s.kind, []).append(follows(s, f))
    out = {k: float(np.mean(v)) for k, v in kinds.items()}
    out["mean"] = float(np.mean(list(out.values())))
    out["all_prompts"] = float(np.mean([x for v in kinds.values() for x in v]))
    return out


def altered(scene: data.Scene, rng: np.random.Generator) -> data.Scene:
    """A scene that breaks the caption in one point: another number, colour, object, or the opposite place."""
    objects = [dict(o) for o in scene.spec]
    relation = scene.relation
    if scene.kind == "counting":
        objects[0]["count"] += 1 if objects[0]["count"] < 5 else -1
    elif scene.kind == "position":
        relation = data.OPPOSITE[relation]
    elif scene.kind in ("colors", "color_attr"):
        objects[0]["color"] = next(c for c in data.COLOR_NAMES if c not in {o["color"] for o in objects})
    else:
        taken = {o["name"] for o in objects}
        objects[0]["name"] = next(o for o in rng.permutation(data.OBJECTS) if o not in taken)
    return data.make_scene(rng, scene.kind, objects, relation, prefix="", background="")


def detector_accuracy(detector: Detector, roundtrip, prompts: list[data.Scene], repeats: int = 3) -> dict[str, float]:
    """How far to trust the check: `roundtrip` is the autoencoder, uint8 pictures -> uint8 pictures.

    accepted: rendered pictures of the prompts that pass; accepted_wrong: pictures that break the prompt in one
    point and pass all the same.
    """
    out = {}
    scenes = prompts * repeats
    rng = np.random.default_rng(77)
    fresh = [data.make_scene(rng, s.kind, s.spec, s.relation, prefix="", background="") for s in scenes]
    wrong = [altered(s, rng) for s in scenes]
    for name, shown in (("accepted", fresh), ("accepted_wrong", wrong)):
        found = detect(detector, roundtrip(np.stack([data.render(s) for s in shown])))
        out[name] = float(np.mean([follows(s, f) for s, f in zip(scenes, found, strict=True)]))
    return out


def grid_prompts() -> list[int]:
    """Indices into `held_out_prompts()`: 16 of them, over all six kinds, spread evenly and not chosen by result."""
    kinds: dict[str, list[int]] = {}
    for i, s in enumerate(held_out_prompts()):
        kinds.setdefault(s.kind, []).append(i)
    share = {"single": 2, "colors": 3, "two": 3, "counting": 3, "position": 3, "color_attr": 2}
    return [kinds[k][(2 * j + 1) * len(kinds[k]) // (2 * n)] for k, n in share.items() for j in range(n)]


def contact_sheet(
    captions: list[str],
    columns: dict[str, np.ndarray],
    marks: dict[str, list[bool]] | None = None,
    per_row: int = 4,
) -> Image.Image:
    """Pictures of several models, by name, side by side under each caption; a green or red bar says whether the check
    passed."""
    font = ImageFont.load_default(11)
    n, size = len(columns), next(iter(columns.values())).shape[1]
    width, height, top = n * size + 10, size + 24, 16
    rows = -(-len(captions) // per_row)
    sheet = Image.new("RGB", (per_row * width, top + rows * height), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    for k in range(per_row):
        for c, name in enumerate(columns):
            draw.text((k * width + 5 + c * size, 2), name, fill=(110, 110, 110), font=font)
    for i, caption in enumerate(captions):
        x0, y0 = i % per_row * width + 5, top + i // per_row * height
        draw.text((x0, y0 + 2), caption, fill=(20, 20, 20), font=font)
        for c, (name, shown) in enumerate(columns.items()):
            x = x0 + c * size
            sheet.paste(Image.fromarray(shown[i]), (x, y0 + 16))
            draw.rectangle((x, y0 + 16, x + size - 1, y0 + 15 + size), outline=(200, 200, 200))
            if marks:
                draw.rectangle(
                    (x, y0 + 17 + size, x + size - 2, y0 + 19 + size),
                    fill=(40, 160, 60) if marks[name][i] else (220, 50, 40),
                )
    return sheet


@torch.no_grad()
def errors_by_time(
    model: Denoiser, batches: Iterable[Batch], schedule: Schedule, teacher: Denoiser | None = None, bins: int = 10
) -> list[float]:
    """Mean squared error of epsilon in `bins` equal parts of the 1000 times, against the noise, or against what
    `teacher` says"""
    sums, counts = torch.zeros(bins), torch.zeros(bins)
    for batch in batches:
        batch = parallel.to_device(batch, model.device)
        x_t, signal, sigma = schedule.noisy(batch)

        def epsilon(of: Denoiser, batch: Batch = batch, x_t: Tensor = x_t, levels: tuple = (signal, sigma)) -> Tensor:
            with torch.autocast(x_t.device.type, torch.bfloat16):
                out = of(x_t, batch.text, batch.mask, batch.t).float()
            return schedule.epsilon(out, x_t, *levels)

        wanted = batch.noise if teacher is None else epsilon(teacher)
        error = (epsilon(model) - wanted).square().mean((1, 2, 3)).cpu()
        where = batch.t.cpu() * bins // STEPS
        sums.index_add_(0, where, error)
        counts.index_add_(0, where, torch.ones(len(where)))
    return [round(float(v), 6) for v in sums / counts.clamp_min(1)]


@torch.no_grad()
def features(eye: Detector, pictures: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] -> [N, F]: the detector's last activations, mean and maximum over the picture"""
    out = []
    for part in vae.to_tensor(pictures).split(64):
        y = eye.body(part.to(eye.head.weight.device)).float().cpu()
        out.append(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1))
    return torch.cat(out).double()


class Drawings:
    """Pictures of a report, kept in a folder under a digest of all that makes them: a report that was cut short, or
    that has one model more than the last, draws the rest."""

    def __init__(self, folder: Path, cfg: config.Output):
        self.folder, self.cfg = folder, cfg

    def __call__(
        self,
        name: str,
        model: Denoiser,
        decoder: AutoencoderKL,
        captions: Sequence[str],
        seeds: Sequence[int],
        size: int = data.BASE,
        batch: int = 32,
    ) -> tuple[np.ndarray, float]:
        """-> uint8 [N, size, size, 3], one for each caption and seed, and the seconds that drawing them took"""
        cfg = self.cfg
        settings = [list(captions), list(seeds), size, batch, cfg.steps, cfg.guidance, cfg.compile]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for network in (model, decoder):
            for key, value in network.state_dict().items():
                digest.update(key.encode())
                digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        path = self.folder / f"{name}-{digest.hexdigest()[:16]}.npz"
        if path.exists():
            with np.load(path) as kept:
                return kept["pictures"], float(kept["seconds"])
        start = time.monotonic()
        # Compiled for the many pictures of one size only.
        quick = torch.compile(model) if cfg.compile and size == data.BASE else model
        shown = sample.pictures(
            quick, decoder, list(captions), list(seeds), cfg.steps, cfg.guidance, size=size, batch=batch
        )
        seconds = round(time.monotonic() - start, 1)
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npz")
        np.savez_compressed(temporary, pictures=shown, seconds=seconds)
        temporary.replace(path)
        return shown, seconds


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the normal distributions with the moments of two sets of features [N, F]"""
    difference = a.mean(0) - b.mean(0)
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    # The trace of (ca cb)^(1/2) is the sum of the roots of the eigenvalues of ca cb.
    roots = torch.linalg.eigvals(ca @ cb).real.clamp_min(0).sqrt().sum()
    return float(difference.square().sum() + ca.trace() + cb.trace() - 2 * roots)


class Judge:
    """Holds every model of a report to the same prompts, noise, decoder's pictures and held-out latents."""

    def __init__(self, run: Run):
        self.cfg = run.cfg.output
        self.device = parallel.accelerator().device
        self.eye = detector.load(run.path("detector")).to(self.device)
        self.teacher = Denoiser.from_pretrained(run.pipeline).to(self.device)
        self.schedule = Schedule.of(run.pipeline)
        self.scenes, self.chosen = held_out_prompts(), grid_prompts()
        if self.cfg.prompts:
            self.scenes = [self.scenes[k * len(self.scenes) // self.cfg.prompts] for k in range(self.cfg.prompts)]
            self.chosen = list(range(min(16, self.cfg.prompts)))
        self.known, self.all = geneval.prompts()
        self.draw = Drawings(run.dir / "evaluate", self.cfg)
        self.held = list(run.stream(run.cfg.distill or run.cfg.teacher).held_out())
        self.columns: dict[str, np.ndarray] = {}
        self.marks: dict[str, list[bool]] = {}

    def __call__(self, name: str, model: Denoiser, decoder: AutoencoderKL, found_in: Path, whole: bool = False) -> dict:
        """-> scores, errors and seconds; what was seen in each picture goes to `found_in`. `whole`: GenEval's prompts
        and FID too, where they are wanted"""
        cfg, model, decoder = self.cfg, model.to(self.device), decoder.to(self.device)
        scenes = self.scenes * cfg.pictures
        captions = [s.caption for s in scenes]
        seeds = [1000 + i for i in range(len(captions))]
        shown, seconds = self.draw(name, model, decoder, captions, seeds)
        found = detect(self.eye, shown)
        results: dict = score(scenes, found) | {"seconds": seconds}
        with torch.autocast(self.device.type, torch.bfloat16):
            results |= training.held_out_errors(model, self.held, self.schedule)
        results["eps_by_time"] = errors_by_time(model, self.held, self.schedule)
        if name != "teacher":
            results["eps_from_teacher"] = errors_by_time(model, self.held, self.schedule, self.teacher)
        if whole and cfg.geneval:
            known = self.known * cfg.pictures
            captions = [s.caption for s in known]
            made, _ = self.draw(f"{name}-geneval", model, decoder, captions, range(len(captions)))
            results["geneval"] = score(known, detect(self.eye, made))
        if whole and cfg.fid:
            results["fid"] = self.fid(name, model, decoder)
        self.columns[name] = shown[self.chosen]
        passed = [follows(s, f) for s, f in zip(scenes, found, strict=True)]
        self.marks[name] = [passed[i] for i in self.chosen]
        rows = [
            f"{ok!s:5} {s.caption}: {[(d.name, d.color) for d in f]}"
            for ok, s, f in zip(passed, scenes, found, strict=True)
        ]
        found_in.write_text("\n".join(rows) + "\n")
        return results

    def sheet(self, count: int | None = None, per_row: int = 4, names: Sequence[str] | None = None) -> Image.Image:
        """The grid's prompts (`count` of them, evenly) under the models of these names, else under all so far."""
        names = list(self.columns) if names is None else names
        every = range(len(self.chosen))
        picked = every if count is None else [k * len(every) // count for k in range(min(count, len(every)))]
        return contact_sheet(
            [self.scenes[self.chosen[k]].caption for k in picked],
            {name: self.columns[name][list(picked)] for name in names},
            {name: [self.marks[name][k] for k in picked] for name in names},
            per_row,
        )

    def fid(self, name: str, model: Denoiser, decoder: AutoencoderKL) -> float:
        """Between generated pictures and as many rendered ones of the same captions, by the detector's features."""
        rng = np.random.default_rng(99)
        scenes = [data.make_scene(rng) for _ in range(self.cfg.fid)]
        made, _ = self.draw(f"{name}-fid", model, decoder, [s.caption for s in scenes], range(len(scenes)))
        return frechet(features(self.eye, made), features(self.eye, np.stack([data.render(s) for s in scenes])))

    def at_size(self, model: Denoiser, decoder: AutoencoderKL, size: int, count: int) -> tuple[dict, Image.Image]:
        """`count` of the prompts, evenly: scores of the pictures brought down to what the detector knows, and as many
        of them as fit into `SHEET` pixels side by side."""
        times = size // data.BASE
        scenes = [self.scenes[k * len(self.scenes) // count] for k in range(count)]
        captions = [s.caption for s in scenes]
        batch = max(1, 32 // times**2)
        shown, seconds = self.draw(f"student-{size}", model, decoder, captions, range(count), size, batch)
        small = np.stack([np.asarray(Image.fromarray(picture).reduce(times)) for picture in shown])
        results = score(scenes, detect(self.eye, small)) | {"prompts": count, "seconds": seconds}
        fit = min(count, SHEET // size)
        picked = [(2 * k + 1) * count // (2 * fit) for k in range(fit)]
        sheet = contact_sheet([captions[k] for k in picked], {f"{size} px": shown[picked]}, per_row=fit)
        return results, sheet


def report(run: Run) -> None:
    """Score the teacher, the student after every stage but the last and, in its place, the exported model, that one at
    other sizes too; draw grid, curves and errors by time."""
    cfg = run.cfg.output
    docs = Path(cfg.docs)
    docs.mkdir(parents=True, exist_ok=True)
    exported, autoencoder = export.load(Path(cfg.model))
    models = {"teacher": Denoiser.from_pretrained(run.pipeline)}
    for stage in run.students[:-1]:
        parts = run.parts if stage == "adapt" else run.pipeline
        models[stage] = Denoiser.from_pretrained(parts, run.student(stage))
    models["student"] = exported

    def roundtrip(pictures: np.ndarray) -> np.ndarray:
        return vae.to_pictures(vae.reconstruct(autoencoder, vae.to_tensor(pictures)))

    judge = Judge(run)
    results: dict = {
        "guidance": cfg.guidance,
        "steps": cfg.steps,
        "prompts": len(judge.scenes),
        "pictures": cfg.pictures,
    }
    results["detector"] = detector_accuracy(judge.eye, roundtrip, judge.scenes)
    teacher_decoder = export.load(run.pipeline)[1]
    if cfg.geneval:
        results["geneval_prompts"] = {"known": len(judge.known), "all": judge.all}
    for name, model in models.items():
        decoder = autoencoder if name in ("adapt", "student") else teacher_decoder
        ends = name in ("teacher", "student")
        results[name] = judge(name, model, decoder, run.dir / f"found_{name}.txt", ends)
    results["sizes"] = {}
    for size, count in cfg.sizes.items():
        results["sizes"][size], sheet = judge.at_size(exported, autoencoder, int(size), count)
        sheet.save(docs / f"size_{size}.png", optimize=True)
    judge.sheet(per_row=2).save(docs / "grid.png", optimize=True)
    plot.save(plot.losses({name: log for s in run.stages for name, log in logs(run, s)}), docs / "losses.svg")

    def by_time(title: str, key: str) -> plot.Panel:
        lines = {n: [(100 * k + 50, v) for k, v in enumerate(results[n].get(key, []))] for n in models}
        return plot.Panel(title, lines, "time step", log=True)

    panels = [
        by_time("error of epsilon by time step", "eps_by_time"),
        by_time("distance of epsilon from the teacher's", "eps_from_teacher"),
    ]
    plot.save(panels, docs / "errors.svg")
    keep_logs(run, docs / "logs")
    (docs / "scores.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results), flush=True)


def keep_logs(run: Run, folder: Path, prefix: str = "") -> None:
    """The training logs beside the report that is made of them; a parent's are its own report's matter."""
    folder.mkdir(parents=True, exist_ok=True)
    for stage in (s for s in run.stages if run.path(s).parent == run.dir):
        for name, log in logs(run, stage):
            shutil.copyfile(log, folder / f"{prefix}{name}.jsonl")


def logs(run: Run, stage: str) -> list[tuple[str, Path]]:
    """-> (name, file) of a stage's logs; highres has one for each phase, "highres-phase1" the first"""
    found = sorted(run.path(stage).rglob("log.jsonl"))
    return [("-".join((stage, *log.relative_to(run.path(stage)).parent.parts)), log) for log in found]
