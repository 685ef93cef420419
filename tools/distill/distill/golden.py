"""Reference tensors of an exported model for the engine's tests, computed in float32 from the stored weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from . import export, sample, tokenizer
from .diffusion import STEPS, Batch, Schedule

LENGTH = 120


@torch.no_grad()
def build(
    model_dir: Path, out: Path, prompt: str, seed: int = 7, steps: int = 12, guidance: float = 3.0, size: int = 128
) -> None:
    """Writes case.safetensors (one picture, one forward pass) and case.json (how it was called)."""
    model, autoencoder = export.load(model_dir)
    ids = torch.from_numpy(tokenizer.encode(tokenizer.build(), [prompt, ""], LENGTH)).long()
    noise = sample.seeded_noise(seed, size, size)
    trace: list[torch.Tensor] = []
    latents = sample.sample_latents(model, ids[:1], noise, steps, guidance, autocast=False, trace=trace)
    image = (autoencoder.decode(latents / autoencoder.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
    solver, schedule = sample.solver_of(model_dir), Schedule.of(model_dir)
    solver.set_timesteps(steps)
    (positive, negative), (mask, negative_mask) = (x.split(1) for x in model.encode(ids))

    # A single forward at two noise levels, conditional and not, with what leaves every block.
    t = torch.tensor([250, 800])
    generator = torch.Generator().manual_seed(seed + 1)
    x_t = torch.cat([latents, latents])
    x_t, signal, sigma = schedule.noisy(Batch(x_t, ids, ids, t, torch.randn(x_t.shape, generator=generator)))
    hidden: list[torch.Tensor] = []
    embeds, both_masks = torch.cat([positive, negative]), torch.cat([mask, negative_mask])
    v = model.transformer(x_t, embeds, both_masks, t, hidden=hidden)
    tensors = {
        "0.ids": ids[0, : int(mask.sum())],
        "0.noise": noise,
        "0.prompt_embeds": positive,
        "0.prompt_mask": mask.float(),
        "0.negative_embeds": negative,
        "0.negative_mask": negative_mask.float(),
        "0.timesteps": solver.timesteps,
        "0.latents": torch.stack(trace),
        "0.image": image,
        "forward.latent": x_t,
        "forward.embeds": embeds,
        "forward.mask": both_masks.float(),
        "forward.t": t,
        "forward.output": v,
        "forward.eps": schedule.epsilon(v, x_t, signal, sigma),
        "forward.hidden": torch.stack(hidden),
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: x.contiguous() for k, x in tensors.items()}, out / "case.safetensors")
    call = dict(
        prompt=prompt, negative_prompt="", height=size, width=size, num_inference_steps=steps, guidance_scale=guidance
    )
    (out / "case.json").write_text(
        json.dumps({"model": Path(model_dir).name, "steps": STEPS, "calls": [call | {"seed": seed}]}, indent=1) + "\n"
    )
