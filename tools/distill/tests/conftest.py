from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
GOLDEN = Path(__file__).parents[3] / "tests" / "golden"


@pytest.fixture(scope="session", autouse=True)
def threads():
    torch.set_num_threads(2)


@pytest.fixture
def tiny(tmp_path) -> dict:
    return tomllib.loads((Path(__file__).parent / "tiny.toml").read_text()) | {"workdir": str(tmp_path / "work")}


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).norm() / b.double().norm())
