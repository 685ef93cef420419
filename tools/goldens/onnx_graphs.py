"""Writes tests/golden/onnx: tiny graphs with the interfaces that an ONNX text encoder may and may not have.

    python tools/goldens/onnx_graphs.py       # needs onnx

f16_masked: int32 input_ids and attention_mask, f16 output: row id of a table, table[id][j] = id + j / 8, zero where
masked; the last row of the table is Inf. external: int64 ids, no mask, the table in a file of its own. The others are refused: tokens (no input_ids), decoder (an input too many),
flat (rank 2), float_ids, open_width (as many channels as tokens).
"""

import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

OUT = pathlib.Path(__file__).parents[2] / "tests/golden/onnx"
WIDTH = 8
ROWS = 40
TABLE = (np.arange(ROWS)[:, None] + np.arange(WIDTH)[None] / 8).astype(np.float16)
TABLE[-1] = np.inf


def write(name, inputs, output_shape, nodes, **saving):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(label, kind, [1, "n"]) for label, kind in inputs.items()],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT16, output_shape)],
        [numpy_helper.from_array(TABLE, "table"), numpy_helper.from_array(np.array([2], np.int64), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, str(OUT / f"{name}.onnx"), **saving)


def gather(ids, out="embeddings"):
    return helper.make_node("Gather", ["table", ids], [out])


write(
    "f16_masked",
    {"input_ids": TensorProto.INT32, "attention_mask": TensorProto.INT32},
    [1, "n", WIDTH],
    [
        gather("input_ids", "rows"),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT16),
        helper.make_node("Unsqueeze", ["mask", "axis"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["embeddings"]),
    ],
)
IDS = {"input_ids": TensorProto.INT64}
(OUT / "external.data").unlink(missing_ok=True)  # onnx appends
write(
    "external",
    IDS,
    [1, "n", WIDTH],
    [gather("input_ids")],
    save_as_external_data=True,
    location="external.data",
    size_threshold=64,
)
write("tokens", {"tokens": TensorProto.INT64}, [1, "n", WIDTH], [gather("tokens")])
write(
    "decoder",
    {**IDS, "decoder_input_ids": TensorProto.INT64},
    [1, "n", WIDTH],
    [helper.make_node("Add", ["input_ids", "decoder_input_ids"], ["sum"]), gather("sum")],
)
write("flat", IDS, ["n", WIDTH], [gather("input_ids", "rows"), helper.make_node("Squeeze", ["rows"], ["embeddings"])])
write(
    "float_ids",
    {"input_ids": TensorProto.FLOAT},
    [1, "n", WIDTH],
    [helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.INT64), gather("ids")],
)
write(
    "open_width",
    IDS,
    [1, "n", "width"],
    [
        gather("input_ids", "rows"),
        helper.make_node("Shape", ["input_ids"], ["tokens"], start=1, end=2),
        helper.make_node("Sub", ["axis", "axis"], ["zero"]),
        helper.make_node("Slice", ["rows", "zero", "tokens", "axis"], ["embeddings"]),
    ],
)
