"""A second image decoder, unlike the reference pipeline's, computed by diffusers' AutoencoderKL in f32 on a CPU.

    /opt/py/bin/python tools/goldens/vae.py

Three resnets a block, channels that change at every level, groups of 2, 3 and 4 channels (so a vec4 holds parts of several), a shift_factor,
no attention in the middle, no post_quant_conv. Weights are random, also those of the norms. Writes tests/golden/vae/vae (config.json
and the decoder's tensors: the encoder is of no use here) and tests/golden/vae/case.safetensors with i.latents [1, 4, h, w], as a
sampler would leave them, and i.image [1, 3, 8h, 8w] in 0..1 (diffusers' output_type "pt").
"""

import json
import pathlib

import torch
from diffusers import AutoencoderKL
from diffusers.image_processor import VaeImageProcessor
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/vae"
SIZES = [(5, 9), (1, 2)]

torch.manual_seed(7)
vae = AutoencoderKL(
    block_out_channels=(8, 8, 12, 16),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    layers_per_block=2,
    norm_num_groups=4,
    latent_channels=4,
    scaling_factor=0.3611,
    shift_factor=0.1159,
    mid_block_add_attention=False,
    use_quant_conv=False,
    use_post_quant_conv=False,
).eval()
with torch.no_grad():
    for name, parameter in vae.named_parameters():
        if "norm" in name:
            parameter.add_(0.3 * torch.randn_like(parameter))
    vae.decoder.conv_out.weight.mul_(2)  # so that some of the picture is clamped, and most of it is not

    tensors = {}
    for i, (h, w) in enumerate(SIZES):
        latents = torch.randn(1, 4, h, w)
        decoded = vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample
        tensors[f"{i}.latents"] = latents
        tensors[f"{i}.image"] = VaeImageProcessor(vae_scale_factor=8).postprocess(decoded, output_type="pt").contiguous()
        clamped = ((decoded < -1) | (decoded > 1)).float().mean().item()
        print(f"{h}x{w}: std {decoded.std():.3f}, {100 * clamped:.1f} % clamped")

(OUT / "vae").mkdir(parents=True, exist_ok=True)
config = {key: value for key, value in vae.config.items() if not key.startswith("_")}
config = {"_class_name": "AutoencoderKL", **config}
(OUT / "vae/config.json").write_text(json.dumps(config, indent=2, default=list) + "\n")
decoder = {name: tensor.contiguous() for name, tensor in vae.state_dict().items() if name.startswith("decoder.")}
save_file(decoder, OUT / "vae/diffusion_pytorch_model.safetensors")
save_file(tensors, OUT / "case.safetensors")
