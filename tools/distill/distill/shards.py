"""Precomputed latents and captions in tar shards (webdataset), read as a stream whose batch i depends on i alone.

A folder holds index.json (files and counts), train-*.tar and held.tar. A sample is `latent.npy` float16 [C, h, w] and
`ids.npy` int32 [L], or `embeds.npy` float16 [L, C] where a fixed text encoder has been run. The folder may be a URL
that webdataset opens.

Batches: the shards are dealt to `lanes`; a lane goes through its shards in an order of its own in every epoch, and
through each shard in a random order. A global batch takes as many samples from each lane, and a process reads the
lanes whose number is its own modulo the number of processes. So any number of processes that divides the lanes sees
the same global batches, none reads a shard that it does not need, and a run resumes at step i by arithmetic.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import webdataset as wds
from torch import Tensor

from . import config, tokenizer
from .diffusion import STEPS, Batch, draw_times
from .errors import DistillError


class Writer:
    """A finished shard is renamed into place, so a killed run goes on after the last."""

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)

    def done(self, name: str) -> bool:
        return (self.directory / name).exists() and self._count(name).exists()

    def _count(self, name: str) -> Path:
        return self.directory / f"{name}.count"

    def count(self, name: str) -> int:
        """Samples of a finished shard."""
        return int(self._count(name).read_text())

    def write(self, name: str, samples: Iterable[dict[str, np.ndarray]]) -> None:
        temporary, count = self.directory / (name + ".tmp"), 0
        try:
            with open(temporary, "wb") as file, wds.TarWriter(file) as tar:
                for sample in samples:
                    tar.write({"__key__": f"{count:06d}"} | {f"{k}.npy": v for k, v in sample.items()})
                    count += 1
            self._count(name).write_text(f"{count}\n")
            temporary.rename(self.directory / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DistillError(
                f"{self.directory / name}: {error.strerror}; finished shards are kept, make room and run again"
            ) from error

    def finish(self, **index: object) -> None:
        temporary = self.directory / "index.json.tmp"
        temporary.write_text(json.dumps(index, indent=1) + "\n")
        temporary.rename(self.directory / "index.json")


def read_shard(url: str) -> list[dict[str, np.ndarray]]:
    out = []
    # Which process reads which shard is decided here already; webdataset must not split again.
    for sample in wds.WebDataset(url, shardshuffle=False, empty_check=False, nodesplitter=iter):
        out.append({k.removesuffix(".npy"): np.load(io.BytesIO(v)) for k, v in sample.items() if k.endswith(".npy")})
    return out


def join(folder: str | Path, name: str) -> str:
    return f"{folder}/{name}" if "://" in str(folder) or str(folder).startswith("pipe:") else str(Path(folder) / name)


def read(folder: str | Path, name: str) -> bytes:
    where = join(folder, name)
    try:
        with wds.gopen(where) as file:
            return file.read()
    except OSError as error:
        raise DistillError(f"{where}: {error.strerror or error}; run the stage latents first") from error


class Lane:
    """The endless stream of one lane, by position."""

    def __init__(self, folder: str | Path, shards: list[tuple[str, int]], seed: tuple[int, ...]):
        self.folder, self.shards, self.seed = folder, shards, seed
        self.total = sum(n for _, n in shards)
        self.pool = ThreadPoolExecutor(1)
        self.open: dict[str, Future] = {}

    def order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((*self.seed, epoch)).permutation(len(self.shards))

    def _load(self, name: str) -> Future:
        if name not in self.open:
            self.open[name] = self.pool.submit(read_shard, join(self.folder, name))
        return self.open[name]

    def take(self, start: int, count: int) -> list[dict[str, np.ndarray]]:
        """Samples start .. start + count - 1 of the stream."""
        out: list[dict[str, np.ndarray]] = []
        while len(out) < count:
            epoch, rest = divmod(start + len(out), self.total)
            order = self.order(epoch)
            place = 0
            for place, k in enumerate(order):  # noqa: B007
                name, n = self.shards[k]
                if rest < n:
                    break
                rest -= n
            # The next shard is read while this one is used.
            following = order[place + 1] if place + 1 < len(order) else self.order(epoch + 1)[0]
            wanted = {name, self.shards[following][0]}
            self.open = {key: value for key, value in self.open.items() if key in wanted}
            samples = self._load(name).result()
            self._load(self.shards[following][0])
            inside = np.random.default_rng((*self.seed, epoch, int(k))).permutation(n)
            out += [samples[i] for i in inside[rest : rest + count - len(out)]]
        return out


class Stream:
    """`stream(i)` -> this process's part of the global batch i."""

    def __init__(
        self, folder: str | Path, cfg: config.Diffusion, process: int = 0, processes: int = 1, batch_seed: int = 0
    ):
        self.folder, self.cfg, self.seed = folder, cfg, (cfg.seed, batch_seed)
        self.index = json.loads(read(folder, "index.json"))
        shards = [(s["file"], s["count"]) for s in self.index["train"]]
        if cfg.lanes % processes:
            raise DistillError(f"lanes = {cfg.lanes}: not a multiple of {processes} processes; set lanes to one")
        if cfg.lanes > len(shards):
            raise DistillError(
                f"lanes = {cfg.lanes}: more than the {len(shards)} shards of {folder}; lower lanes or [latents] shard"
            )
        self.mine = range(process, cfg.lanes, processes)
        self.lanes = {n: Lane(folder, shards[n :: cfg.lanes], (*self.seed, n)) for n in self.mine}
        empty = self.index["empty"]
        self.empty = np.array(empty, np.int32) if isinstance(empty, list) else np.load(io.BytesIO(read(folder, empty)))

    def __call__(self, i: int) -> Batch:
        cfg, share = self.cfg, self.cfg.batch // self.cfg.lanes
        g = torch.Generator().manual_seed(int(np.random.SeedSequence((*self.seed, i)).generate_state(1)[0]))
        times = draw_times(cfg.batch, g, cfg.uniform, cfg.time_mean, cfg.time_spread).view(cfg.lanes, share)
        drop = torch.rand(cfg.lanes, share, generator=g) < cfg.caption_drop
        samples, noise = [], []
        for n in self.mine:
            own = torch.Generator().manual_seed(int(np.random.SeedSequence((*self.seed, n, i)).generate_state(1)[0]))
            taken = self.lanes[n].take(i * share, share)
            samples += [text_of(s, self.empty if d else None) for s, d in zip(taken, drop[n].tolist(), strict=True)]
            noise.append(torch.randn(share, *taken[0]["latent"].shape, generator=own))
        picked = torch.tensor(list(self.mine))
        return collate(samples, times[picked].flatten(), torch.cat(noise))

    def held_out(self) -> Iterator[Batch]:
        """The same samples, noise and evenly spread times at every call, 64 at a time."""
        samples = [text_of(s, None) for s in read_shard(join(self.folder, "held.tar"))]
        g = torch.Generator().manual_seed(0)
        t = ((torch.arange(len(samples)) * STEPS) // len(samples))[torch.randperm(len(samples), generator=g)]
        noise = torch.randn(len(samples), *samples[0][0].shape, generator=g)
        for start in range(0, len(samples), 64):
            part = slice(start, start + 64)
            yield collate(samples[part], t[part], noise[part])


def text_of(sample: dict[str, np.ndarray], instead: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    text = instead if instead is not None else sample.get("ids", sample.get("embeds"))
    return sample["latent"], text


def collate(samples: list[tuple[np.ndarray, np.ndarray]], t: Tensor, noise: Tensor) -> Batch:
    """Captions are padded to the longest of the batch, in steps of eight: every length is compiled for anew."""
    length = -(-max(len(text) for _, text in samples) // 8) * 8
    first = samples[0][1]
    text = np.full((len(samples), length, *first.shape[1:]), tokenizer.PAD, np.float32 if first.ndim == 2 else np.int64)
    mask = torch.zeros(len(samples), length, dtype=torch.long)
    for i, (_, words) in enumerate(samples):
        text[i, : len(words)] = words
        mask[i, : len(words)] = 1
    x = torch.from_numpy(np.stack([latent for latent, _ in samples])).float()
    return Batch(x, torch.from_numpy(text), mask, t, noise)


def first(folder: str | Path, count: int) -> Tensor:
    """The first `count` training latents, float16 [N, C, h, w]"""
    out: list[np.ndarray] = []
    for entry in json.loads(read(folder, "index.json"))["train"]:
        out += [s["latent"] for s in read_shard(join(folder, entry["file"]))]
        if len(out) >= count:
            break
    return torch.from_numpy(np.stack(out[:count]))
