"""python -m distill STAGE CONFIG"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from . import export, sample, stages


def main() -> None:
    parser = argparse.ArgumentParser(prog="distill", description=__doc__)
    parser.add_argument("stage", choices=[*stages.STAGES, *stages.PRODUCTS, "run", "picture"])
    parser.add_argument("config", type=Path, help="configs/demo.toml and its neighbours")
    parser.add_argument("--prompt", default="a photo of a cat", help="picture: what to show")
    parser.add_argument("--seed", type=int, default=0, help="picture: seed of the noise")
    parser.add_argument("--size", type=int, default=128, help="picture: edge in pixels")
    parser.add_argument("--out", type=Path, default=Path("picture.png"), help="picture: file to write")
    args = parser.parse_args()
    run = stages.Run(args.config)
    if args.stage == "picture":
        cfg = run.cfg["output"]
        model, autoencoder = export.load(Path(cfg["model"]))
        shown = sample.pictures(
            model, autoencoder, [args.prompt], [args.seed], cfg["steps"], cfg["guidance"], args.size
        )
        Image.fromarray(shown[0]).save(args.out)
        return
    for name in stages.STAGES if args.stage == "run" else [args.stage]:
        run.stage(name)


if __name__ == "__main__":
    main()
