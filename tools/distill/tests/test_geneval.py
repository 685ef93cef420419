"""GenEval's prompts in the vocabulary, read as what they ask for."""

from collections import Counter

from distill import data, geneval


def test_the_vocabulary_holds_most_of_geneval():
    scenes, total = geneval.prompts()
    assert total == 553
    names = {o["name"] for s in scenes for o in s.spec}
    assert len(names) >= 60
    assert set(Counter(s.kind for s in scenes)) == set(data.KINDS)
    assert len(scenes) > 250


def test_prompts_are_captions_of_their_scenes():
    """Every caption is one that training could have shown: the same words in the same order."""
    for s in geneval.prompts()[0]:
        first, *rest = (data.phrase(o["name"], o["color"], o["count"]) for o in s.spec)
        between = f" {data.RELATIONS[s.relation]} " if s.relation else " and "
        assert s.caption == "a photo of " + between.join([first, *rest])
        assert len(s.things) == sum(o["count"] for o in s.spec)
