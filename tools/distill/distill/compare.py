"""Several students of one teacher side by side: the paper's table 1, in kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import evaluate, export, plot
from .diffusion import Denoiser
from .stages import Run

KINDS = ("single", "two", "counting", "colors", "position", "color_attr")


def row(path: Path, overrides: Sequence[str] = (), seeds: int = 1) -> list[Run]:
    """A configuration `seeds` times: as it is, then with other first weights, batches, times and noise, in folders of
    their own beside its own."""
    first = Run(path, overrides)
    seeded = {name: table for name in ("student", "force", "distill", "adapt") if (table := getattr(first.cfg, name))}

    def another(k: int) -> Run:
        moved = [f"{name}.seed={table.seed + 1000 * k}" for name, table in seeded.items()]
        return Run(path, [*overrides, *moved, f'workdir="{first.dir}-seed{k + 1}"'])

    return [first, *map(another, range(1, seeds))]


def compare(rows: Sequence[Sequence[Run]], out: Path) -> None:
    """Train what is not trained yet of each run and hold all of them to one judge -> table, grid, curves and logs in
    `out`; the runs of a row, which differ in their seeds, count by their mean. The teacher, decoder and detector are
    the first run's; a row is called by the work directory of its first run, and the grid shows that one."""
    for run in (run for runs in rows for run in runs):
        for stage in run.stages:
            run.stage(stage)
    out.mkdir(parents=True, exist_ok=True)
    first = rows[0][0]
    judge = evaluate.Judge(first)
    teacher, decoder = export.load(first.pipeline)
    results = {"teacher": judge("teacher", teacher, decoder, first.dir / "found_teacher.txt")}
    for runs in rows:
        found = []
        for run in runs:
            model = Denoiser.from_pretrained(first.pipeline, run.student())
            found.append(judge(run.dir.name, model, decoder, run.dir / "found.txt"))
            evaluate.keep_logs(run, out / "logs", f"{run.dir.name}-")
        name = runs[0].dir.name
        results[name] = mean(found)
        print(json.dumps({name: results[name]}), flush=True)
    judge.sheet(8, per_row=1, names=list(results)).save(out / "ablations.png", optimize=True)
    curves = {runs[0].dir.name: held_out(runs) for runs in rows}
    panel = plot.Panel("error on held-out latents", curves, "steps, teacher forcing's included", log=True)
    plot.save([panel], out / "ablation_curves.svg", columns=1)
    (out / "ablations.json").write_text(json.dumps(results, indent=1) + "\n")
    titles = {"teacher": "the teacher: attention in every block"} | {
        runs[0].dir.name: runs[0].cfg.title for runs in rows
    }
    (out / "ablations.md").write_text(table(results, titles))


def mean(found: Sequence[dict]) -> dict:
    """Of every number and list of numbers; what each of several runs has is under "seeds"."""
    means = {key: np.mean([one[key] for one in found], 0).tolist() for key in found[0]}
    return means | {"seeds": list(found)} if len(found) > 1 else means


def held_out(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """-> (step, mean error) of the distillation; teacher forcing's steps go before, being of the same budget"""
    before = runs[0].cfg.force.steps if runs[0].cfg.force else 0
    curves = [plot.read(run.path("distill") / "log.jsonl", "held_out", "step") for run in runs]
    return [(before + points[0][0], float(np.mean([y for _, y in points]))) for points in zip(*curves, strict=True)]


def table(results: dict[str, dict], titles: dict[str, str]) -> str:
    """A row per model in Markdown: errors on held-out latents, then shares of prompts followed; with several seeds,
    errors and the last mean with their standard deviations."""
    heads = ["model", "error", "error of epsilon", *KINDS, "mean"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, found in results.items():

        def spread(key: str, digits: int, factor: float = 1, found: dict = found) -> str:
            seeds = [one[key] for one in found.get("seeds", [])]
            return f" ± {factor * np.std(seeds, ddof=1):.{digits}f}" if seeds else ""

        shares = {key: f"{100 * found[key]:.0f}" if key in found else "" for key in (*KINDS, "mean")}
        shares["mean"] += spread("mean", 0, 100)
        errors = [f"{found[key]:.4f}{spread(key, 4)}" for key in ("held_out", "held_out_eps")]
        lines.append([titles[name] or name, *errors, *(f"{share} %" if share else "-" for share in shares.values())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
