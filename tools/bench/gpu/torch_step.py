"""One step of the same denoiser in PyTorch, bf16, by the clock: a JSON line for each model and size.

Uses the distiller's model: scaled_dot_product_attention and the chunked scan, eager.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "distill"))
from distill.model import T2MDTransformer2DModel

SEVEN = ["attention", "mamba_h", "mamba_w", "mamba_h", "mamba_w", "mamba_h", "mamba_w"]


def measure(model, inputs: tuple, samples: int, cuda: bool) -> list[float]:
    """Seconds of each run after one that warms up."""
    model(*inputs)
    times = []
    for _ in range(samples):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        model(*inputs)
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="512x512,1024x1024,2048x2048,3840x2160")
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--budget", type=float, default=120, help="seconds after which nothing new is begun")
    options = parser.parse_args()
    began = time.monotonic()
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    where = torch.cuda.get_device_name() if cuda else "CPU"
    mixers = {"hybrid": (SEVEN * 4)[: options.layers], "attention": ["attention"] * options.layers}
    for name, blocks in mixers.items():
        with torch.device(device):
            model = T2MDTransformer2DModel(
                num_layers=len(blocks), token_mixers=blocks, pos_embed_type="centered_sincos"
            )
        model = model.to(torch.bfloat16).eval()
        for size in options.sizes.split(","):
            if time.monotonic() - began > options.budget:
                break
            width, height = map(int, size.split("x"))
            like = {"device": device, "dtype": torch.bfloat16}
            latent = torch.randn(1, 4, height // 8, width // 8, **like)
            text = torch.randn(1, 120, 4096, **like)
            mask = torch.ones(1, 120, device=device)
            step = torch.tensor([500], device=device)
            with torch.inference_mode():
                times = measure(model, (latent, text, mask, step), options.samples, cuda)
            line = {
                "what": f"{where} bf16 {name}, {len(blocks)} blocks, {width * height // 256} tokens",
                "model": name,
                "tokens": width * height // 256,
                "seconds": sorted(times)[len(times) // 2],
                "samples": times,
            }
            print(json.dumps(line), flush=True)


main()
