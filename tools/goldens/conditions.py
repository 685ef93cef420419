"""Writes tests/golden/conditions: a tiny PixArt transformer with size and aspect conditions (PixArt-alpha 1024), plain sincos positions
with an interpolation scale, no attention bias, and one forward pass by diffusers. Run from the repository's root."""

from pathlib import Path

import torch
from diffusers import PixArtTransformer2DModel
from safetensors.torch import save_file

out = Path("tests/golden/conditions")
torch.manual_seed(5)
model = PixArtTransformer2DModel(
    num_attention_heads=2,
    attention_head_dim=12,
    num_layers=2,
    cross_attention_dim=24,
    caption_channels=20,
    sample_size=16,
    interpolation_scale=2.0,
    use_additional_conditions=True,
    attention_bias=False,
    out_channels=8,
    in_channels=4,
    patch_size=2,
)
for p in model.parameters():
    torch.nn.init.normal_(p, std=0.2)
model.eval()
model.save_pretrained(out / "transformer")
latent = torch.randn(2, 4, 20, 12)
embeds = torch.randn(2, 7, 20)
mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]], dtype=torch.float32)
t = torch.tensor([999, 37])
hidden: list[torch.Tensor] = []
for block in model.transformer_blocks:
    block.register_forward_hook(lambda _m, _i, o: hidden.append(o.detach().clone()))
# As the pipeline does: pixels of the picture, and height / width.
conditions = {
    "resolution": torch.tensor([[160.0, 96.0]] * 2),
    "aspect_ratio": torch.tensor([[160.0 / 96.0]] * 2),
}
with torch.no_grad():
    y = model(
        latent, encoder_hidden_states=embeds, encoder_attention_mask=mask, timestep=t, added_cond_kwargs=conditions
    ).sample
save_file(
    {
        "0.latent": latent,
        "0.embeds": embeds,
        "0.mask": mask,
        "0.t": t,
        "0.eps": y[:, :4].contiguous(),
        "0.hidden": torch.stack(hidden),
    },
    out / "case.safetensors",
)
