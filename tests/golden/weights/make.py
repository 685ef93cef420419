"""Writes headers.json and tensors.json beside this file. Needs safetensors, torch, transformers and diffusers.

headers.json: small files, good and hostile, with the verdict of the safetensors library ("ok" or "refused").
tensors.json: configs with the names and shapes that diffusers and transformers give their state dicts.
"""

import base64
import json
import random
import struct
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from safetensors import deserialize
from transformers import T5Config, T5EncoderModel

HERE = Path(__file__).parent


def file(header, data=b"", length=None):
    raw = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def verdict(blob):
    try:
        deserialize(blob)
        return "ok"
    except BaseException:
        return "refused"


A = '"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}'
B = '"b":{"dtype":"F16","shape":[3],"data_offsets":[16,22]}'
GOOD = "{" + A + "," + B + "}"
D16, D22 = bytes(range(16)), bytes(range(22))


def one(**change):
    entry = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **change}
    return json.dumps({"a": {k: v for k, v in entry.items() if v is not None}})


TABLE = {
    "good": file(GOOD, D22),
    "good, padded with spaces": file(GOOD + "   ", D22),
    "good, with metadata": file('{"__metadata__":{"format":"pt"},' + A + "}", D16),
    "good, entries out of order": file("{" + B + "," + A + "}", D22),
    "good, no tensors": file("{}"),
    "good, scalar": file(one(shape=[], data_offsets=[0, 4]), bytes(4)),
    "good, empty tensor": file(one(shape=[0, 5], data_offsets=[0, 0])),
    "good, escaped name": file(GOOD.replace('"b"', '"\\u0062\\n\\""'), D22),
    "good, every wide dtype": file(one(dtype="I64", shape=[2]), D16),
    "nothing": b"",
    "seven bytes": bytes(7),
    "length only": struct.pack("<Q", 10),
    "length zero": file(""),
    "length beyond the file": file(GOOD, D22, 10_000),
    "length 2^63": file(GOOD, D22, 2**63),
    "length 2^64 - 1": file(GOOD, D22, 2**64 - 1),
    "length just over the cap": file(GOOD, D22, 100_000_001),
    "length one short": file(GOOD, D22, len(GOOD) - 1),
    "length one long": file(GOOD, D22, len(GOOD) + 1),
    "no brace": file(" " + GOOD, D22),
    "array": file("[]"),
    "array of tensors": file("[" + GOOD + "]", D22),
    "not UTF-8": file(b'{"\xff":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}', D16),
    "truncated JSON": file(GOOD[:-3], D22),
    "garbage after JSON": file(GOOD + "x", D22),
    "two documents": file(GOOD + GOOD, D22),
    "byte order mark": file("\ufeff" + GOOD, D22),
    "unknown dtype": file(one(dtype="F33"), D16),
    "dtype of the prototype": file(one(dtype="constructor"), D16),
    "dtype a number": file(one(dtype=4), D16),
    "no dtype": file(one(dtype=None), D16),
    "no shape": file(one(shape=None), D16),
    "no offsets": file(one(data_offsets=None), D16),
    "shape negative": file(one(shape=[-2, -2]), D16),
    "shape a fraction": file(one(shape=[2.5, 1.6]), D16),
    "shape with a float": file(one(shape=[4.0]), D16),
    "shape a string": file(one(shape="22"), D16),
    "shape of strings": file(one(shape=["2", "2"]), D16),
    "shape null": file(one(shape=[None]), D16),
    "shape overflows": file(one(shape=[2**40, 2**40]), D16),
    "shape overflows to zero": file(one(shape=[2**32, 2**32, 0]), D16),
    "shape times dtype overflows": file(one(shape=[2**62]), D16),
    "shape minus zero": file(GOOD.replace("[3]", "[-0]"), D16),
    "span too short": file(one(data_offsets=[0, 15]), bytes(15)),
    "span too long": file(one(data_offsets=[0, 17]), bytes(17)),
    "span backwards": file(one(data_offsets=[16, 0]), D16),
    "span negative": file(one(data_offsets=[-16, 0]), D16),
    "span of one number": file(one(data_offsets=[16]), D16),
    "span of three numbers": file(one(data_offsets=[0, 8, 16]), D16),
    "span beyond the file": file(one(), bytes(12)),
    "bytes after the last tensor": file(one(), bytes(20)),
    "hole at the start": file(one(data_offsets=[4, 20]), bytes(20)),
    "hole between": file(GOOD.replace("[16,22]", "[18,24]"), bytes(24)),
    "overlap": file(GOOD.replace("[16,22]", "[10,16]"), D16),
    "two tensors on the same bytes": file("{" + A + "," + A.replace('"a"', '"b"') + "}", D16),
    "duplicate name": file("{" + A + "," + A + "}", D16),
    "duplicate name, escaped": file("{" + A + "," + A.replace('"a"', '"\\u0061"') + "}", D16),
    "duplicate key in an entry": file(GOOD.replace('"shape":[3],', '"shape":[3],"shape":[3],'), D22),
    "metadata a list": file('{"__metadata__":[],' + A + "}", D16),
    "metadata of numbers": file('{"__metadata__":{"a":1},' + A + "}", D16),
    "metadata nested": file('{"__metadata__":{"a":{"b":"c"}},' + A + "}", D16),
    "metadata only": file('{"__metadata__":{"a":"b"}}'),
    "entry null": file('{"a":null}'),
    "entry a list": file('{"a":[]}'),
    "entry a string": file('{"a":"F32"}'),
    "lone surrogate": file(GOOD.replace('"b"', '"\\ud800"'), D22),
    "__proto__ with the wrong size": file('{"__proto__":{"dtype":"F32","shape":[9],"data_offsets":[0,16]}}', D16),
    "deeply nested": file("{" + '"a":' + "[" * 5000 + "]" * 5000 + "}"),
    "NaN in the shape": file('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}', D16),
    "exponent in the shape": file('{"a":{"dtype":"F32","shape":[4e0],"data_offsets":[0,16]}}', D16),
    "leading zero": file('{"a":{"dtype":"F32","shape":[04],"data_offsets":[0,16]}}', D16),
    "trailing comma": file('{"a":{"dtype":"F32","shape":[4,],"data_offsets":[0,16]}}', D16),
    "comment": file("{/**/" + A + "}", D16),
    "control character in a name": file('{"a\n":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', D16),
}


def mutations(count):
    """Single and double edits of good files, most of them to the header."""
    draw = random.Random(7)
    bases = [TABLE[name] for name in ("good", "good, with metadata", "good, entries out of order", "good, escaped name")]
    alphabet = b'0123456789,:[]{}" \\-.eFabc\x00\xff'
    for _ in range(count):
        blob = bytearray(draw.choice(bases))
        for _ in range(draw.choice((1, 1, 2))):
            at = draw.randrange(min(len(blob), 8 + 130)) if draw.random() < 0.9 else draw.randrange(len(blob))
            kind = draw.randrange(5)
            if kind == 0:
                blob[at] ^= 1 << draw.randrange(8)
            elif kind == 1:
                blob[at] = draw.choice(alphabet)
            elif kind == 2:
                blob.insert(at, draw.choice(alphabet))
            elif kind == 3:
                del blob[at]
            else:
                end = at + draw.randrange(20)
                blob[at:at] = blob[at:end]
            if kind > 1 and draw.random() < 0.7 and len(blob) > 40:  # keep the length true, so that the JSON is reached
                blob[:8] = struct.pack("<Q", max(0, bytes(blob).rfind(b"}") - 7))
        yield bytes(blob)


def headers():
    cases = [{"name": name, "file": base64.b64encode(blob).decode(), "verdict": verdict(blob)} for name, blob in TABLE.items()]
    for i, blob in enumerate(mutations(600)):
        cases.append({"name": f"mutation {i}", "file": base64.b64encode(blob).decode(), "verdict": verdict(blob)})
    return cases


def entry(component, config, model):
    return {"component": component, "config": config, "tensors": {k: list(v.shape) for k, v in model.state_dict().items()}}


def tensors():
    pixart = dict(_class_name="PixArtTransformer2DModel", num_attention_heads=4, attention_head_dim=18, num_layers=2,
                  in_channels=4, out_channels=8, cross_attention_dim=72, caption_channels=48, sample_size=16)
    t5 = dict(model_type="t5", d_model=48, d_ff=96, d_kv=12, num_heads=4, num_layers=2, vocab_size=39)
    vae = dict(_class_name="AutoencoderKL", block_out_channels=[16, 32, 64], layers_per_block=2, norm_num_groups=8,
               down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3)
    sigma = dict(_class_name="PixArtTransformer2DModel", sample_size=128, use_additional_conditions=False,
                 caption_channels=4096, num_layers=1)
    pixarts = {
        "pixart": pixart,
        "pixart, additional conditions": {**pixart, "sample_size": 128, "use_additional_conditions": None},
        "pixart, no bias, no caption": {**pixart, "attention_bias": False, "caption_channels": None, "out_channels": None},
        "pixart sigma, full width": sigma,
    }
    t5s = {"t5, gated": {**t5, "feed_forward_proj": "gated-gelu"}, "t5, relu": {**t5, "feed_forward_proj": "relu"}}
    vaes = {
        "vae": vae,
        "vae, full width": {**vae, "block_out_channels": [128, 256, 512, 512], "norm_num_groups": 32,
                            "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4},
        "vae, 16 channels": {**vae, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False},
        "vae, no attention": {**vae, "mid_block_add_attention": False},
    }
    strip = lambda config: {k: v for k, v in config.items() if k != "_class_name"}  # noqa: E731
    with torch.device("meta"):
        cases = {name: entry("transformer", c, PixArtTransformer2DModel(**strip(c))) for name, c in pixarts.items()}
        cases |= {name: entry("text_encoder", c, T5EncoderModel(T5Config(**c))) for name, c in t5s.items()}
        cases |= {name: entry("vae", c, AutoencoderKL(**strip(c))) for name, c in vaes.items()}
    return cases


(HERE / "headers.json").write_text(json.dumps(headers(), indent=0) + "\n")
(HERE / "tensors.json").write_text(json.dumps(tensors(), separators=(",", ":")) + "\n")
