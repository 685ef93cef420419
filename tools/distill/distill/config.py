"""Configuration files: TOML tables read into dataclasses; an unknown key, a wrong type or a bad value is an error.

`base = "other.toml"` takes everything from another file first, relative to the one that says so, `without = ["table"]`
all but some: an ablation states only what differs. Paths in the other keys are relative to the current directory.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path

from .errors import DistillError

# As in the paper: attention first and at every seventh block, height first and width first in turn between.
PERIOD = ("attention", "mamba_h", "mamba_w", "mamba_h", "mamba_w", "mamba_h", "mamba_w")


@dataclass(frozen=True)
class Training:
    """What every training stage says. `batch` is the global batch, whatever the number of processes."""

    steps: int | None = None
    seconds: float | None = None  # instead of steps: a schedule on the clock, one process only
    batch: int = 64
    optimizer: str = "muon"  # or "adamw"
    lr: float = 2e-3  # of Muon's matrices
    adam_lr: float = 1e-3  # of everything else, or of all with "adamw"
    weight_decay: float = 0.0
    warmup: float = 0.02
    decay: float = 0.4
    clip: float = 1.0
    ema: float = 0.9999
    bf16: bool = True
    checkpointing: bool = False  # of activations: less memory, a third more arithmetic
    compile: bool = (
        False  # by torch.compile: minutes at the start, then a quarter less time a step; needs a C++ compiler
    )
    sharded: bool = False  # FSDP: parameters, gradients, averages and optimiser state are split over the processes
    save_every: int = 100  # steps
    log_every: int = 20
    evaluate_every: int = 200

    def check(self, who: str) -> None:
        expect(
            who,
            "steps",
            self.steps,
            "steps (a number) or seconds, not both",
            (self.steps is None) != (self.seconds is None),
        )
        for name in ("batch", "save_every", "log_every", "evaluate_every"):
            expect(who, name, getattr(self, name), "at least 1", getattr(self, name) >= 1)
        for name in ("steps", "seconds", "lr", "adam_lr", "clip"):
            value = getattr(self, name)
            expect(who, name, value, "more than 0", value is None or value > 0)
        for name in ("ema", "warmup", "decay"):
            expect(who, name, getattr(self, name), "0 to 1", 0 <= getattr(self, name) <= 1)
        expect(who, "optimizer", self.optimizer, '"muon" or "adamw"', self.optimizer in ("muon", "adamw"))
        expect(
            who,
            "sharded",
            self.sharded,
            'optimizer = "adamw" (Muon needs whole matrices)',
            not self.sharded or self.optimizer == "adamw",
        )


@dataclass(frozen=True)
class Vae(Training):
    channels: list[int] = field(default_factory=lambda: [16, 32, 64, 128])
    groups: int = 8
    kl: float = 5e-4
    held_out: int = 64


@dataclass(frozen=True)
class Latents:
    """Where pictures and captions come from, and how many of each size go to shards."""

    source: str = "scenes"  # or "folder" (pictures with captions beside them), "webdataset" (tars)
    path: str = ""
    sizes: list[int] = field(default_factory=lambda: [128])
    # 0: all there are; of a webdataset so many tars are read as would give this if each held `shard` pictures
    counts: list[int] = field(default_factory=lambda: [50000])
    url: str = ""  # shards made elsewhere, a folder for each size: a path or what webdataset opens (https, s3, pipe)
    seed: int = 11
    held_out: int = 512
    shard: int = 1000
    batch: int = 64
    text_length: int = 24

    def check(self, who: str) -> None:
        expect(
            who,
            "source",
            self.source,
            '"scenes", "folder" or "webdataset"',
            self.source in ("scenes", "folder", "webdataset"),
        )
        expect(who, "path", self.path, f"where the {self.source} lies", self.source == "scenes" or self.path != "")
        expect(who, "counts", self.counts, f"one for each of sizes {self.sizes}", len(self.counts) == len(self.sizes))
        expect(
            who,
            "counts",
            self.counts,
            "more than 0 for scenes, which have no end",
            self.source != "scenes" or min(self.counts) > 0,
        )
        expect(
            who,
            "sizes",
            self.sizes,
            "multiples of 128 for scenes, of 16 for pictures",
            all(size > 0 and size % (128 if self.source == "scenes" else 16) == 0 for size in self.sizes),
        )
        for name in ("held_out", "shard", "batch", "text_length"):
            expect(who, name, getattr(self, name), "at least 1", getattr(self, name) >= 1)


@dataclass(frozen=True)
class Model:
    """A teacher trained here."""

    heads: int = 4
    head_dim: int = 40
    layers: int = 8
    text_width: int = 192
    text_layers: int = 3
    sample_size: int = 16
    pos_embed_type: str = "centered_sincos"  # or "sincos", PixArt's own

    def check(self, who: str) -> None:
        known = ("sincos", "centered_sincos")
        expect(who, "pos_embed_type", self.pos_embed_type, " or ".join(known), self.pos_embed_type in known)


@dataclass(frozen=True)
class Student:
    """What takes the place of the teacher's attention; the contract's names without `mamba_`."""

    mixers: list[str] = field(default_factory=list)  # empty: the paper's order
    d_state: int = 256
    expand: int = 2
    head_dim: int = 64
    d_conv: int = 4
    bidirectional: bool = True
    fusion: str = "concat"  # of the two directions by a matrix, or "sum"
    seed: int = 1  # of the new mixers' first values

    def check(self, who: str) -> None:
        known = ("attention", "mamba_h", "mamba_w")
        expect(who, "mixers", self.mixers, f"each one of {', '.join(known)}", set(self.mixers) <= set(known))
        expect(who, "fusion", self.fusion, '"concat" or "sum"', self.fusion in ("concat", "sum"))

    def token_mixers(self, layers: int) -> list[str]:
        mixers = self.mixers or [PERIOD[i % len(PERIOD)] for i in range(layers)]
        expect(
            "[student]", "mixers", len(mixers), f"one for each of the teacher's {layers} blocks", len(mixers) == layers
        )
        return mixers


@dataclass(frozen=True)
class Diffusion(Training):
    """A stage that sees noisy latents."""

    seed: int = 2
    caption_drop: float = 0.1
    uniform: float = 1.0  # share of batches whose times are spread evenly; the rest is logit-normal
    time_mean: float = 0.0
    time_spread: float = 1.0
    lanes: int = 4  # parallel streams over the shards; the number of processes must divide it

    def check(self, who: str) -> None:
        super().check(who)
        expect(
            who,
            "batch",
            self.batch,
            f"a multiple of lanes = {self.lanes}",
            self.lanes >= 1 and self.batch % self.lanes == 0,
        )
        for name in ("caption_drop", "uniform"):
            expect(who, name, getattr(self, name), "0 to 1", 0 <= getattr(self, name) <= 1)


@dataclass(frozen=True)
class Force(Diffusion):
    seed: int = 3
    normalise: bool = True  # each mixer's error over the variance of its target


@dataclass(frozen=True)
class Distill(Diffusion):
    seed: int = 4
    init: str = "force"  # or "teacher" (new mixers), "causal" (mixers from attention's projections), "scratch"
    train: str = "mixers"  # or "all"
    soft_weight: float = 0.5
    feature_weight: float = 0.2
    normalise: bool = True

    def check(self, who: str) -> None:
        super().check(who)
        expect(
            who,
            "init",
            self.init,
            '"force", "teacher", "causal" or "scratch"',
            self.init in ("force", "teacher", "causal", "scratch"),
        )
        expect(who, "train", self.train, '"mixers" or "all"', self.train in ("mixers", "all"))


@dataclass(frozen=True)
class Adapt(Diffusion):
    seed: int = 5
    pipeline: str | None = None  # another pipeline directory: its vae, text encoder and tokenizer replace the teacher's
    url: str = ""  # as in [latents]: shards of that other pipeline made elsewhere
    text_encoder: bool = False  # train it too; only where captions are encoded in the loop


@dataclass(frozen=True)
class Phase(Diffusion):
    """One high-resolution phase: `mix` gives each size its share of the batches, `batches` its batch if not `batch`."""

    seed: int = 6
    mix: dict[str, float] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)

    def check(self, who: str) -> None:
        super().check(who)
        expect(who, "mix", self.mix, "shares that add up to 1", abs(sum(self.mix.values()) - 1) < 1e-6)
        expect(
            who,
            "batches",
            self.batches,
            f"multiples of lanes = {self.lanes} for sizes of the mix {list(self.mix)}",
            all(size in self.mix and n > 0 and n % self.lanes == 0 for size, n in self.batches.items()),
        )

    def of(self, size: str) -> Phase:
        """As the stream of one size sees it."""
        return dataclasses.replace(self, batch=self.batches.get(size, self.batch))


@dataclass(frozen=True)
class Highres:
    phases: list[Phase] = field(default_factory=list)


@dataclass(frozen=True)
class DetectorConfig(Training):
    decoded: int = 5000
    width: int = 96


@dataclass(frozen=True)
class Output:
    model: str = "model"
    dtype: str = "float16"
    onnx: bool = False
    golden: str = "golden"
    golden_prompt: str = "a photo of a red car left of a frog"
    docs: str = "report"
    guidance: float = 3.0
    steps: int = 20
    prompts: int = 0  # of the held-out prompts, evenly spread; 0: all
    pictures: int = 1  # of each of them, from seeds of their own; GenEval takes four
    compile: bool = False  # sample by torch.compile: half a minute for each model, then twice as fast
    fid: int = 0  # of teacher and student, pictures on each side; 0: none
    geneval: bool = False  # score teacher and student by those of GenEval's prompts that the vocabulary holds
    sizes: dict[str, int] = field(default_factory=dict)  # pixels -> how many held-out prompts to show and score there

    def check(self, who: str) -> None:
        expect(who, "dtype", self.dtype, "float16 or float32", self.dtype in ("float16", "float32"))
        expect(who, "pictures", self.pictures, "at least 1", self.pictures >= 1)
        fit = all(size.isdecimal() and int(size) % 128 == 0 and 0 < int(size) <= 2048 for size in self.sizes)
        expect(
            who,
            "sizes",
            self.sizes,
            "multiples of 128 up to 2048, each with a number of prompts",
            fit and all(count >= 1 for count in self.sizes.values()),
        )


@dataclass(frozen=True)
class Config:
    workdir: str
    title: str = ""  # what this run is, in a table of several
    threads: int = 2
    parent: str | None = None  # another run's work directory: of its finished stages, these are used as they are
    parent_stages: list[str] = field(default_factory=lambda: ["vae", "latents", "teacher", "detector"])
    pipeline: str | None = None  # a PixArt directory: the teacher; then no [vae], [model] and [teacher]
    vae: Vae | None = None
    latents: Latents = field(default_factory=Latents)
    model: Model | None = None
    teacher: Diffusion | None = None
    student: Student = field(default_factory=Student)
    force: Force | None = None
    distill: Distill | None = None
    adapt: Adapt | None = None
    highres: Highres | None = None
    detector: DetectorConfig | None = None
    output: Output = field(default_factory=Output)

    def check(self, who: str) -> None:
        ours = [n for n in ("vae", "model", "teacher") if getattr(self, n) is not None]
        if self.pipeline is None:
            expect(
                who, "tables", ours, "[vae], [model] and [teacher], or pipeline = a PixArt directory", len(ours) == 3
            )
        else:
            expect(who, "pipeline", self.pipeline, f"no {ours}: a given teacher is not trained", not ours)
            expect(who, "pipeline", self.pipeline, "an existing directory", Path(self.pipeline).is_dir())
        if self.model and self.student.mixers:
            self.student.token_mixers(self.model.layers)
        if self.distill and self.distill.init == "force":
            expect(who, "[force]", "nothing", 'a table, or init = "teacher" in [distill]', self.force is not None)
        for phase in self.highres.phases if self.highres else []:
            for size in phase.mix:
                expect(
                    who,
                    "highres mix",
                    size,
                    f"one of [latents] sizes {self.latents.sizes}",
                    size in map(str, self.latents.sizes),
                )


def expect(who: str, key: str, found: object, wanted: str, holds: bool) -> None:
    if not holds:
        raise DistillError(f"{who} {key}: found {found!r}, expected {wanted}")


def parse(cls: type, table: dict, who: str):
    """A dataclass from a TOML table, its nested tables included."""
    hints = typing.get_type_hints(cls)
    for key in table:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, 1)
            advice = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(hints))}"
            raise DistillError(f"{who} {key}: no such key; {advice}")
    values = {key: convert(hints[key], value, f"{who} {key}") for key, value in table.items()}
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in values and f.default is f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise DistillError(f"{who} {missing[0]}: missing; it has no default")
    out = cls(**values)
    if hasattr(out, "check"):
        out.check(who)
    return out


def convert(hint: object, value: object, who: str) -> object:
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    if dataclasses.is_dataclass(hint):
        return (
            parse(hint, value, who.rsplit(" ", 1)[0] + f" [{who.rsplit(' ', 1)[1]}]")
            if isinstance(value, dict)
            else wrong(hint, value, who)
        )
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        return [convert(inner[0], v, f"{who}[{i}]") for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {k: convert(inner[1], v, f"{who}.{k}") for k, v in value.items()}
    if hint is float and type(value) in (int, float):
        return float(value)
    return value if type(value) is hint else wrong(hint, value, who)


def wrong(hint: object, value: object, who: str) -> typing.NoReturn:
    raise DistillError(f"{who}: found {value!r}, expected {getattr(hint, '__name__', hint)}")


def merge(under: dict, over: dict) -> dict:
    both = {
        k: merge(under[k], v) if isinstance(v, dict) and isinstance(under.get(k), dict) else v for k, v in over.items()
    }
    return under | both


def read(path: Path) -> dict:
    """The tables of a file, those of its bases underneath."""
    try:
        table = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise DistillError(
            f"{path}: cannot be read ({error.strerror}); give a file of tools/distill/configs or your own"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise DistillError(f"{path}: not TOML: {error}") from error
    base, without = table.pop("base", None), table.pop("without", [])
    under = read(Path(path).parent / base) if base else {}
    for key in without:
        if key not in under:
            raise DistillError(f"{path} without: {key!r} is no table of {base or 'a base, which is not given'}")
    return merge({k: v for k, v in under.items() if k not in without}, table)


def load(path: Path, overrides: typing.Sequence[str] = ()) -> Config:
    """`overrides` are "table.key=value" with the value as TOML, or a bare string."""
    table = read(path)
    for text in overrides:
        key, _, value = text.partition("=")
        try:
            value = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            pass
        for part in reversed(key.split(".")):
            value = {part: value}
        table = merge(table, value)
    return parse(Config, table, str(path))
