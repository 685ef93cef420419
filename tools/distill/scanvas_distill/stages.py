"""The stages in order, each resumable; what one writes to the work directory the next one reads."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from . import latents, student, teacher, vae
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

    def section(self, name: str) -> dict:
        """What a student stage does not say for itself is as in the teacher's."""
        shared = {k: v for k, v in self.cfg["teacher"].items() if k != "max_steps"}
        return shared | self.cfg[name]

    def stage(self, name: str) -> None:
        done = self.dir / f"{name}.done"
        if done.exists():
            return
        print(json.dumps({"stage": name}), flush=True)
        steps: dict[str, Callable[[], None]] = {n: getattr(self, n) for n in STAGES}
        steps[name]()
        done.touch()


STAGES = ("vae", "latents", "teacher", "force", "distill")
