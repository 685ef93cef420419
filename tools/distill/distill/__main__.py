"""python -m distill STAGE CONFIG [--set table.key=value ...]

run: every stage that the configuration has, then export and evaluate. Any stage can be killed and started again.
compare: the stages of several configurations, with --seeds 3 three times, and one table of their students in --out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer

from . import compare, export, sample, stages
from .errors import DistillError


def picture(run: stages.Run, args: argparse.Namespace) -> None:
    cfg = run.cfg.output
    model, autoencoder = export.load(Path(cfg.model))
    words = AutoTokenizer.from_pretrained(Path(cfg.model) / "tokenizer")
    solver = sample.solver_of(cfg.model)
    shown = sample.pictures(
        model, autoencoder, [args.prompt], [args.seed], cfg.steps, cfg.guidance, args.size, words=words, solver=solver
    )
    Image.fromarray(shown[0]).save(args.out or "picture.png")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="distill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stage", choices=["run", *stages.STAGES, *stages.PRODUCTS, "sample", "compare"])
    parser.add_argument("config", type=Path, nargs="+", help="configs/demo.toml and its neighbours; compare: several")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. distill.steps=100")
    parser.add_argument("--prompt", default="a photo of a cat", help="sample: what to show")
    parser.add_argument("--seed", type=int, default=0, help="sample: seed of the noise")
    parser.add_argument(
        "--seeds", type=int, default=1, help="compare: runs of each configuration, of which the mean counts"
    )
    parser.add_argument("--size", type=int, default=128, help="sample: edge in pixels")
    parser.add_argument("--out", type=Path, help="sample: file to write (picture.png); compare: folder (comparison)")
    args = parser.parse_args()
    if len(args.config) > 1 and args.stage != "compare":
        parser.error(f"{args.stage} takes one configuration, got {len(args.config)}")
    if args.seeds < 1 or (args.seeds > 1 and args.stage != "compare"):
        parser.error(f"--seeds is for compare, one or more; got {args.stage} with {args.seeds}")
    try:
        if args.stage == "compare":
            rows = [compare.row(path, args.set, args.seeds) for path in args.config]
            compare.compare(rows, args.out or Path("comparison"))
            return 0
        run = stages.Run(args.config[0], args.set)
        if args.stage == "sample":
            picture(run, args)
        elif args.stage == "run":
            run.all()
        else:
            run.stage(args.stage, alone=True)
    except DistillError as error:
        print(f"distill: {error}", file=sys.stderr)
        return 1
    except (OSError, SafetensorError) as error:  # SafetensorError: what its writer makes of a full disk, or a torn file
        print(
            f"distill: {error}; finished stages and the last checkpoint are intact: mend it and run again",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
