"""Scenes: the same seed gives the same picture, and the caption says what the boxes hold."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from distill import data, evaluate, sources
from distill.detector import Detection


def test_vocabulary():
    assert len(data.EMOJI) == 77
    assert len(data.SHAPES) == 6
    assert len(data.COLORS) == 11
    assert max(data.COUNTS) == 5
    assert len(data.RELATIONS) == 4


def test_rendering_is_deterministic():
    first = [data.render(sources.scene(3, i)) for i in range(20)]
    data.sprite.cache_clear()
    data._glyph.cache_clear()
    second = [data.render(sources.scene(3, i)) for i in range(20)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_captions_match_boxes():
    seen = Counter()
    for i in range(2000):
        scene = sources.scene(5, i)
        seen[scene.kind] += 1
        drawn = Counter(t.name for t in scene.things)
        assert drawn == {o["name"]: o["count"] for o in scene.spec}
        words = scene.caption.split()
        for o in scene.spec:
            noun = (data.plural(o["name"]) if o["count"] > 1 else o["name"]).split()
            at = next(
                i
                for i in range(len(words))
                if words[i : i + len(noun)] == noun and words[i + len(noun) :] != ["background"]
            )
            if o["color"]:
                assert words[at - 1] == o["color"]
                assert {t.color for t in scene.things if t.name == o["name"]} == {o["color"]}
                at -= 1
            assert words[at - 1] == (data.COUNTS[o["count"]] if o["count"] > 1 else data.article(words[at]))
        if scene.background:
            assert scene.caption.endswith(f"{scene.background} background")
        if scene.relation:
            a, b = scene.things
            place = {"left": a.x + a.size <= b.x, "right": b.x + b.size <= a.x}
            place |= {"above": a.y + a.size <= b.y, "below": b.y + b.size <= a.y}
            assert place[scene.relation]
            assert data.RELATIONS[scene.relation] in scene.caption
        for t in scene.things:
            assert 0 <= t.x <= data.BASE - t.size
            assert 0 <= t.y <= data.BASE - t.size
            assert t.x % 8 == t.y % 8 == 0
            assert t.size >= 40
    assert set(seen) == set(data.KINDS)


def test_boxes_hold_ink_and_do_not_overlap():
    for i in range(200):
        scene = sources.scene(6, i)
        picture = data.render(scene)
        background = data.BACKGROUNDS[scene.background] if scene.background else data.WHITE
        ink = np.abs(picture.astype(int) - background).max(-1) > 12
        covered = np.zeros_like(ink, int)
        for t in scene.things:
            covered[t.y : t.y + t.size, t.x : t.x + t.size] += 1
            assert ink[t.y : t.y + t.size, t.x : t.x + t.size].mean() > 0.03
        assert covered.max() == 1
        assert not ink[covered == 0].any()


def test_held_out_combinations_never_occur():
    held = set()
    for i in range(3000):
        scene = sources.scene(7, i)
        assert frozenset(o["name"] for o in scene.spec) not in data.HELD_OUT_MEETINGS
        for o in scene.spec:
            assert (o["color"], o["name"]) not in data.HELD_OUT_PAIRS
            assert (data.OBJECTS.index(o["name"]), o["count"]) not in data.HELD_OUT_COUNTS
        held.add(scene.caption)
    prompts = evaluate.held_out_prompts()
    assert not held & {s.caption for s in prompts if s.kind != "single"}


@pytest.mark.parametrize("resolution", [128, 256])
def test_resolution(resolution):
    scene = sources.scene(3, 0)
    assert data.render(scene, resolution).shape == (resolution, resolution, 3)


def seen(scene: data.Scene) -> list[Detection]:
    return [Detection(t.name, t.color or "red", t.x + t.size / 2, t.y + t.size / 2, 1.0) for t in scene.things]


def test_check_accepts_the_scene_and_rejects_its_alterations():
    rng = np.random.default_rng(0)
    for scene in evaluate.held_out_prompts():
        assert evaluate.follows(scene, seen(scene))
        assert not evaluate.follows(scene, seen(evaluate.altered(scene, rng)))
        assert not evaluate.follows(scene, seen(scene)[:-1])
        assert not evaluate.follows(scene, [*seen(scene), Detection("nothing", "red", 0, 0, 1.0)])


def test_grid_is_fixed_and_covers_all_kinds():
    prompts = evaluate.held_out_prompts()
    chosen = evaluate.grid_prompts()
    assert len(set(chosen)) == 16
    assert {prompts[i].kind for i in chosen} == set(data.KINDS)
    assert [s.caption for s in prompts] == [s.caption for s in evaluate.held_out_prompts()]
