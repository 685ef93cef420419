"""Pipeline directories in the diffusers layout: the teacher's as trained, the student's from a teacher's parts."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, T5EncoderModel

from . import tokenizer
from .config import Output
from .diffusion import Denoiser, miniature_scheduler
from .errors import DistillError
from .model import T2MDTransformer2DModel

PARTS = ("scheduler", "text_encoder", "tokenizer", "vae")


def save_teacher(directory: Path, model: Denoiser, autoencoder: Path) -> None:
    """A pipeline of what was trained here, in float32."""
    directory = Path(directory)
    tokenizer.save(directory / "tokenizer")
    model.text_encoder.save_pretrained(directory / "text_encoder")
    model.transformer.save_pretrained(directory / "transformer")
    shutil.copytree(autoencoder, directory / "vae", dirs_exist_ok=True)
    miniature_scheduler().save_pretrained(directory / "scheduler")
    write_index(directory, {})


def write_index(directory: Path, defaults: dict[str, float]) -> None:
    solver = json.loads((directory / "scheduler" / "scheduler_config.json").read_text())["_class_name"]
    index = {
        "_class_name": "T2MDPipeline",
        "_diffusers_version": diffusers.__version__,
        **({"_defaults": defaults} if defaults else {}),
        "scheduler": ["diffusers", solver],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["distill", "T2MDTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (directory / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def cast(folder: Path, dtype: torch.dtype) -> None:
    """Store a component's float32 weights as `dtype`."""
    for file in folder.glob("*.safetensors"):
        weights = load_file(file)
        save_file(
            {k: v.to(dtype) if v.dtype == torch.float32 else v for k, v in weights.items()},
            file,
            metadata={"format": "pt"},
        )
    config = json.loads((folder / "config.json").read_text())
    config |= {k: str(dtype).removeprefix("torch.") for k in ("dtype", "torch_dtype") if k in config}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def save(cfg: Output, transformer: Path, pipeline: Path) -> Path:
    """The student's pipeline: `transformer` and the other parts of `pipeline`. -> its directory"""
    directory, pipeline, dtype = Path(cfg.model), Path(pipeline), getattr(torch, cfg.dtype)
    for part in PARTS:
        if not (pipeline / part).is_dir():
            raise DistillError(f"{pipeline}: has no {part}/, which an exported pipeline needs")
        shutil.rmtree(directory / part, ignore_errors=True)
        shutil.copytree(pipeline / part, directory / part)
    if not (
        directory / "tokenizer" / "tokenizer.json"
    ).exists():  # T5's own is a sentencepiece model; browsers read this
        AutoTokenizer.from_pretrained(pipeline / "tokenizer").save_pretrained(directory / "tokenizer")
    T2MDTransformer2DModel.from_pretrained(transformer).save_pretrained(directory / "transformer", dtype)
    if dtype != torch.float32:
        cast(directory / "vae", dtype)
        cast(directory / "text_encoder", dtype)
    # What the engine uses unless told otherwise.
    write_index(directory, {"guidanceScale": cfg.guidance, "numInferenceSteps": cfg.steps})
    if cfg.onnx:
        save_onnx(directory / "text_encoder", directory / "text_encoder.onnx")
    return directory


class TextEncoder(nn.Module):
    """ids, mask [B, L] -> last_hidden_state [B, L, C], as tensors"""

    def __init__(self, model: T5EncoderModel):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def save_onnx(directory: Path, path: Path) -> None:
    """A text_encoder/ for onnxruntime-web: input_ids, attention_mask [1, L] int64 -> last_hidden_state [1, L, C];
    a model beyond 2 GB gets files beside it. By the tracing exporter: torch 2.15's other one gets T5 wrong."""
    model = T5EncoderModel.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.ones(1, 8, dtype=torch.long)
    names = ["input_ids", "attention_mask", "last_hidden_state"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing and deprecation
        torch.onnx.export(
            TextEncoder(model),
            (ids, ids),
            str(path),
            dynamo=False,
            input_names=names[:2],
            output_names=names[2:],
            dynamic_axes={name: {1: "length"} for name in names},
        )


def load(directory: Path) -> tuple[Denoiser, AutoencoderKL]:
    """The stored weights, brought to float32."""
    directory = Path(directory)
    autoencoder = AutoencoderKL.from_pretrained(directory / "vae", torch_dtype=torch.float32).eval()
    return Denoiser.from_pretrained(directory), autoencoder
