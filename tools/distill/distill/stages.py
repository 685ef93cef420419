"""The stages in order, each resumable; what one writes to the work directory the next one reads."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from . import (
    config,
    detector,
    diffusion,
    evaluate,
    export,
    golden,
    latents,
    parallel,
    shards,
    student,
    tokenizer,
    training,
    vae,
)
from .diffusion import Denoiser, Schedule
from .errors import DistillError

STAGES = ("vae", "latents", "teacher", "force", "distill", "adapt", "highres", "detector")
PRODUCTS = ("export", "golden", "evaluate")


class Mix:
    """One stream per size; which one gives batch i is drawn from i."""

    def __init__(self, streams: Sequence[shards.Stream], shares: Sequence[float], seed: int):
        self.streams, self.shares, self.seed = streams, torch.tensor(shares), seed

    def __call__(self, i: int) -> diffusion.Batch:
        g = torch.Generator().manual_seed((self.seed << 32) + i)
        return self.streams[int(torch.multinomial(self.shares, 1, generator=g))](i)

    def held_out(self):
        return self.streams[-1].held_out()


class Run:
    def __init__(self, path: Path, overrides: Sequence[str] = ()):
        self.cfg = config.load(path, overrides)
        self.dir = Path(self.cfg.workdir)
        torch.set_num_threads(self.cfg.threads)

    def path(self, stage: str) -> Path:
        """Where a stage's results lie: the parent's if that is used and has finished it."""
        if self.cfg.parent and stage in self.cfg.parent_stages and (Path(self.cfg.parent) / f"{stage}.done").exists():
            return Path(self.cfg.parent) / stage
        return self.dir / stage

    def done(self, stage: str) -> bool:
        return self.path(stage).with_name(f"{stage}.done").exists()

    @property
    def pipeline(self) -> Path:
        """The teacher's pipeline directory."""
        return Path(self.cfg.pipeline) if self.cfg.pipeline else self.path("teacher") / "pipeline"

    @property
    def parts(self) -> Path:
        """Where the student's other parts come from."""
        return self.path("adapt") / "pipeline" if self.done("adapt") else self.pipeline

    @property
    def students(self) -> list[str]:
        """The stages that have left a student, in order."""
        return [stage for stage in ("force", "distill", "adapt", "highres") if self.done(stage)]

    def student(self, stage: str | None = None) -> Path:
        """The transformer of a stage, else of the last one that is done."""
        if stage is None and not self.students:
            raise DistillError(f"{self.dir}: no student yet; run force and distill first")
        return self.path(stage or self.students[-1]) / "transformer"

    def shards(self, size: int) -> str | Path:
        """Where the shards of a size lie, as the teacher sees pictures."""
        return f"{self.cfg.latents.url}/{size}" if self.cfg.latents.url else self.path("latents") / str(size)

    def stream(self, cfg: config.Diffusion, size: int | None = None, folder: str | Path | None = None) -> shards.Stream:
        size = size or self.cfg.latents.sizes[0]
        accelerator = parallel.accelerator()
        folder = folder or self.shards(size)
        return shards.Stream(folder, cfg, accelerator.process_index, accelerator.num_processes, size)

    def count(self, size: int) -> int:
        return self.cfg.latents.counts[self.cfg.latents.sizes.index(size)]

    def denoiser(self, transformer: Path | None = None, pipeline: Path | None = None) -> Denoiser:
        """Captions of a given teacher are embedded in the shards; those of one trained here are encoded in the loop."""
        return Denoiser.from_pretrained(pipeline or self.pipeline, transformer, text=self.cfg.pipeline is None)

    def vae(self) -> None:
        trained = vae.train(self.cfg.vae, self.dir / "vae")
        self.main(lambda: trained.save_pretrained(self.dir / "vae" / "model"))

    def latents(self) -> None:
        cfg, size = self.cfg.latents, self.cfg.latents.sizes[0]
        if cfg.url:
            return
        if self.cfg.pipeline:
            encoders = latents.Encoders.of(self.cfg.pipeline, text=True)
        else:
            autoencoder = AutoencoderKL.from_pretrained(self.path("vae") / "model").eval()
            encoders = latents.Encoders(autoencoder, tokenizer.fast())
        latents.build(cfg, size, self.count(size), encoders, self.dir / "latents" / str(size))

    def teacher(self) -> None:
        torch.manual_seed(1)
        model = diffusion.build_denoiser(self.cfg.model, tokenizer.build().get_vocab_size())
        schedule = Schedule.miniature()
        average = training.run(
            training.DataLoss(model, schedule), self.cfg.teacher, self.stream(self.cfg.teacher), self.dir / "teacher"
        )
        self.main(lambda: export.save_teacher(self.dir / "teacher" / "pipeline", average, self.path("vae") / "model"))

    def force(self) -> None:
        teacher = self.denoiser()
        ours = student.from_teacher(self.cfg.student, teacher)
        average = student.force(
            self.cfg.force, teacher, ours, self.stream(self.cfg.force), Schedule.of(self.pipeline), self.dir / "force"
        )
        self.keep("force", average)

    def distill(self) -> None:
        cfg = self.cfg.distill
        teacher = self.denoiser()
        if cfg.init == "force":
            ours = self.denoiser(self.student("force"))
        else:
            ours = student.from_teacher(self.cfg.student, teacher, cfg.init)
        average = student.distill(
            cfg, teacher, ours, self.stream(cfg), Schedule.of(self.pipeline), self.dir / "distill"
        )
        self.keep("distill", average)

    def adapt(self) -> None:
        """All weights, on the data alone, with centred positions, and another autoencoder and text encoder if given."""
        cfg, size = self.cfg.adapt, self.cfg.latents.sizes[0]
        parts = Path(cfg.pipeline) if cfg.pipeline else self.pipeline
        folder = f"{cfg.url}/{size}" if cfg.url else None
        if cfg.pipeline and not cfg.url:
            folder = self.dir / "adapt" / "latents" / str(size)
            latents.build(self.cfg.latents, size, self.count(size), latents.Encoders.of(parts, text=True), folder)
        # The other pipeline's captions are in its shards; its text encoder is not needed here.
        ours = Denoiser.from_pretrained(
            parts, self.student("distill"), text=self.cfg.pipeline is None and not cfg.pipeline
        )
        ours.transformer.centre_positions(ours.transformer.config["sample_size"] // ours.transformer.patch)
        ours.transformer.accept_text(json.loads((parts / "text_encoder" / "config.json").read_text())["d_model"])
        ours.transformer.requires_grad_(True)
        if ours.text_encoder is not None:
            ours.text_encoder.requires_grad_(cfg.text_encoder)
        average = training.run(
            training.DataLoss(ours, Schedule.of(self.pipeline)), cfg, self.stream(cfg, size, folder), self.dir / "adapt"
        )
        self.keep("adapt", average)
        self.main(lambda: self.adapted_parts(parts, average))

    def adapted_parts(self, parts: Path, average: Denoiser) -> None:
        out = self.dir / "adapt" / "pipeline"
        for part in export.PARTS:
            shutil.rmtree(out / part, ignore_errors=True)
            shutil.copytree((self.pipeline if part == "scheduler" else parts) / part, out / part)
        if self.cfg.adapt.text_encoder and average.text_encoder is not None:
            average.text_encoder.save_pretrained(out / "text_encoder")

    @property
    def embedded(self) -> bool:
        """Whether the shards hold embeddings: a given text encoder is fixed and runs once."""
        return self.cfg.pipeline is not None or (self.cfg.adapt is not None and self.cfg.adapt.pipeline is not None)

    def folder(self, size: int) -> str | Path:
        """The shards of a size as the adapted student sees them, made where they are missing."""
        swapped = self.cfg.adapt is not None and self.cfg.adapt.pipeline is not None
        elsewhere = self.cfg.adapt.url if swapped else self.cfg.latents.url
        if elsewhere:
            return f"{elsewhere}/{size}"
        known = (self.path("adapt") / "latents" if swapped else self.path("latents")) / str(size)
        if (known / "index.json").exists():
            return known
        folder = self.dir / "highres" / "latents" / str(size)
        if not (folder / "index.json").exists():
            encoders = latents.Encoders.of(self.parts, text=self.embedded)
            latents.build(self.cfg.latents, size, self.count(size), encoders, folder)
        return folder

    def highres(self) -> None:
        """Phases of growing size; each starts from the one before."""
        source = self.student("adapt" if self.done("adapt") else "distill")
        for n, phase in enumerate(self.cfg.highres.phases):
            place = self.dir / "highres" / f"phase{n + 1}"
            finished = place.with_suffix(".done")
            if finished.exists():
                source = place / "transformer"
                continue
            streams = [self.stream(phase.of(size), int(size), self.folder(int(size))) for size in phase.mix]
            ours = Denoiser.from_pretrained(self.parts, source, text=not self.embedded)
            ours.transformer.requires_grad_(True)
            if ours.text_encoder is not None:
                ours.text_encoder.requires_grad_(False)
            mix = Mix(streams, list(phase.mix.values()), phase.seed)
            average = training.run(training.DataLoss(ours, Schedule.of(self.pipeline)), phase, mix, place)
            self.main(partial(average.transformer.save_pretrained, place / "transformer"))
            self.main(finished.touch)
            source = place / "transformer"
        self.main(lambda: shutil.copytree(source, self.dir / "highres" / "transformer", dirs_exist_ok=True))

    def detector(self) -> None:
        cfg = self.cfg.detector
        folder = self.shards(self.cfg.latents.sizes[0])
        autoencoder = AutoencoderKL.from_pretrained(self.path("vae") / "model").eval()
        decoded = detector.decode_some(
            shards.first(folder, cfg.decoded), autoencoder, self.cfg.latents.seed, self.dir / "detector" / "decoded.pt"
        )
        detector.train(cfg, decoded, self.dir / "detector")

    def export(self) -> None:
        export.save(self.cfg.output, self.student(), self.parts)

    def golden(self) -> None:
        cfg = self.cfg.output
        golden.build(Path(cfg.model), Path(cfg.golden), cfg.golden_prompt, guidance=cfg.guidance)

    def evaluate(self) -> None:
        evaluate.report(self)

    def keep(self, stage: str, average: Denoiser) -> None:
        self.main(lambda: average.transformer.save_pretrained(self.dir / stage / "transformer"))

    @staticmethod
    def main(work) -> None:
        """Run on the first process while the others wait."""
        accelerator = parallel.accelerator()
        if accelerator.is_main_process:
            work()
        accelerator.wait_for_everyone()

    @property
    def stages(self) -> list[str]:
        """Those that this configuration has."""
        return [s for s in STAGES if s == "latents" or getattr(self.cfg, s) is not None]

    def stage(self, name: str, alone: bool = False) -> None:
        """Training stages run once, and say so when they are asked for `alone`; what is made of the weights is made
        again every time."""
        if name in STAGES and name not in self.stages:
            raise DistillError(f"{name}: the configuration has no [{name}]; it has {', '.join(self.stages)}")
        if name in STAGES and self.done(name):
            if alone and parallel.accelerator().is_main_process:
                mark = self.path(name).with_name(f"{name}.done")
                print(f"{name}: done already; remove {mark} and {self.path(name)} to do it again", file=sys.stderr)
            return
        if parallel.accelerator().is_main_process:
            print(json.dumps({"stage": name}), flush=True)
        if name in PRODUCTS:
            self.main(getattr(self, name))
            return
        getattr(self, name)()
        self.main(lambda: (self.dir.mkdir(parents=True, exist_ok=True), (self.dir / f"{name}.done").touch()))

    def all(self) -> None:
        for name in self.stages:
            self.stage(name)
        self.stage("export")
        if self.cfg.detector:
            self.stage("evaluate")
