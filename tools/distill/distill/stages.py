"""The stages in order, each resumable; what one writes to the work directory the next one reads."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from . import detector, evaluate, export, golden, latents, plot, sample, student, teacher, vae
from .diffusion import Denoiser


class Run:
    def __init__(self, config: Path):
        self.cfg = tomllib.loads(Path(config).read_text())
        self.dir = Path(self.cfg["workdir"])
        torch.set_num_threads(self.cfg.get("threads", 2))

    def vae(self) -> None:
        vae.train(self.cfg["vae"], self.dir / "vae")

    def latents(self) -> None:
        latents.build(self.cfg["latents"], vae.load(self.dir / "vae", self.cfg["vae"]), self.dir / "latents.pt")

    def dataset(self) -> dict:
        return torch.load(self.dir / "latents.pt", weights_only=True)

    def autoencoder(self) -> AutoencoderKL:
        """The one that is exported: the statistics of the latents folded in."""
        known = self.dataset()
        return vae.fold_statistics(vae.load(self.dir / "vae", self.cfg["vae"]), known["mean"], known["std"])

    def teacher(self) -> None:
        teacher.train(self.cfg["model"], self.cfg["teacher"], self.dataset(), self.dir / "teacher")

    def load_teacher(self) -> Denoiser:
        return teacher.load(self.cfg["model"], self.dir / "teacher")

    def load_student(self, stage: str = "distill") -> Denoiser:
        return teacher.load(self.cfg["model"], self.dir / stage, self.cfg["model"]["mixers"])

    def force(self) -> None:
        model = self.load_teacher()
        ours = student.from_teacher(self.cfg["model"], model)
        student.force(self.section("force"), model, ours, self.dataset(), self.dir / "force")

    def distill(self) -> None:
        model = self.load_teacher()
        ours = student.from_teacher(self.cfg["model"], model)
        ours.load_state_dict(self.load_student("force").state_dict())
        student.distill(self.section("distill"), model, ours, self.dataset(), self.dir / "distill")

    def detector(self) -> None:
        cfg = self.cfg["detector"]
        decoded = detector.decode_some(
            self.dataset(), self.autoencoder(), self.cfg["latents"]["seed"], cfg["decoded"], self.dir / "decoded.pt"
        )
        detector.train(cfg, decoded, self.dir / "detector")

    def export(self, stage: str = "distill") -> None:
        export.save(Path(self.cfg["output"]["model"]), self.load_student(stage), self.autoencoder())

    def golden(self) -> None:
        cfg = self.cfg["output"]
        golden.build(Path(cfg["model"]), Path(cfg["golden"]), cfg["golden_prompt"], guidance=cfg["guidance"])

    def evaluate(self) -> None:
        """Score the exported student and its teacher on the held-out prompts; draw the grid and the losses."""
        cfg = self.cfg["output"]
        docs = Path(cfg["docs"])
        docs.mkdir(parents=True, exist_ok=True)
        eye = detector.load(self.cfg["detector"], self.dir / "detector")
        student_model, autoencoder = export.load(Path(cfg["model"]))

        def roundtrip(pictures: np.ndarray) -> np.ndarray:
            return np.concatenate([vae.to_pictures(vae.reconstruct(autoencoder, vae.to_tensor(pictures)))])

        scenes = evaluate.held_out_prompts()
        chosen = evaluate.grid_prompts()
        results: dict = {"guidance": cfg["guidance"], "steps": cfg["steps"], "prompts": len(scenes)}
        results["detector"] = evaluate.detector_accuracy(eye, roundtrip)
        columns, marks = [], []
        for name, model in (("teacher", self.load_teacher()), ("student", student_model)):
            start = time.monotonic()
            seeds = [1000 + i for i in range(len(scenes))]
            captions = [s.caption for s in scenes]
            shown = sample.pictures(model, autoencoder, captions, seeds, cfg["steps"], cfg["guidance"])
            found = detector.detect(eye, shown)
            results[name] = evaluate.score(scenes, found) | {"seconds": round(time.monotonic() - start, 1)}
            columns.append(shown[chosen])
            marks.append([evaluate.follows(scenes[i], found[i]) for i in chosen])
            rows = [
                f"{evaluate.follows(s, f)!s:5} {s.caption}: {[(d.name, d.color) for d in f]}"
                for s, f in zip(scenes, found, strict=True)
            ]
            (self.dir / f"found_{name}.txt").write_text("\n".join(rows) + "\n")
        evaluate.contact_sheet([scenes[i].caption for i in chosen], columns, marks).save(
            docs / "grid.png", optimize=True
        )
        plot.losses(self.dir).save(docs / "losses.png", optimize=True)
        (docs / "scores.json").write_text(json.dumps(results, indent=1) + "\n")
        print(json.dumps(results), flush=True)

    def section(self, name: str) -> dict:
        """What a student stage does not say for itself is as in the teacher's."""
        shared = {k: v for k, v in self.cfg["teacher"].items() if k != "max_steps"}
        return shared | self.cfg[name]

    def stage(self, name: str) -> None:
        """Training stages run once; what is made of the weights is made again every time."""
        done = self.dir / f"{name}.done"
        if done.exists():
            return
        print(json.dumps({"stage": name}), flush=True)
        steps: dict[str, Callable[[], None]] = {n: getattr(self, n) for n in (*STAGES, *PRODUCTS)}
        steps[name]()
        if name in STAGES:
            self.dir.mkdir(parents=True, exist_ok=True)
            done.touch()


STAGES = ("vae", "latents", "teacher", "force", "distill", "detector")
PRODUCTS = ("export", "golden", "evaluate")
