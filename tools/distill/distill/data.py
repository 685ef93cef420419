"""Captioned scenes rendered from emoji sprites and flat shapes.

A scene is a handful of boxes on a plain background together with a caption that says exactly what the boxes hold.
Positions lie on the 8 pixel grid of the latents (most of them on the 16 pixel grid of the tokens) and every kind of
scene has a small set of layouts: a miniature model spends its few training samples on what things look like, not on
where they might be.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .errors import DistillError

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
BASE = 128
BACKGROUND_SHARE = 0.15
SIZES = (64, 48, 40)

COLORS = {
    "red": (225, 40, 40),
    "orange": (250, 140, 30),
    "yellow": (250, 215, 40),
    "green": (50, 165, 70),
    "blue": (40, 95, 215),
    "purple": (140, 65, 190),
    "pink": (250, 140, 185),
    "brown": (135, 85, 50),
    "black": (45, 45, 50),
    "white": (245, 245, 245),
    "gray": (140, 142, 148),
}
COLOR_NAMES = list(COLORS)

# The first rows are 65 of GenEval's 80 objects: all that the font draws as what they are. The last row is ours.
EMOJI = {
    "person": "🧍", "bicycle": "🚲", "car": "🚗", "motorcycle": "🏍", "airplane": "✈", "bus": "🚌", "train": "🚆",
    "truck": "🚚", "boat": "⛵", "traffic light": "🚦", "stop sign": "🛑", "bird": "🐦", "cat": "🐱", "dog": "🐶",
    "horse": "🐴", "sheep": "🐑", "cow": "🐮", "elephant": "🐘", "bear": "🐻", "zebra": "🦓", "giraffe": "🦒",
    "backpack": "🎒", "umbrella": "☂", "handbag": "👜", "tie": "👔", "suitcase": "🧳", "frisbee": "🥏", "skis": "🎿",
    "snowboard": "🏂", "sports ball": "⚽", "kite": "🪁", "skateboard": "🛹", "tennis racket": "🎾", "bottle": "🍾",
    "wine glass": "🍷", "cup": "☕", "knife": "🔪", "spoon": "🥄", "bowl": "🥣", "banana": "🍌", "apple": "🍎",
    "sandwich": "🥪", "orange": "🍊", "broccoli": "🥦", "carrot": "🥕", "hot dog": "🌭", "pizza": "🍕", "donut": "🍩",
    "cake": "🎂", "chair": "🪑", "couch": "🛋", "potted plant": "🪴", "bed": "🛏", "toilet": "🚽", "tv": "📺",
    "laptop": "💻", "computer mouse": "🖱", "computer keyboard": "⌨", "cell phone": "📱", "book": "📕", "clock": "⏰",
    "vase": "🏺", "scissors": "✂", "teddy bear": "🧸", "toothbrush": "🪥",
    "frog": "🐸", "panda": "🐼", "pig": "🐷", "fox": "🦊", "penguin": "🐧", "fish": "🐟", "mushroom": "🍄",
    "tree": "🌳", "flower": "🌷", "rocket": "🚀", "house": "🏠", "balloon": "🎈",
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond")
OBJECTS = list(EMOJI) + list(SHAPES)

# Emoji of one main hue, which a colour word replaces; the rest of the sprite keeps its own colours.
TINTED = (
    "car", "motorcycle", "train", "bird", "backpack", "umbrella", "handbag", "suitcase", "frisbee", "bowl", "apple",
    "chair", "couch", "bed", "book", "clock", "vase", "toothbrush", "fish", "mushroom", "flower", "balloon",
)  # fmt: skip
COLORABLE = [*TINTED, *SHAPES]

# Colour-object pairs that never occur in training: prompts with them ask the model to combine what it knows.
HELD_OUT_PAIRS = {
    ("blue", "car"), ("green", "balloon"), ("purple", "apple"), ("red", "umbrella"), ("orange", "fish"),
    ("blue", "flower"), ("pink", "book"), ("yellow", "chair"), ("red", "star"), ("green", "heart"),
    ("purple", "square"), ("blue", "triangle"),
}  # fmt: skip
# Unordered pairs of objects that never meet in one training scene.
HELD_OUT_MEETINGS = {
    frozenset(p)
    for p in (("cat", "dog"), ("frog", "car"), ("apple", "banana"), ("house", "tree"), ("panda", "balloon"),
              ("penguin", "sports ball"), ("star", "circle"), ("boat", "fish"), ("fox", "mushroom"), ("pig", "book"))
}  # fmt: skip

# Numbers of a thing that never occur in training (one in eight), as (index of the object, count).
HELD_OUT_COUNTS = {(i, n) for i in range(len(OBJECTS)) for n in (2, 3, 4, 5) if (4 * i + n + i // 2) % 8 == 3}

COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}
RELATIONS = {"left": "left of", "right": "right of", "above": "above", "below": "below"}
OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
PREFIXES = ("", "", "a photo of ", "a picture of ")
# Chance of each kind of caption: the six of GenEval.
KINDS = {"single": 0.22, "colors": 0.2, "two": 0.12, "counting": 0.18, "position": 0.18, "color_attr": 0.1}

WHITE = (255, 255, 255)
BACKGROUNDS = {n: tuple(int(0.65 * c + 0.35 * 255) for c in rgb) for n, rgb in COLORS.items()}
BACKGROUNDS |= {"black": (40, 40, 46), "white": WHITE}


@dataclass
class Thing:
    """One object: its name, its colour word (None: natural colours), its box in pixels of the 128 pixel base."""

    name: str
    color: str | None
    x: int
    y: int
    size: int


@dataclass
class Scene:
    caption: str
    kind: str
    things: list[Thing]
    background: str | None = None
    relation: str | None = None
    spec: list[dict] = field(default_factory=list)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def plural(name: str) -> str:
    """As GenEval's prompts have it, "two knifes" included."""
    irregular = {"fish": "fishes", "bus": "buses", "fox": "foxes", "wine glass": "wine glasses", "skis": "skis"}
    irregular |= {"scissors": "scissors"}
    return irregular.get(name, name + "s")


def phrase(name: str, color: str | None, count: int = 1) -> str:
    """`a red car`, `two apples`: the words for one kind of object."""
    words = f"{color} " if color else ""
    if count > 1:
        return f"{COUNTS[count]} {words}{plural(name)}"
    words += name
    return f"{article(words)} {words}"


def words() -> list[str]:
    """Every word a caption can hold, in a fixed order."""
    grammar = "a an the and of on to in with photo picture background left right above below under one".split()
    out = [*grammar, *COUNTS.values(), *COLOR_NAMES, *OBJECTS, *(plural(o) for o in OBJECTS)]
    return list(dict.fromkeys(word for phrase_ in out for word in phrase_.split()))


def _shape_points(name: str) -> list[tuple[float, float]]:
    """Outline in the unit square."""
    if name == "square":
        return [(0.12, 0.12), (0.88, 0.12), (0.88, 0.88), (0.12, 0.88)]
    if name == "triangle":
        return [(0.5, 0.08), (0.94, 0.9), (0.06, 0.9)]
    if name == "diamond":
        return [(0.5, 0.02), (0.86, 0.5), (0.5, 0.98), (0.14, 0.5)]
    if name == "star":
        angles = [-np.pi / 2 + k * np.pi / 5 for k in range(10)]
        radii = [0.5 if k % 2 == 0 else 0.22 for k in range(10)]
        return [(0.5 + r * np.cos(a), 0.53 + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]
    if name == "heart":
        u = np.linspace(0, 2 * np.pi, 80)
        px = 16 * np.sin(u) ** 3
        py = 13 * np.cos(u) - 5 * np.cos(2 * u) - 2 * np.cos(3 * u) - np.cos(4 * u)
        return [(0.5 + x / 36, 0.47 - y / 36) for x, y in zip(px, py, strict=True)]
    u = np.linspace(0, 2 * np.pi, 80)
    return [(0.5 + 0.44 * np.cos(a), 0.5 + 0.44 * np.sin(a)) for a in u]


def _draw_shape(name: str, color: str, size: int) -> Image.Image:
    """A flat shape with a darker rim (the rim keeps a white shape visible on white)."""
    over = 4 * size
    rgb = np.array(COLORS[color], float)
    rim = tuple(int(c) for c in rgb * 0.62)
    points = _shape_points(name)
    pixels = [(x * over, y * over) for x, y in points]
    # Premultiplied averages need the rim colour under the transparent pixels too.
    image = Image.new("RGBA", (over, over), (*rim, 0))
    draw = ImageDraw.Draw(image)
    draw.polygon(pixels, fill=(*tuple(int(c) for c in rgb), 255))
    draw.line(pixels + pixels[:2], fill=(*rim, 255), width=int(over * 0.045), joint="curve")
    return image


@functools.cache
def _glyph(name: str) -> Image.Image:
    """The emoji at the font's only size, cropped to its ink and centred in a square."""
    try:
        font = ImageFont.truetype(FONT, 109)
    except OSError as error:
        raise DistillError(
            f"{FONT}: {error}; the scenes are drawn with it: apt-get install fonts-noto-color-emoji"
        ) from error
    image = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(image).text((10, 10), EMOJI[name], font=font, embedded_color=True)
    image = image.crop(image.getbbox())
    side = int(max(image.size) * 1.06)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _tint(image: Image.Image, color: str) -> Image.Image:
    """Replace the sprite's main hue by `color`, keeping its light and shade."""
    rgba = np.asarray(image, np.float32) / 255
    rgb = rgba[..., :3]
    high, low = rgb.max(-1), rgb.min(-1)
    chroma = high - low + 1e-6
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    hue = (
        np.where(high == r, ((g - b) / chroma) % 6, np.where(high == g, (b - r) / chroma + 2, (r - g) / chroma + 4)) / 6
    )
    colored = (chroma / (high + 1e-6) > 0.14) & (rgba[..., 3] > 0)
    # The middle of the arc of hues that holds the most pixels.
    counts = np.histogram(hue[colored], 50, (0, 1))[0]
    arcs = sum(np.roll(counts, k) for k in range(-4, 5))
    main = (np.argmax(arcs + 1e-3 * counts) + 0.5) / 50
    distance = np.abs((hue - main + 0.5) % 1 - 0.5)
    mask = (distance < 0.09) & colored
    luma = rgb @ np.array([0.3, 0.59, 0.11], np.float32)
    reference = np.median(luma[mask])
    shade = np.clip(luma / reference, 0.55, 1.6)[..., None]
    target = np.array(COLORS[color], np.float32) / 255
    lit = np.where(shade <= 1, target * shade, target + (1 - target) * np.minimum(shade - 1, 1) * 0.6)
    out = rgba.copy()
    out[..., :3] = np.where(mask[..., None], lit, rgb)
    return Image.fromarray((out * 255 + 0.5).astype(np.uint8), "RGBA")


@functools.cache
def sprite(name: str, color: str | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """-> premultiplied colour [size, size, 3] and transparency [size, size, 1], both float32 (0..255 and 0..1)."""
    if name in SHAPES:
        image = _draw_shape(name, color or "red", size)
    else:
        image = _glyph(name)
        if color is not None:
            image = _tint(image, color)
    rgba = np.asarray(image, np.float32)
    alpha = rgba[..., 3:] / 255
    planes = np.moveaxis(np.concatenate([rgba[..., :3] * alpha, alpha], -1), -1, 0)
    kernel = Image.Resampling.BOX if name in SHAPES else Image.Resampling.LANCZOS
    out = np.stack([np.asarray(Image.fromarray(p).resize((size, size), kernel)) for p in planes], -1)
    alpha = np.clip(out[..., 3:], 0, 1)
    return np.clip(out[..., :3], 0, 255 * alpha), 1 - alpha


def render(scene: Scene, resolution: int = BASE, background: tuple[int, int, int] | None = None) -> np.ndarray:
    """-> uint8 [resolution, resolution, 3]"""
    scale = resolution // BASE
    rgb = background or (BACKGROUNDS[scene.background] if scene.background else WHITE)
    canvas = np.empty((resolution, resolution, 3), np.float32)
    canvas[:] = rgb
    for t in scene.things:
        color, clear = sprite(t.name, t.color, t.size * scale)
        x, y, s = t.x * scale, t.y * scale, t.size * scale
        view = canvas[y : y + s, x : x + s]
        view *= clear
        view += color
    return (canvas + 0.5).astype(np.uint8)


def layout(count: int, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """-> (x, y, size) of `count` equal things."""
    if count == 1:
        return [(int(rng.choice((16, 32, 48))), int(rng.choice((16, 32, 48))), 64)]
    if count == 2:
        if rng.random() < 0.3:
            return [(0, 0, 64), (64, 64, 64)] if rng.random() < 0.5 else [(64, 0, 64), (0, 64, 64)]
        return pair_layout("left" if rng.random() < 0.5 else "above", rng)
    if count in (3, 4):
        cells = [(16, 16, 48), (64, 16, 48), (16, 64, 48), (64, 64, 48)]
        if count == 3:
            cells.pop(rng.integers(4))
        return cells
    if rng.random() < 0.5:
        return [(0, 0, 40), (80, 0, 40), (40, 40, 40), (0, 80, 40), (80, 80, 40)]
    return [(0, 16, 40), (40, 16, 40), (80, 16, 40), (16, 64, 40), (64, 64, 40)]


def pair_layout(relation: str, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """-> boxes of the subject and the object of `relation`, 64 pixels each."""
    shift = int(rng.choice((16, 32, 48)))
    first, second = (0, 64) if relation in ("left", "above") else (64, 0)
    if relation in ("left", "right"):
        return [(first, shift, 64), (second, shift, 64)]
    return [(shift, first, 64), (shift, second, 64)]


def _pick_color(name: str, rng: np.random.Generator, held_out: bool = False) -> str:
    choices = [c for c in COLOR_NAMES if ((c, name) in HELD_OUT_PAIRS) == held_out]
    return choices[rng.integers(len(choices))]


def _pick_pair(rng: np.random.Generator, pool: list[str]) -> tuple[str, str]:
    while True:
        a, b = (pool[i] for i in rng.choice(len(pool), 2, replace=False))
        if frozenset((a, b)) not in HELD_OUT_MEETINGS:
            return a, b


def make_scene(
    rng: np.random.Generator,
    kind: str | None = None,
    objects: list[dict] | None = None,
    relation: str | None = None,
    background: str | None = None,
    prefix: str | None = None,
) -> Scene:
    """A random scene; what is given is used, what is not given is drawn.

    `objects` are {"name", "color", "count"} in the order of the caption. A colour that the caption does not name is the
    sprite's own for an emoji and a random one for a flat shape, so nothing in the picture contradicts the caption.
    """
    kind = kind or rng.choice(list(KINDS), p=list(KINDS.values()))
    if objects is None:
        if kind == "single":
            objects = [{"name": OBJECTS[rng.integers(len(OBJECTS))]}]
        elif kind == "colors":
            name = COLORABLE[rng.integers(len(COLORABLE))]
            objects = [{"name": name, "color": _pick_color(name, rng)}]
        elif kind == "counting":
            index, count = int(rng.integers(len(OBJECTS))), int(rng.integers(2, 6))
            while (index, count) in HELD_OUT_COUNTS:
                index, count = int(rng.integers(len(OBJECTS))), int(rng.integers(2, 6))
            name = OBJECTS[index]
            color = _pick_color(name, rng) if name in COLORABLE and rng.random() < 0.4 else None
            objects = [{"name": name, "color": color, "count": count}]
        elif kind == "color_attr":
            names = _pick_pair(rng, COLORABLE)
            first = _pick_color(names[0], rng)
            second = first
            while second == first:
                second = _pick_color(names[1], rng)
            objects = [{"name": n, "color": c} for n, c in zip(names, (first, second), strict=True)]
        else:
            names = _pick_pair(rng, OBJECTS)
            objects = [
                {"name": n, "color": _pick_color(n, rng) if n in COLORABLE and rng.random() < 0.25 else None}
                for n in names
            ]
    objects = [{"color": None, "count": 1} | o for o in objects]
    if kind == "position" and relation is None:
        relation = list(RELATIONS)[rng.integers(4)]

    if len(objects) == 2:
        boxes = pair_layout(relation or list(RELATIONS)[rng.integers(4)], rng)
        drawn = objects
    else:
        boxes = layout(objects[0]["count"], rng)
        drawn = objects * objects[0]["count"]
    shape_colors = {o["name"]: o["color"] or _pick_color(o["name"], rng) for o in objects if o["name"] in SHAPES}
    things = [
        Thing(o["name"], shape_colors.get(o["name"], o["color"]), *box) for o, box in zip(drawn, boxes, strict=True)
    ]

    used = {t.color for t in things}
    if background is None and rng.random() < BACKGROUND_SHARE:
        background = COLOR_NAMES[rng.integers(len(COLOR_NAMES))]
        if background in used:
            background = None
    parts = [phrase(o["name"], o["color"], o["count"]) for o in objects]
    if relation:
        words_ = RELATIONS[relation]
        if relation in ("left", "right") and rng.random() < 0.4:
            words_ = "to the " + words_
        text = f"{parts[0]} {words_} {parts[1]}"
    else:
        text = " and ".join(parts)
    caption = (PREFIXES[rng.integers(len(PREFIXES))] if prefix is None else prefix) + text
    if background:
        caption += f" on {phrase('background', background)}"
    return Scene(caption, kind, things, background, relation, objects)


def dense_scene(rng: np.random.Generator) -> tuple[Scene, tuple[int, int, int]]:
    """Four things that fill the picture, on any background: every pixel teaches the autoencoder something."""
    things = []
    for cell in range(4):
        name = OBJECTS[rng.integers(len(OBJECTS))]
        color = _pick_color(name, rng) if name in SHAPES or (name in COLORABLE and rng.random() < 0.6) else None
        size = int(rng.choice(SIZES, p=(0.5, 0.3, 0.2)))
        slack = (64 - size) // 8
        dx, dy = (8 * int(rng.integers(slack + 1)) for _ in range(2))
        things.append(Thing(name, color, cell % 2 * 64 + dx, cell // 2 * 64 + dy, size))
    if rng.random() < 0.5:
        background = list(BACKGROUNDS.values())[rng.integers(len(BACKGROUNDS))]
    else:
        background = WHITE if rng.random() < 0.6 else tuple(int(c) for c in rng.integers(0, 256, 3))
    return Scene("", "dense", things), background


def autoencoder_batch(rng: np.random.Generator, count: int, dense: float = 0.6, resolution: int = BASE) -> np.ndarray:
    """-> uint8 [count, resolution, resolution, 3]"""
    out = []
    for _ in range(count):
        if rng.random() < dense:
            out.append(render(*_args(dense_scene(rng), resolution)))
        else:
            out.append(render(make_scene(rng), resolution))
    return np.stack(out)


def _args(pair: tuple[Scene, tuple[int, int, int]], resolution: int) -> tuple:
    return pair[0], resolution, pair[1]
