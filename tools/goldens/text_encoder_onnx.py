"""Exports a T5 text encoder to ONNX, as src/encode/onnx.ts takes it.

    python tools/goldens/text_encoder_onnx.py --input <pipeline>/text_encoder --output text_encoder.onnx

Needs torch, transformers, onnx, onnxscript and onnxruntime. Input input_ids int64 [1, n] for any n (all of them real
tokens: no mask), output last_hidden_state [1, n, width]. The file is checked: onnxruntime against torch at lengths on
both sides of the bounds of the relative position buckets. Weights over 1 GiB go into <output>.data beside it.
tests/golden/onnx/text_encoder.onnx is the export of tests/golden/pixart/pipeline/text_encoder.
"""

import argparse
import logging
import pathlib
import shutil

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import T5EncoderModel
from transformers.utils import logging as transformers_logging

OPSET = 18
LENGTHS = (1, 2, 7, 20, 64, 150)
TOLERANCE = 1e-5  # relative, f32 sums in another order


class Encoder(torch.nn.Module):
    """input_ids [1, n] -> last_hidden_state [1, n, width]."""

    def __init__(self, t5: T5EncoderModel):
        super().__init__()
        self.t5 = t5
        self.eval()

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.t5(input_ids=input_ids).last_hidden_state


def export(encoder: Encoder, output: pathlib.Path) -> None:
    size = sum(p.numel() * p.element_size() for p in encoder.parameters())
    program = torch.onnx.export(
        encoder,
        (torch.ones(1, 9, dtype=torch.int64),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["input_ids"],
        output_names=["last_hidden_state"],
        dynamic_shapes=({1: torch.export.Dim("tokens", min=1, max=4096)},),
        verbose=False,
    )
    program.save(str(output), external_data=size > 2**30)
    model = onnx.load(str(output), load_external_data=False)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
    ):
        del part.metadata_props[:]  # stack traces and paths, as much as a small model's weights
    onnx.save(model, str(output))


def check(encoder: Encoder, path: pathlib.Path, vocabulary: int) -> float:
    """Largest relative error (Frobenius) over the lengths."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for n in LENGTHS:
        ids = rng.integers(0, vocabulary, (1, n))
        with torch.no_grad():
            want = encoder(torch.from_numpy(ids)).float().numpy()
        (got,) = session.run(["last_hidden_state"], {"input_ids": ids})
        worst = max(worst, float(np.linalg.norm(got - want) / np.linalg.norm(want)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description="Export a T5 text encoder to ONNX.")
    parser.add_argument("--input", type=pathlib.Path, required=True, help="directory with config.json and weights")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="file to write; config.json goes beside it")
    arguments = parser.parse_args()
    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    t5 = T5EncoderModel.from_pretrained(arguments.input, dtype=torch.float32, attn_implementation="eager")
    encoder = Encoder(t5)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    export(encoder, arguments.output)
    onnx.checker.check_model(str(arguments.output))
    error = check(encoder, arguments.output, t5.config.vocab_size)
    if not error < TOLERANCE:
        raise SystemExit(
            f"{arguments.output} differs from torch: relative error {error:.2e}, expected under {TOLERANCE}"
        )
    shutil.copyfile(arguments.input / "config.json", arguments.output.parent / "config.json")
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes, relative error {error:.1e}")


if __name__ == "__main__":
    main()
