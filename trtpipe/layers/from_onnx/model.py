"""The reverse direction: converts a canonical ONNX model to declared layers and weights, where they exist.

    model.py      a whole model
    node.py       what a form sees of a node, and the layers that it makes
    pointwise.py, spatial.py, shapes.py, slices.py, reductions.py, recurrent.py   operator → form

Tensors keep their names, and layers have their nodes' names. Of the spec, only the layers' own fields are used.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.opsets import opset_of
from trtpipe.canonical.summary import TensorInfo, tensor_info
from trtpipe.errors import ModelError, Problem
from trtpipe.layers.from_onnx.node import DECLARED_TYPES, NodeForm, NoForm, Undeclared
from trtpipe.problem_codes import Code
from trtpipe.weights.safetensors import Writable

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json

Form = Callable[[NodeForm], None]


@dataclass(frozen=True)
class Declaration:
    """A network in the form of `model.options` of the network parser, without the weights file's name."""

    inputs: Mapping[str, Mapping[str, Json]]
    layers: tuple[Mapping[str, Json], ...]
    outputs: tuple[str, ...]
    weights: Mapping[str, Writable]


def forms() -> dict[str, Form]:
    """Every operator that can be declared, and the function that converts it."""
    from trtpipe.layers.from_onnx import (
        pointwise,
        recurrent,
        reductions,
        shapes,
        slices,
        spatial,
    )

    return {
        **pointwise.FORMS,
        **spatial.FORMS,
        **shapes.FORMS,
        **slices.FORMS,
        **reductions.FORMS,
        **recurrent.FORMS,
    }


def declare(proto: onnx.ModelProto) -> Declaration:
    """The model, a canonical skeleton, as declared layers. Raises ModelError that names every node without a form."""
    graph = proto.graph
    inferred = infer_at(proto, {})
    values = dict(inferred.values) or {value.name: tensor_info(value) for value in graph.value_info}
    made = Undeclared(graph, values, opset_of(proto))
    problems = [*_wrong_inputs(made.inputs)]
    known = forms()
    for node in graph.node:
        with _collected(node, problems):
            _form_of(node, known)(NodeForm(node, made))
    if problems:
        raise ModelError(problems)
    outputs = tuple(made.kept_output(value.name) for value in graph.output)
    inputs = {info.name: _input(info) for info in made.inputs}
    return Declaration(inputs, tuple(made.layers), outputs, made.weights)


@contextmanager
def _collected(node: onnx.NodeProto, problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except NoForm as error:
        operator = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        fact = f"node '{node.name}' ({operator}) has no declared layer"
        problems.append(
            Problem(Code.NOT_DECLARABLE, f"{fact}: {error.reason}" if error.reason else fact, error.remedy)
        )


def _form_of(node: onnx.NodeProto, known: Mapping[str, Form]) -> Form:
    if node.domain not in ("", "ai.onnx") or node.op_type not in known:
        raise NoForm(remedy="cut the graph before it with transform: outputs, or keep the current parser")
    return known[node.op_type]


def _wrong_inputs(inputs: list[TensorInfo]) -> list[Problem]:
    if not inputs:
        return [
            Problem(
                Code.NOT_DECLARABLE, "the model has no inputs, so it cannot be written as declared layers"
            )
        ]
    wrong = [info for info in inputs if info.dtype not in DECLARED_TYPES or info.dims is None]
    return [
        Problem(
            Code.NOT_DECLARABLE,
            f"input '{info.name}' has no rank, which a declared input requires"
            if info.dims is None
            else f"input '{info.name}' is {info.dtype}, which a declared input cannot be",
            "give it a shape with transform: set_shapes" if info.dims is None else "",
        )
        for info in wrong
    ]


def _input(info: TensorInfo) -> dict[str, Json]:
    dims = [dim if isinstance(dim, int) else dim_name(dim) for dim in info.dims or ()]
    return {"dtype": DECLARED_TYPES[info.dtype], "shape": dims}


def dim_name(dim: str | None) -> str | int:
    """A dynamic dimension's name in the form that a declared shape allows; equal names stay equal."""
    if not dim:
        return -1
    name = re.sub(r"\W", "_", dim, flags=re.ASCII)
    return name if name.isidentifier() else f"_{name}"


def counted(declaration: Declaration) -> dict[str, int]:
    """The number of layers of each kind, and under `weights` the number of their elements, for messages."""
    kinds = Counter(str(layer["layer"]) for layer in declaration.layers)
    elements = sum(math.prod(one.shape) for one in declaration.weights.values())
    return {**dict(sorted(kinds.items())), "weights": elements}
