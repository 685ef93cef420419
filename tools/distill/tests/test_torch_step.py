"""The benchmark's PyTorch side: `npm run bench:gpu` runs it where there is a GPU, so here it must at least run."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "bench/gpu/torch_step.py"


def test_times_a_step_of_both_models():
    args = ["--sizes", "32x32,64x32", "--layers", "2", "--samples", "1"]
    run = subprocess.run([sys.executable, SCRIPT, *args], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [(line["model"], line["tokens"]) for line in lines] == [
        (model, tokens) for model in ("hybrid", "attention") for tokens in (4, 8)
    ]
    assert all(line["seconds"] > 0 for line in lines)
