"""Embeddings that the engine made (`scanvas embed`) against transformers' T5EncoderModel on the very same converted weights.

    python tools/goldens/check_embeddings.py --model converted/dir --pack prompts.safetensors

The converted tensors, quantised or not, are read back into f32 and put into a T5EncoderModel; every prompt of the pack goes through it.
Prints the relative error by prompt; exit code 1 when one is above --tolerance (default 1e-5). T5-XXL in f32 takes 0.8 GB a block, so
compare models of a few blocks (`scanvas synth --config t5-xxl --layers 2`).
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from transformers import T5Config, T5EncoderModel


def dequantise(words: np.ndarray, depth: int, dtype: str) -> np.ndarray:
    """Rows of [quant words][f16 scales], see src/numbers/quant.ts."""
    count = depth // (4 if dtype == "Q8" else 8)
    quants, scales = words[:, :count], np.ascontiguousarray(words[:, count:]).view(np.float16)[:, : depth // 32]
    octets = np.ascontiguousarray(quants).view(np.uint8)
    if dtype == "Q8":
        values = octets.view(np.int8).astype(np.float32)
    else:
        halves = np.stack([octets & 15, octets >> 4], axis=1).reshape(len(words), 2, count, 4)
        values = halves.transpose(0, 2, 1, 3).reshape(len(words), depth).astype(np.float32) - 8
    return (values.reshape(len(words), -1, 32) * scales.astype(np.float32)[:, :, None]).reshape(len(words), depth)


def read_tensor(root: Path, component: dict, name: str) -> torch.Tensor:
    entry = component["tensors"][name]
    parts = []
    for i, part in enumerate(entry["parts"]):
        stored = name if len(entry["parts"]) == 1 else f"{name}.rows.{i}"
        with safe_open(root / component["shards"][part["shard"]]["file"], "np") as file:
            parts.append(file.get_tensor(stored))
    data = np.concatenate(parts)
    if entry["dtype"] in ("Q8", "Q4"):
        data = dequantise(data, entry["shape"][1], entry["dtype"])
    return torch.from_numpy(data.astype(np.float32))


def encoder_of(root: Path, component: dict) -> T5EncoderModel:
    """The engine's layout back in transformers' names."""
    config = T5Config(**component["config"])
    model = T5EncoderModel(config).eval()
    state = {}
    for name in component["tensors"]:
        tensor = read_tensor(root, component, name)
        if name.endswith("SelfAttention.qkv.weight"):
            for part, rows in zip("qkv", tensor.chunk(3)):
                state[name.replace("qkv", part)] = rows
        elif name.endswith("DenseReluDense.wi.weight") and config.is_gated_act:
            for i, rows in enumerate(tensor.chunk(2)):
                state[name.replace("wi.weight", f"wi_{i}.weight")] = rows
        else:
            state[name] = tensor
    state["encoder.embed_tokens.weight"] = state["shared.weight"]
    model.load_state_dict(state)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    options = parser.parse_args()
    component = json.loads((options.model / "manifest.json").read_text())["components"]["text_encoder"]
    model = encoder_of(options.model, component)
    worst = 0.0
    with safe_open(options.pack, "np") as pack:
        for i, prompt in enumerate(json.loads(pack.metadata()["prompts"])):
            ids = torch.from_numpy(pack.get_tensor(f"{i}.ids").astype(np.int64))[None]
            with torch.no_grad():
                expected = model(ids).last_hidden_state[0].numpy()
            got = pack.get_tensor(f"{i}.embeds")
            error = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
            print(f"{error:.2e}  {ids.shape[1]:4d} tokens  {prompt!r}")
            worst = max(worst, error if math.isfinite(error) else math.inf)
    sys.exit(worst > options.tolerance)


if __name__ == "__main__":
    main()
