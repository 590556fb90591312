"""Rejects names that are not valid UTF-8.

ONNX's schema is proto2, whose parser accepts any bytes as a string and returns invalid UTF-8 to Python as `bytes`;
after this check every pass can rely on `str`. Doc strings are not checked, because nothing reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import graphs_of, tensors_of
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx


def refuse_undecodable(proto: onnx.ModelProto) -> None:
    """Raises ModelError when a name of anything in the model is not UTF-8."""
    for names in _names(proto):
        _refuse_bytes(names)


def _refuse_bytes(names: Sequence[str]) -> None:
    try:
        # one isinstance pass over a chunk is faster than a check per name; a large model has very many
        "".join(names)
    except TypeError:
        name = next(one for one in names if isinstance(one, bytes))
        raise ModelError(
            Code.NAME_NOT_UTF8, f"the name {name!r} in the model is not UTF-8", "export the model again"
        ) from None


def _names(proto: onnx.ModelProto) -> Iterator[Sequence[str]]:
    """Every name in the model, a few at a time."""
    yield [item.domain for item in proto.opset_import]
    for function in proto.functions:
        yield (function.domain, function.name, *function.input, *function.output, *function.attribute)
        yield [item.domain for item in function.opset_import]
        yield from _of_nodes(function.node)
    for graph in graphs_of(proto):
        yield (graph.name,)
        yield from _of_nodes(graph.node)
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield (value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim))
    for tensor in tensors_of(proto):
        yield (tensor.name, *(text for one in tensor.external_data for text in (one.key, one.value)))


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[Sequence[str]]:
    for node in nodes:
        yield (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield [text for one in node.attribute for text in (one.name, one.ref_attr_name)]
