from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# As distill itself does, before torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
GOLDEN = ROOT.parents[1] / "tests" / "golden"
SMOKE = ROOT / "configs" / "smoke.toml"


@pytest.fixture(scope="session", autouse=True)
def threads():
    torch.set_num_threads(2)


def overrides(work: Path) -> list[str]:
    """The smoke configuration with everything it writes below `work`."""
    return [f'workdir="{work}"', *(f'output.{k}="{work}/{k}"' for k in ("model", "golden", "docs"))]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The work directory after every stage of the smoke configuration, in this process."""
    from distill import stages

    run = stages.Run(SMOKE, overrides(tmp_path_factory.mktemp("smoke")))
    run.all()
    return run


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(args: tuple[object, ...], processes: int) -> list[str]:
    """As its users run it, by torchrun when there are several processes."""
    python = [sys.executable, "-m"]
    if processes > 1:
        python += ["torch.distributed.run", f"--nproc-per-node={processes}", "--standalone", "-m"]
    return [*python, "distill", *map(str, args)]


def start(*args: object, processes: int = 1) -> subprocess.Popen:
    """The command in the background, to be killed, in a group of its own; its output is text."""
    return subprocess.Popen(
        command(args, processes), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def distill(*args: object, processes: int = 1, before: str = "", timeout: float = 900) -> subprocess.CompletedProcess:
    """The command to its end; `before` is a shell prefix."""
    line = command(args, processes)
    if before:
        line = ["sh", "-c", f'{before}; exec "$@"', "sh", *line]
    return subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout)


def losses(path: Path) -> list[dict]:
    """The records of a training log that hold losses, without what the clock says."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in ("elapsed", "rate")} for r in records if "loss" in r]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())
