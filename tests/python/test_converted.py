"""What `scanvas convert` writes, read with the safetensors library and unpacked by the format's description alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors import safe_open

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "shapes-and-things"
LARGEST = {"F32": 0.0, "F16": 3e-4, "Q8": 0.01, "Q4": 0.14}


def unpack(words: np.ndarray, depth: int, bits: int) -> np.ndarray:
    """[rows, words] u32 -> [rows, depth] f32: quants, an f16 scale every 32. q4: four low nibbles, then four high."""
    quants = words[:, : depth * bits // 32].copy().view(np.uint8)
    scales = words[:, depth * bits // 32 :].copy().view(np.float16)[:, : depth // 32].astype(np.float32)
    if bits == 8:
        values = quants.view(np.int8)
    else:
        four = quants.reshape(len(words), -1, 1, 4)
        values = np.concatenate([four & 15, four >> 4], axis=2).astype(np.int8) - 8
    return (values.reshape(-1, depth // 32, 32) * scales[..., None]).reshape(-1, depth)


def convert(out: Path, dtype: str) -> dict[str, np.ndarray]:
    """Every tensor of a conversion by component/name, parts put together."""
    command = ["node", "tools/scanvas.mjs", "convert", str(MODEL), "--out", str(out), "--dtype", dtype]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    manifest = json.loads((out / "manifest.json").read_text())
    tensors = {}
    for component, entry in manifest["components"].items():
        stored = {}
        for shard in entry["shards"]:
            with safe_open(out / shard["file"], framework="numpy") as file:
                assert file.metadata() == {"format": "scanvas"}
                stored |= {name: file.get_tensor(name) for name in file.keys()}
        for name, tensor in entry["tensors"].items():
            parts = len(tensor["parts"])
            names = [name] if parts == 1 else [f"{name}.rows.{i}" for i in range(parts)]
            value = np.concatenate([stored.pop(part) for part in names])
            assert value.nbytes == tensor["bytes"]
            if tensor["dtype"][0] == "Q":
                assert value.dtype == np.uint32
                value = unpack(value, tensor["shape"][1], int(tensor["dtype"][1]))
            assert list(value.shape) == tensor["shape"]
            tensors[f"{component}/{name}"] = (tensor["dtype"], value.astype(np.float32))
        assert not stored
    return tensors


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return convert(tmp_path_factory.mktemp("f32"), "f32")


@pytest.mark.parametrize("dtype", ["f16", "q8", "q4,vae=q8"])
def test_every_tensor_is_what_it_was(full, tmp_path, dtype):
    converted = convert(tmp_path, dtype)
    assert converted.keys() == full.keys()
    kinds = set()
    for name, (kind, value) in converted.items():
        want = full[name][1]
        kinds.add(kind)
        assert np.linalg.norm(value - want) <= LARGEST[kind] * np.linalg.norm(want), name
    assert kinds >= {"f16": {"F16", "F32"}, "q8": {"Q8", "F32"}}.get(dtype, {"Q4", "Q8", "F32"})


def test_a_made_up_model_is_a_pipeline_directory(tmp_path):
    options = ["--config", "sdxl-vae", "--dtype", "bf16", "--out", str(tmp_path)]
    subprocess.run(["node", "tools/scanvas.mjs", "synth", *options], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with safe_open(tmp_path / "vae/diffusion_pytorch_model.safetensors", framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}
    weight = state["decoder.mid_block.resnets.0.conv1.weight"]
    assert weight.dtype == torch.bfloat16
    assert float(weight.float().std()) == pytest.approx((512 * 9) ** -0.5, rel=0.01)
    vae = AutoencoderKL.from_config(json.loads((tmp_path / "vae/config.json").read_text()))
    missing, unexpected = vae.load_state_dict(state, strict=False)
    assert unexpected == []
    assert all(name.startswith(("encoder.", "quant_conv.")) for name in missing)
