"""Whole generations by diffusers' PixArtAlphaPipeline, beyond the two that came with the reference pipeline.

    /opt/py/bin/python tools/goldens/pipeline.py [reference folder]   # default /work/shared/reference/pixart

First runs the reference's own cases.json and compares with its case.safetensors, so that what follows is known to be called in the
same way (clean_caption=False, use_resolution_binning=False, images in 0..1); then writes tests/golden/sampler/pipeline_cases.json
and pipeline_case.safetensors. Case i has the keys of the reference: i.noise, i.ids (without padding), i.prompt_embeds,
i.prompt_mask, i.negative_embeds, i.negative_mask, i.timesteps (f32, as Euler's may be fractional), i.latents [steps, 1, 4, h, w]
after every step, i.image [1, 3, H, W]. Without guidance (scale <= 1) there are no negative_*. i.noise is the draw of the seed, before
init_noise_sigma. `scheduler` in the JSON is what save_pretrained would write: put it in the place of scheduler_config.json.
"""

import json
import pathlib
import sys
import warnings

import diffusers
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
REFERENCE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/work/shared/reference/pixart")
OUT = pathlib.Path(__file__).parents[2] / "tests/golden/sampler"
DPM, DDIM, EULER = "DPMSolverMultistepScheduler", "DDIMScheduler", "EulerDiscreteScheduler"
LONG = "a very large red cat and a small blue dog left of a tall green tree above the old house, " * 4

CASES = [
    {"name": "ddim leading", "class": DDIM, "options": {"clip_sample": False, "timestep_spacing": "leading"}},
    {"name": "ddim as from_config makes it: x0 clipped", "class": DDIM, "options": {}, "steps": 3},
    {"name": "euler trailing", "class": EULER, "options": {"timestep_spacing": "trailing"}},
    {"name": "euler linspace: fractional timesteps", "class": EULER, "options": {}, "steps": 5},
    {"name": "dpm-solver++ v prediction", "class": DPM, "options": {
        "timestep_spacing": "trailing", "prediction_type": "v_prediction", "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "beta_end": 0.012}},
    {"name": "no guidance", "guidance_scale": 1.0, "prompt": "a small house"},
    {"name": "smallest picture", "height": 16, "width": 16},
    {"name": "wide picture", "height": 48, "width": 112, "steps": 3, "negative_prompt": "a red cat"},
    {"name": "prompt longer than 120 tokens", "prompt": LONG, "negative_prompt": LONG, "steps": 2},
    # One step is DDIM's: PixArtAlphaPipeline asks the scheduler for its x0 then, which diffusers' DPM-Solver does not return.
    {"name": "one step", "steps": 1, "prompt": "  A Red\tCAT ", "class": DDIM,
     "options": {"clip_sample": False, "timestep_spacing": "trailing"}},
]
DEFAULTS = {"prompt": "a red cat left of a small house", "negative_prompt": "", "height": 64, "width": 64, "steps": 4,
            "guidance_scale": 4.5, "class": DPM, "options": {}}


def load(cls=DPM, options=None):
    pipe = diffusers.PixArtAlphaPipeline.from_pretrained(REFERENCE / "pipeline", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    config = {**json.loads((REFERENCE / "pipeline/scheduler/scheduler_config.json").read_text()), **(options or {})}
    pipe.scheduler = getattr(diffusers, cls).from_config(config)
    return pipe


def generate(pipe, call, seed):
    """One call, with everything on the way recorded."""
    guided = call["guidance_scale"] > 1
    embeds = pipe.encode_prompt(call["prompt"], guided, negative_prompt=call["negative_prompt"], clean_caption=False)
    record = dict(zip(("prompt_embeds", "prompt_mask", "negative_embeds", "negative_mask"), embeds))
    record = {name: value.float() for name, value in record.items() if value is not None}
    mask = record["prompt_mask"][0].bool()
    text = call["prompt"].lower().strip()
    ids = pipe.tokenizer(text, padding="max_length", max_length=120, truncation=True, return_tensors="pt").input_ids
    record["ids"] = ids[0][mask]
    shape = (1, 4, call["height"] // 8, call["width"] // 8)
    record["noise"] = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))
    history, timesteps = [], []

    def keep(step, timestep, latents):
        history.append(latents.clone())
        timesteps.append(float(timestep))

    result = pipe(
        call["prompt"], negative_prompt=call["negative_prompt"], height=call["height"], width=call["width"],
        num_inference_steps=call["steps"], guidance_scale=call["guidance_scale"], clean_caption=False,
        use_resolution_binning=False, generator=torch.Generator("cpu").manual_seed(seed), output_type="np", callback=keep,
        callback_steps=1,
    )
    record["image"] = torch.from_numpy(np.ascontiguousarray(result.images.transpose(0, 3, 1, 2)))
    record["latents"] = torch.stack(history)
    record["timesteps"] = torch.tensor(timesteps)
    return record


def check_reference():
    expected = load_file(REFERENCE / "case.safetensors")
    for i, call in enumerate(json.loads((REFERENCE / "cases.json").read_text())):
        record = generate(load(), {**call, "steps": call["num_inference_steps"]}, call["seed"])
        for name, value in record.items():
            reference = expected[f"{i}.{name}"].float()
            assert value.shape == reference.shape, (i, name, value.shape, reference.shape)
            error = float((value.float() - reference).norm() / reference.norm())
            print(f"reference case {i} {name}: {error:.1e}")
            assert error < 1e-5, (i, name)


def main():
    check_reference()
    tensors, records = {}, []
    for i, case in enumerate(CASES):
        call = {**DEFAULTS, **case}
        pipe = load(call["class"], call["options"])
        record = generate(pipe, call, seed=200 + i)
        assert all(value.isfinite().all() for value in record.values()), case
        tensors.update({f"{i}.{name}": value.contiguous() for name, value in record.items()})
        scheduler = json.loads(pipe.scheduler.to_json_string())
        records.append({
            "name": call["name"], "prompt": call["prompt"], "negative_prompt": call["negative_prompt"],
            "height": call["height"], "width": call["width"], "num_inference_steps": call["steps"],
            "guidance_scale": call["guidance_scale"], "seed": 200 + i, "scheduler_class": call["class"],
            "scheduler_overrides": call["options"], "scheduler": scheduler,
        })
        print(call["name"], [round(t, 3) for t in record["timesteps"].tolist()], f"|latents| {record['latents'][-1].std():.3f}",
              f"image {record['image'].min():.3f}..{record['image'].max():.3f}")
    save_file(tensors, OUT / "pipeline_case.safetensors")
    (OUT / "pipeline_cases.json").write_text(json.dumps(records, indent=1).replace("-Infinity", "-1e999") + "\n")


if __name__ == "__main__":
    main()
