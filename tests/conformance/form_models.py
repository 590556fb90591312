"""Small ONNX models out of one line: `nodes | inputs | constants`, in the words of ONNX's text format.

A constant is `float[3,4] w`, its numbers made up and always the same, or `int64[2] a = {1, 2}`. Nodes are separated by
`; `. The output is `y`; its type is inferred, and its shape where a fourth part does not say it: `a,b`.
"""

from __future__ import annotations

import zlib

import numpy as np
import onnx
import onnx.parser

_NUMPY = {"float": "float32", "double": "float64"}


def small_model(line: str, opset: int) -> onnx.ModelProto:
    """The model of one line."""
    nodes, inputs, constants, sizes = (part.strip() for part in f"{line}|||".split("|")[:4])
    made = " ".join(nodes.split("; "))
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => (float y) {{ {made} }}'
    model = onnx.parser.parse_model(text)
    for one in filter(None, (one.strip() for one in _listed(constants))):
        model.graph.initializer.append(_constant(one))
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    model.graph.output[0].type.Clear()
    made = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    kind = made.graph.output[0].type.tensor_type
    kind.elem_type = kind.elem_type or int(onnx.TensorProto.FLOAT)
    if not kind.HasField("shape"):
        for one in filter(None, sizes.split(",")):
            kind.shape.dim.add(dim_param=one.strip())
    return made


def arrays_for(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Something to feed each input: ones, and 2 for every size that is not known."""
    found = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        found[value.name] = np.ones([dim.dim_value or 2 for dim in kind.shape.dim], dtype)
    return found


def _listed(text: str) -> list[str]:
    """The parts between commas that no bracket encloses."""
    found, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and not depth:
            found.append(text[start:index])
            start = index + 1
    return [*found, text[start:]]


def _constant(text: str) -> onnx.TensorProto:
    declared, _, values = text.partition("=")
    kind, name = declared.split()
    dtype, _, rest = kind.partition("[")
    shape = [int(one) for one in rest.rstrip("]").split(",") if one]
    if values:
        read = int if "int" in dtype else float
        numbers = np.array([read(one) for one in values.strip(" {}").split(",") if one])
    else:
        numbers = np.random.default_rng(zlib.crc32(text.encode())).normal(size=shape) / 4
        numbers = numbers * 100 if "int" in dtype else numbers
    return onnx.numpy_helper.from_array(numbers.astype(_NUMPY.get(dtype, dtype)).reshape(shape), name)
