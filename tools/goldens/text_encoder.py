"""Golden outputs of small random T5 encoders, computed by transformers in f32 on the CPU.

python tools/goldens/text_encoder.py   rewrites tests/golden/t5-relu and tests/golden/t5-odd:
  relu: T5 v1.0 (ReLU, no gate), d_kv * heads != d_model, 40 tokens, so that the logarithmic buckets are used.
  odd:  T5 v1.1 (gated GELU), sizes whose gate halves do not start on a 256-byte boundary, heads of 10.
case.safetensors holds `ids`, `mask` (some padding), `embeds` [1, L, d_model] and `buckets` [2*600-1], the bucket of every
distance from -599 to 599 by transformers' own function.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel
from transformers.models.t5.modeling_t5 import T5Attention

ROOT = Path(__file__).resolve().parents[2] / "tests" / "golden"

MODELS = {
    "t5-relu": dict(
        d_model=32, d_kv=16, d_ff=44, num_heads=3, num_layers=2, vocab_size=51, feed_forward_proj="relu"
    ),
    "t5-odd": dict(
        d_model=36, d_kv=10, d_ff=60, num_heads=2, num_layers=2, vocab_size=51, feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=16, relative_attention_max_distance=20,
    ),
}


def main() -> None:
    for name, options in MODELS.items():
        torch.manual_seed(7)
        config = T5Config(**options, dropout_rate=0.0)
        model = T5EncoderModel(config).eval().float()
        with torch.no_grad():
            for parameter in model.parameters():  # the default initialisation is too small to show a wrong bias
                parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.dim() > 1 else 1.0))
            ids = torch.randint(0, config.vocab_size, (1, 48))
            mask = (torch.arange(48) < 40).float()[None]
            embeds = model(ids, attention_mask=mask).last_hidden_state
            distances = torch.arange(-599, 600)
            buckets = T5Attention._relative_position_bucket(
                distances,
                bidirectional=True,
                num_buckets=config.relative_attention_num_buckets,
                max_distance=config.relative_attention_max_distance,
            )
        folder = ROOT / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder / "text_encoder")
        tensors = {"ids": ids[0].int(), "mask": mask[0], "embeds": embeds, "buckets": buckets.int()}
        save_file({key: value.contiguous() for key, value in tensors.items()}, str(folder / "case.safetensors"))


main()
