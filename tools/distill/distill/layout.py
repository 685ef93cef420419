"""python -m distill.layout DIRECTORY [--blocks 2]: a PixArt-alpha directory of the real layout and width.

Weights are random. The denoiser has PixArt-XL-2-512x512's config but for the number of blocks, the text encoder
T5-XXL's width and little else, the autoencoder SD's latents from thin layers: enough to try and to measure `force`
and `distill`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel

from . import tokenizer


def write(directory: Path, blocks: int = 2) -> None:
    torch.manual_seed(0)
    words = tokenizer.fast()
    text = T5Config(
        vocab_size=len(words),
        d_model=4096,
        d_kv=64,
        d_ff=64,
        num_heads=1,
        num_layers=1,
        feed_forward_proj="gated-gelu",
        is_decoder=False,
        is_encoder_decoder=False,
        use_cache=False,
    )
    levels = 4
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=(16, 32, 32, 32),
        norm_num_groups=8,
        layers_per_block=1,
        sample_size=512,
        scaling_factor=0.18215,
    )
    transformer = PixArtTransformer2DModel(
        num_attention_heads=16,
        attention_head_dim=72,
        num_layers=blocks,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=1152,
        caption_channels=4096,
        sample_size=64,
        patch_size=2,
        norm_type="ada_norm_single",
        activation_fn="gelu-approximate",
        use_additional_conditions=False,
    )
    scheduler = DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    pipeline = PixArtAlphaPipeline(words, T5EncoderModel(text), autoencoder, transformer, scheduler)
    pipeline.save_pretrained(directory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--blocks", type=int, default=2)
    arguments = parser.parse_args()
    write(arguments.directory, arguments.blocks)
