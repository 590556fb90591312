"""ONNX's own shape inference at given input shapes (one corner of a profile), without weights.

The graph's declared intermediate and output shapes are set aside first: they may be stale, or belong to another batch
size, and TensorRT ignores them too. Independent of profiles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.propagation import values_fit
from trtpipe.canonical.summary import ONNX_DOMAINS, Dim, TensorInfo, tensor_info
from trtpipe.canonical.tensors import nodes_of
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Inferred:
    """The result of inference: every value whose type is known, or the problems that stopped it."""

    values: Mapping[str, TensorInfo]
    problems: tuple[Problem, ...] = ()

    def shape(self, name: str) -> tuple[Dim, ...] | None:
        """The dims of a value; None when unknown."""
        info = self.values.get(name)
        return info.dims if info else None


def infer_at(
    proto: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int]],
    values: Mapping[str, Sequence[int]] | None = None,
) -> Inferred:
    """Every value's shape when the inputs have `shapes` and the shape-tensor inputs hold `values`.

    `proto` may be a skeleton; it is not changed. Inputs not named keep their declared dims. A shape that no
    operator accepts becomes a problem that names the node.
    """
    import onnx

    fixed = _fixed(proto, shapes, values or {})
    follows = values_fit(fixed)
    try:
        inferred = onnx.shape_inference.infer_shapes(
            fixed, check_type=True, strict_mode=True, data_prop=follows
        )
    except onnx.shape_inference.InferenceError as error:
        said = [line for line in str(error).splitlines() if _UNTYPED not in line]
        if any(_LOCATION.search(line) for line in said) or _UNTYPED not in str(error):
            return Inferred({}, tuple(_problems("\n".join(said))))
        inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=follows)
    graph = inferred.graph
    found = (tensor_info(value) for value in (*graph.input, *graph.value_info, *graph.output))
    return Inferred({info.name: info for info in found})


def _fixed(
    proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]], values: Mapping[str, Sequence[int]]
) -> onnx.ModelProto:
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    foreign = _outputs_of_foreign_nodes(graph)
    kept = [value for value in graph.value_info if value.name in foreign]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    imported = {item.domain for item in model.opset_import}
    for domain in sorted({node.domain for node in nodes_of(model)} - imported - ONNX_DOMAINS):
        model.opset_import.add(domain=domain, version=1)
    for output in graph.output:
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    for value in graph.input:
        if value.name in shapes:
            _fix_shape(value, shapes[value.name])
        if value.name in values:
            graph.initializer.append(_constant(value, values[value.name]))
    return model


def _outputs_of_foreign_nodes(graph: onnx.GraphProto) -> set[str]:
    return {name for node in graph.node if node.domain not in ("", "ai.onnx") for name in node.output}


def _fix_shape(value: onnx.ValueInfoProto, shape: Sequence[int]) -> None:
    tensor = value.type.tensor_type
    tensor.ClearField("shape")
    tensor.shape.SetInParent()
    for size in shape:
        tensor.shape.dim.add(dim_value=size)


def _constant(value: onnx.ValueInfoProto, numbers: Sequence[int]) -> onnx.TensorProto:
    import numpy as np
    import onnx

    elem_type = value.type.tensor_type.elem_type
    scalar = value.type.tensor_type.HasField("shape") and not value.type.tensor_type.shape.dim
    array = np.asarray(numbers, dtype=onnx.helper.tensor_dtype_to_np_dtype(elem_type))
    array = array.reshape(()) if scalar and array.size == 1 else array.reshape(-1)
    tensor: onnx.TensorProto = onnx.numpy_helper.from_array(array, value.name)
    return tensor


_UNTYPED = "expected to have type but instead is null"
"""Nothing is wrong with such a model: ONNX knows no inference for a node before, as for Constant before opset 9."""
_LOCATION = re.compile(r"\(op_type:\s*(?P<op>[^,)]*?)(?:,\s*node name:\s*(?P<node>.*?))?\):\s*(?P<fact>.*)")
_NOISE = re.compile(r"\[\w+\]\s*|^Inference error\(s\):\s*|\.$")


def _problems(message: str) -> list[Problem]:
    """ONNX's text, one problem a line, e.g. `(op_type:MatMul, node name: m): [ShapeInferenceError] …`."""
    problems = []
    for line in filter(None, (line.strip() for line in message.splitlines())):
        match = _LOCATION.search(line)
        if match is None:
            problems.append(Problem(Code.SHAPES_NOT_TAKEN, f"shape inference failed: {_clean(line)}"))
            continue
        node = f"'{match['node']}' ({match['op']})" if match["node"] else match["op"]
        problems.append(
            Problem(
                Code.SHAPES_NOT_TAKEN, f"node {node} does not accept these shapes: {_clean(match['fact'])}"
            )
        )
    return problems or [Problem(Code.SHAPES_NOT_TAKEN, "shape inference failed without a reason")]


def _clean(text: str) -> str:
    text = _NOISE.sub("", text).strip()
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
