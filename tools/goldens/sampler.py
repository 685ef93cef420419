"""Golden data of the samplers and the noise, computed by diffusers and torch.

    /opt/py/bin/python tools/goldens/sampler.py      # writes tests/golden/sampler/{cases.json,cases.safetensors,noise.*}

A case is: config (of class `_class_name`), the class that runs it, a step count. Fed with a pseudo model whose output at step i is
outputs[i] + tanh(model input) / 2, it records timesteps, sigmas and the latents [steps, 8] after every step.
"""

import itertools
import json
import logging
import pathlib
import warnings

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()
logging.disable(logging.WARNING)
OUT = pathlib.Path(__file__).parents[2] / "tests/golden/sampler"
DPM, DDIM, EULER = "DPMSolverMultistepScheduler", "DDIMScheduler", "EulerDiscreteScheduler"
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULES = [{"beta_schedule": "linear"}, SCALED, {"beta_schedule": "squaredcos_cap_v2"}]
SPACINGS = ["linspace", "leading", "trailing"]
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SIZE = 8


def cases():
    """Yields (config, class that runs it, steps)."""
    for cls, schedule, spacing, prediction in itertools.product((DPM, DDIM, EULER), SCHEDULES, SPACINGS, PREDICTIONS):
        config = {"_class_name": cls, **schedule, "timestep_spacing": spacing, "prediction_type": prediction}
        if cls == DDIM:
            config["clip_sample"] = False
        for steps in (1, 2, 3, 6, 20):
            yield config, cls, steps
    for cls in (DPM, EULER, DDIM):
        for steps in (10, 14, 15, 50, 100):
            yield PIXART, cls, steps
    own = [
        (DPM, {"solver_order": 1}),
        (DPM, {"solver_type": "heun"}),
        (DPM, {"final_sigmas_type": "sigma_min"}),
        (DPM, {"final_sigmas_type": "sigma_min", "solver_order": 1}),
        (DPM, {"final_sigmas_type": "sigma_min", "solver_type": "heun", "lower_order_final": False}),
        (DPM, {"final_sigmas_type": "sigma_min", "lower_order_final": False, "euler_at_final": True}),
        (DPM, {"lower_order_final": False}),
        (DPM, {"timestep_spacing": "leading", "steps_offset": 1}),
        (DPM, {"use_karras_sigmas": True, "timestep_spacing": "leading"}),
        (DPM, {"use_karras_sigmas": True, **SCALED, "prediction_type": "v_prediction"}),
        (DPM, {"use_karras_sigmas": True, "beta_schedule": "squaredcos_cap_v2", "final_sigmas_type": "sigma_min"}),
        (DPM, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}),
        (DPM, {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "timestep_spacing": "trailing"}),
        (DPM, {**SCALED, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}),
        (DPM, {"num_train_timesteps": 100}),
        (DDIM, {"clip_sample": True}),
        (DDIM, {"clip_sample": True, "clip_sample_range": 2.5, "prediction_type": "v_prediction", **SCALED}),
        (DDIM, {"clip_sample": True, "prediction_type": "sample"}),
        (DDIM, {"clip_sample": False, "set_alpha_to_one": False}),
        (DDIM, {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, **SCALED}),
        (DDIM, {"clip_sample": False, **SCALED, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction",
                "timestep_spacing": "trailing"}),
        (EULER, {"use_karras_sigmas": True}),
        (EULER, {"use_karras_sigmas": True, "timestep_spacing": "leading", "steps_offset": 1, **SCALED}),
        (EULER, {"use_karras_sigmas": True, "sigma_min": 0.03, "sigma_max": 20.0, "timestep_spacing": "trailing"}),
        (EULER, {"final_sigmas_type": "sigma_min"}),
        (EULER, {"timestep_spacing": "leading", "steps_offset": 1, **SCALED}),
        (EULER, {**SCALED, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}),
        (EULER, {"trained_betas": [0.001 + 0.0004 * i for i in range(40)], "num_train_timesteps": 40}),
        (DPM, {"trained_betas": [0.001 + 0.0004 * i for i in range(40)], "num_train_timesteps": 40}),
    ]
    for cls, options in own:
        for steps in (1, 2, 5, 14, 15):
            yield {"_class_name": cls, **options}, cls, steps
    stable_diffusion = {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, **SCALED}
    foreign = [
        (PIXART, (DDIM, EULER)),
        ({"_class_name": DDIM, **stable_diffusion}, (DPM, EULER)),
        ({"_class_name": EULER, **SCALED, "timestep_spacing": "leading", "steps_offset": 1, "use_karras_sigmas": True,
          "sigma_min": 0.05, "prediction_type": "v_prediction"}, (DPM, DDIM)),
        ({"_class_name": "PNDMScheduler", **stable_diffusion}, (DPM, DDIM, EULER)),
        ({"_class_name": "DDPMScheduler", "variance_type": "fixed_small", "clip_sample": False}, (DPM, DDIM, EULER)),
        ({"_class_name": "UniPCMultistepScheduler", "solver_type": "bh2", "timestep_spacing": "trailing"}, (DPM,)),
    ]
    for config, classes in foreign:
        for cls, steps in itertools.product(classes, (3, 7)):
            yield config, cls, steps


PIXART = {
    "_class_name": DPM, "algorithm_type": "dpmsolver++", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001,
    "dynamic_thresholding_ratio": 0.995, "euler_at_final": False, "lambda_min_clipped": -float("inf"),
    "lower_order_final": True, "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0,
    "solver_order": 2, "solver_type": "midpoint", "steps_offset": 0, "thresholding": False, "timestep_spacing": "linspace",
    "trained_betas": None, "use_karras_sigmas": False, "use_lu_lambdas": False, "variance_type": None,
}


def run(config, cls, steps, noise, outputs):
    scheduler = getattr(diffusers, cls).from_config(config)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # two equal first timesteps (Karras) would otherwise start at the second
    latents = noise * scheduler.init_noise_sigma
    history = []
    for i, t in enumerate(scheduler.timesteps):
        model_input = scheduler.scale_model_input(latents, t)
        output = outputs[i] + torch.tanh(model_input) / 2
        latents = scheduler.step(output, t, latents, return_dict=False)[0]
        history.append(latents)
    return scheduler, torch.cat(history)


def timestep_sums():
    """Per class and spacing: [steps, sum of (i + 1) * timestep_i] for many step counts."""
    counts = [*range(1, 121), *range(125, 1000, 37), 999]
    table = {}
    for cls, spacing in itertools.product((DPM, DDIM, EULER), SPACINGS):
        scheduler = getattr(diffusers, cls)(timestep_spacing=spacing)
        rows = []
        for n in counts:
            scheduler.set_timesteps(n)
            timesteps = scheduler.timesteps.double().numpy()
            if len(timesteps) != n:  # numpy.arange's extra value: diffusers would run a step at timestep -1
                assert timesteps[-1] == -1
                timesteps = timesteps[:n]
            rows.append([n, float((timesteps * np.arange(1, n + 1)).sum())])
        table[f"{cls} {spacing}"] = rows
    return table


def noise_goldens():
    counts = [1, 2, 5, 15, 16, 17, 31, 33, 100, 1000, 4 * 16 * 16, 4 * 12 * 20]
    seeds = [0, 1, 7, 100, 2**32 - 1, 2**32, 2**53 - 1, 2**63 + 12345, 2**64 - 1]
    tensors = {}
    for seed, count in itertools.product(seeds, counts):
        generator = torch.Generator("cpu").manual_seed(seed)
        tensors[f"{seed}.{count}"] = torch.randn(1, count, generator=generator)[0].contiguous()
    generator = torch.Generator("cpu").manual_seed(100)
    assert torch.equal(torch.randn(1, 4, 16, 16, generator=generator).flatten(), tensors["100.1024"])
    return tensors


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    noise, outputs = torch.randn(1, SIZE, generator=generator), torch.randn(100, SIZE, generator=generator)
    tensors, records = {"noise": noise[0].clone(), "outputs": outputs}, []
    for config, cls, steps in cases():
        scheduler, latents = run(config, cls, steps, noise, outputs)
        assert latents.isfinite().all(), (config, cls, steps)
        record = {"config": config, "class": cls, "steps": steps, "timesteps": scheduler.timesteps.double().tolist()}
        record["init_noise_sigma"] = float(scheduler.init_noise_sigma)
        if cls != DDIM:
            record["sigmas"] = scheduler.sigmas.double().tolist()
        tensors[f"{len(records)}"] = latents.contiguous()
        records.append(record)
    for schedule in SCHEDULES:
        scheduler = diffusers.DPMSolverMultistepScheduler(**schedule)
        tensors["alphas_cumprod." + json.dumps(schedule)] = scheduler.alphas_cumprod
    save_file(tensors, OUT / "cases.safetensors")
    lines = [json.dumps(record) for record in records]
    (OUT / "cases.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    (OUT / "timestep_sums.json").write_text(json.dumps(timestep_sums()) + "\n")
    save_file(noise_goldens(), OUT / "noise.safetensors")
    print(len(records), "cases")


if __name__ == "__main__":
    main()
