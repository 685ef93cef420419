"""python -m scanvas_distill STAGE [--config demo.toml]"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import stages


def main() -> None:
    parser = argparse.ArgumentParser(prog="scanvas_distill", description=__doc__)
    parser.add_argument("stage", choices=[*stages.STAGES, "run"])
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("demo.toml"))
    args = parser.parse_args()
    run = stages.Run(args.config)
    for name in stages.STAGES if args.stage == "run" else [args.stage]:
        run.stage(name)


if __name__ == "__main__":
    main()
