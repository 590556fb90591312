"""Validates a model against the ONNX standard with onnx's own checker, without its weights.

Large weights are replaced by graph inputs of their type during the check, so that the checker never opens a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import TYPED_FIELDS, graphs_of, is_external, nodes_of, set_inline, tensors_of
from trtpipe.errors import ModelError, Problem
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx


def check_model(proto: onnx.ModelProto) -> None:
    """Raises ModelError, naming the node where the checker does, when the model breaks the standard."""
    import onnx

    _refuse_stripped(proto)
    bare = without_weights(proto)
    _forgive(bare)
    try:
        onnx.checker.check_model(bare, full_check=False, check_custom_domain=False)
    except onnx.checker.ValidationError as error:
        raise ModelError(_problem(str(error))) from error
    except (ValueError, RuntimeError) as error:
        raise ModelError(Code.INVALID_ONNX, f"the model cannot be checked: {error}") from error
    if not proto.graph.output:
        raise ModelError(Code.NO_OUTPUTS, "the model has no outputs, so there is nothing to build")


def _refuse_stripped(proto: onnx.ModelProto) -> None:
    fields = ("raw_data", *TYPED_FIELDS)
    for tensor in tensors_of(proto):
        empty = not is_external(tensor) and not any(len(getattr(tensor, name)) for name in fields)
        if empty and all(tensor.dims):
            fact = f"tensor '{tensor.name}' has no values: the model was stripped of its weights"
            raise ModelError(Code.STRIPPED_WEIGHTS, fact, "give the model with its weights")


def _forgive(bare: onnx.ModelProto) -> None:
    """Hides harmless violations of the standard from the checker; TensorRT does not require these rules.

    Inputs and outputs without a shape; and operators in the standard domain that the standard does not know,
    which is how many exporters write TensorRT's plugins.
    """
    for graph in graphs_of(bare):
        for value in (*graph.input, *graph.output):
            if value.type.WhichOneof("value") == "tensor_type":
                value.type.tensor_type.shape.SetInParent()
    unknown = [node for node in nodes_of(bare) if is_unknown(node, bare)]
    for node in unknown:
        node.domain = _UNKNOWN
    if unknown:
        bare.opset_import.add(domain=_UNKNOWN, version=1)


_UNKNOWN = "trtpipe.unknown"


def is_unknown(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether the node is in the standard domain but the standard has no operator of that name."""
    import onnx

    if node.domain not in ("", "ai.onnx"):
        return False
    own = {(function.domain, function.name) for function in model.functions}
    return not onnx.defs.has(node.op_type, "") and (node.domain, node.op_type) not in own


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which no tensor refers to a file: large initializers become inputs, others hold no values."""
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    for depth, graph in enumerate(graphs_of(bare)):
        large = [tensor for tensor in graph.initializer if is_external(tensor)]
        known = {value.name for value in graph.input}
        kept = [tensor for tensor in graph.initializer if not is_external(tensor)]
        types = [onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large]
        held = onnx.GraphProto(initializer=kept)
        del graph.initializer[:]
        graph.initializer.extend(held.initializer)
        bare.graph.input.extend(value for value in types if depth or value.name not in known)
    for tensor in tensors_of(bare):
        if is_external(tensor):
            set_inline(tensor, b"")
            tensor.dims[:] = [0]
    return bare


_NODE = re.compile(r"Name:\s*(?P<name>.*?)\s*OpType:\s*(?P<op>\w+)")
_SUBJECT = re.compile(r"\[TypeInferenceError\]\s*|\[ShapeInferenceError\]\s*")


def _problem(message: str) -> Problem:
    """The checker's text: a fact, then `==> Context: Bad node spec for node. Name: n OpType: Op`."""
    fact = _SUBJECT.sub("", message.split("==> Context", maxsplit=1)[0])
    fact = " ".join(fact.split()).rstrip(".")
    fact = fact[:1].lower() + fact[1:] if fact[1:2].islower() else fact
    match = _NODE.search(message)
    if match is None:
        return Problem(Code.INVALID_ONNX, f"not a valid ONNX model: {fact}")
    node = f"'{match['name']}' ({match['op']})" if match["name"] else f"of type {match['op']}"
    return Problem(Code.INVALID_ONNX, f"node {node} is not valid ONNX: {fact}")
