"""GenEval's own prompts (arXiv 2310.11513): those whose objects, and whose colours on them, the vocabulary holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from . import data

PROMPTS = Path(__file__).with_name("geneval_prompts.jsonl")
KINDS = {
    "single_object": "single",
    "two_object": "two",
    "counting": "counting",
    "colors": "colors",
    "position": "position",
    "color_attr": "color_attr",
}


def prompts() -> tuple[list[data.Scene], int]:
    """-> the scenes that the known prompts ask for, captioned as GenEval has them, and the number of all prompts"""
    tasks = [json.loads(line) for line in PROMPTS.read_text().splitlines()]
    return [scene(task) for task in tasks if known(task)], len(tasks)


def known(task: dict) -> bool:
    return all(
        o["class"] in data.OBJECTS and ("color" not in o or o["class"] in data.COLORABLE) for o in task["include"]
    )


def scene(task: dict) -> data.Scene:
    objects = [{"name": o["class"], "color": o.get("color"), "count": o["count"]} for o in task["include"]]
    relation = None
    if task["tag"] == "position":
        objects.reverse()  # the last is placed by the first, and named before it
        relation = task["include"][1]["position"][0].removesuffix(" of")
    rng = np.random.default_rng(0)
    made = data.make_scene(rng, KINDS[task["tag"]], objects, relation, prefix="a photo of ", background="")
    made.caption = task["prompt"]
    return made
