"""Several students of one teacher side by side: the paper's table 1, in kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import evaluate, export, plot
from .diffusion import Denoiser

if TYPE_CHECKING:
    from .stages import Run

KINDS = ("single", "two", "counting", "colors", "position", "color_attr")


def compare(runs: Sequence[Run], out: Path) -> None:
    """Train what is not trained yet of each run and hold all of them to one judge -> table, grid, curves and logs in
    `out`. The teacher, decoder and detector are the first run's; a run is called by its work directory."""
    for run in runs:
        for stage in run.stages:
            run.stage(stage)
    out.mkdir(parents=True, exist_ok=True)
    first, judge = runs[0], evaluate.Judge(runs[0])
    teacher, decoder = export.load(first.pipeline)
    results = {"teacher": judge("teacher", teacher, decoder, first.dir / "found_teacher.txt")}
    for run in runs:
        name = run.dir.name
        model = Denoiser.from_pretrained(first.pipeline, run.student())
        results[name] = judge(name, model, decoder, run.dir / "found.txt")
        print(json.dumps({name: results[name]}), flush=True)
        evaluate.keep_logs(run, out / "logs", f"{name}-")
    judge.sheet(8, per_row=1).save(out / "ablations.png", optimize=True)
    curves = {run.dir.name: held_out(run) for run in runs}
    panel = plot.Panel("error on held-out latents", curves, "steps, teacher forcing's included", log=True)
    plot.save([panel], out / "ablation_curves.svg", columns=1)
    (out / "ablations.json").write_text(json.dumps(results, indent=1) + "\n")
    titles = {"teacher": "the teacher: attention in every block"} | {run.dir.name: run.cfg.title for run in runs}
    (out / "ablations.md").write_text(table(results, titles))


def held_out(run: Run) -> list[tuple[float, float]]:
    """-> (step, error) of the distillation; teacher forcing's steps go before, since they are of the same budget"""
    before = run.cfg.force.steps if run.cfg.force else 0
    return [(before + step, error) for step, error in plot.read(run.path("distill") / "log.jsonl", "held_out", "step")]


def table(results: dict[str, dict], titles: dict[str, str]) -> str:
    """A row per model in Markdown: errors on held-out latents, then shares of prompts followed."""
    heads = ["model", "error", "error of epsilon", *KINDS, "mean"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for name, found in results.items():
        shares = [found.get(kind) for kind in (*KINDS, "mean")]
        lines.append(
            [
                titles[name] or name,
                f"{found['held_out']:.4f}",
                f"{found['held_out_eps']:.4f}",
                *("-" if share is None else f"{100 * share:.0f} %" for share in shares),
            ]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
