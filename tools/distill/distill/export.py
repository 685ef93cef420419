"""Write and read a pipeline directory in the diffusers layout."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL
from transformers import T5EncoderModel

from . import sample, tokenizer
from .diffusion import Denoiser
from .model import T2MDTransformer


def save(directory: Path, model: Denoiser, autoencoder: AutoencoderKL, dtype: torch.dtype = torch.float16) -> None:
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory / "tokenizer")
    text = T5EncoderModel(model.text_encoder.config)
    text.load_state_dict(model.text_encoder.state_dict())
    text.to(dtype).save_pretrained(directory / "text_encoder")
    model.transformer.save_pretrained(directory / "transformer", dtype)
    copy = AutoencoderKL.from_config(autoencoder.config)
    copy.load_state_dict(autoencoder.state_dict())
    copy.to(dtype).save_pretrained(directory / "vae")
    sample.scheduler().save_pretrained(directory / "scheduler")
    index = {
        "_class_name": "T2MDPipeline",
        "_defaults": {"guidanceScale": 3, "numInferenceSteps": 16},  # what the engine uses unless told otherwise
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["distill", "T2MDTransformer"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (directory / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def load(directory: Path) -> tuple[Denoiser, AutoencoderKL]:
    """The stored weights, brought to float32."""
    directory = Path(directory)
    text = T5EncoderModel.from_pretrained(directory / "text_encoder", dtype=torch.float32).eval()
    transformer = T2MDTransformer.from_pretrained(directory / "transformer")
    autoencoder = AutoencoderKL.from_pretrained(directory / "vae", torch_dtype=torch.float32).eval()
    return Denoiser(text, transformer).eval(), autoencoder
