"""Expands function operators into simpler ones: the model's own functions, and standard ones that parsers lack.

ONNX defines many operators by a body of simpler ones. TensorRT's parser supports some of them natively, and those are
left alone because they run fastest that way; the table lists those that it lacks, or lacks in some forms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, replace_nodes
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.names import fresh
from trtpipe.canonical.opsets import normalize_domains
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import graphs_of, nodes_of, number_of_dtype
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

Types = Mapping[str, TensorInfo]
_BODIES = "trtpipe.bodies"
"""The domain of the functions that stand for the operators to expand, for as long as that takes."""

_MOST_NODES = 2_000_000
_FLOATS = frozenset({"float32", "float16", "bfloat16"})
_CLIPPED = _FLOATS | {"int32", "int64"}


def inline_functions(model: onnx.ModelProto) -> int:
    """Replaces calls of the model's own functions by their bodies; how many functions there were.

    TensorRT ignores a function's domain, and one named like a built-in operator. Expects `refuse_recursion`; raises
    ModelError when functions do not fit their calls.
    """
    import onnx.inliner

    count = len(model.functions)
    if not count:
        return 0
    _refuse_too_many(model)
    try:
        inlined = onnx.inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            Code.FUNCTIONS_NOT_INLINED,
            f"the model's functions cannot be inlined: {' '.join(str(error).split())}",
        ) from error
    del inlined.functions[:]
    model.CopyFrom(inlined)
    return count


def _refuse_too_many(model: onnx.ModelProto) -> None:
    """Raises ModelError if nested function bodies would expand to too many nodes."""
    bodies = {(one.domain, one.name): _called(one.node) for one in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size_of(calls: Counter[tuple[str, str]]) -> int:
        return sum(count * (size(name) if name in bodies else 1) for name, count in calls.items())

    def size(name: tuple[str, str]) -> int:
        if name not in sizes:
            sizes[name] = size_of(bodies[name])
        return sizes[name]

    nodes = size_of(_called(model.graph.node))
    if nodes > _MOST_NODES:
        raise ModelError(
            Code.FUNCTIONS_NOT_INLINED,
            f"the model's functions call each other so often that they come to {nodes:,} nodes",
            f"export the model without functions; at most {_MOST_NODES:,} nodes are taken in",
        )


def _called(nodes: Iterable[onnx.NodeProto]) -> Counter[tuple[str, str]]:
    """How often each operator or function is called, at any depth."""
    found: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        found[node.domain, node.op_type] += 1
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                found += _called(graph.node)
    return found


def refuse_recursion(model: onnx.ModelProto) -> None:
    """Raises ModelError when functions call each other in a circle, which would crash native code."""
    calls = {(f.domain, f.name): set(_called(f.node)) for f in model.functions}
    open_: list[tuple[str, str]] = []
    done: set[tuple[str, str]] = set()

    def visit(function: tuple[str, str]) -> None:
        if function in open_:
            raise ModelError(
                Code.FUNCTIONS_NOT_INLINED, f"function '{function[0]}::{function[1]}' calls itself"
            )
        if function in done:
            return
        open_.append(function)
        for callee in sorted(calls[function] & calls.keys()):
            visit(callee)
        done.add(open_.pop())

    for function in sorted(calls):
        visit(function)


def expand_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Expands the standard operators that the table below picks; how many nodes of each, by operator."""
    expanded: dict[str, int] = {}
    for _ in range(_DEEPEST):
        types = infer_values(model)
        chosen = [node for node in nodes_of(model) if _picked(node, types)]
        if not chosen:
            break
        counts = _expand(model, chosen, types)
        if not counts:
            break
        for op, count in counts.items():
            expanded[op] = expanded.get(op, 0) + count
    return expanded


_DEEPEST = 8  # bodies hold function operators themselves, no deeper than three today


def _picked(node: onnx.NodeProto, types: Types) -> bool:
    needed = _TABLE.get(node.op_type)
    return needed is not None and node.domain in ("", "ai.onnx.preview") and needed(node, types)


def _expand(model: onnx.ModelProto, chosen: list[onnx.NodeProto], types: Types) -> dict[str, int]:
    """Turns each node into a call of a function made for it alone, then inlines those; how many, by operator."""
    import onnx.inliner

    counts: dict[str, int] = {}
    for number, node in enumerate(chosen):
        body = _body(node, types, {item.domain: item.version for item in model.opset_import})
        if body is None:
            continue
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
        body.domain, body.name = _BODIES, f"{node.op_type}_{number}"
        model.functions.append(body)
        node.domain, node.op_type = body.domain, body.name
    if counts:
        model.opset_import.add(domain=_BODIES, version=1)
        inlined = onnx.inliner.inline_local_functions(model)
        del inlined.functions[:]
        model.CopyFrom(inlined)
        normalize_domains(model)
    return counts


def _body(node: onnx.NodeProto, types: Types, opsets: Mapping[str, int]) -> onnx.FunctionProto | None:
    """The function that ONNX defines for this node, with defaults filled in; None if it defines none."""
    import onnx

    schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    for name, attribute in sorted(schema.attributes.items()):
        if attribute.default_value.name and attribute_of(node, name) is None:
            node.attribute.add().CopyFrom(attribute.default_value)
    if any(name and _dtype(name, types) == "undefined" for name in node.input):
        return None  # onnx's native code crashes on some bodies if the types are missing
    inputs = [_type(name, types).SerializeToString() for name in node.input]
    opset = opsets.get("", 0)
    fixed = [version for version in schema.function_opset_versions if version <= opset]
    flexible = [version for version in schema.context_dependent_function_opset_versions if version <= opset]
    try:
        if fixed:
            encoded = schema.get_function_with_opset_version(fixed[-1])
        elif flexible:
            encoded = schema.get_context_dependent_function_with_opset_version(
                flexible[-1], node.SerializeToString(), inputs
            )
        else:
            return None
    except (RuntimeError, ValueError):
        return None  # ONNX has no body for these types
    body = onnx.FunctionProto.FromString(encoded)
    for item in body.opset_import:
        item.version = max(item.version, opsets.get(item.domain, 0))
    body.ClearField("attribute")
    body.ClearField("attribute_proto")
    body.attribute.extend(attribute.name for attribute in node.attribute)
    return body if body.node else None


def _type(name: str, types: Types) -> onnx.TypeProto:
    import onnx

    info = types.get(name)
    if info is None or not number_of_dtype(info.dtype):
        return onnx.TypeProto()
    made: onnx.TypeProto = onnx.helper.make_tensor_type_proto(number_of_dtype(info.dtype), info.dims)
    return made


def _always(node: onnx.NodeProto, types: Types) -> bool:
    return True


def _dtype(name: str, types: Types) -> str:
    return types[name].dtype if name in types else "undefined"


def _several_outputs(node: onnx.NodeProto, types: Types) -> bool:
    return any(node.output[1:])


def _odd_clip(node: onnx.NodeProto, types: Types) -> bool:
    return _dtype(node.input[0], types) not in _CLIPPED | {"undefined"}


def _odd_celu(node: onnx.NodeProto, types: Types) -> bool:
    return _dtype(node.input[0], types) in ("float16", "bfloat16")


_TABLE: dict[str, Callable[[onnx.NodeProto, Types], bool]] = {
    "AffineGrid": _always,
    "Attention": _always,
    "CausalConvWithState": _always,
    "Celu": _odd_celu,
    "CenterCropPad": _always,
    "Clip": _odd_clip,
    "FlexAttention": _always,
    "LayerNormalization": _several_outputs,
    "LinearAttention": _always,
    "NegativeLogLikelihoodLoss": _always,
    "SoftmaxCrossEntropyLoss": _always,
    "SwiGLU": _always,
}


def make_range_scalar(model: onnx.ModelProto) -> int:
    """Makes inputs of Range scalar if they are vectors of one element; how many. Bodies of AffineGrid have these.

    Runtimes accept vectors only while their shape inference does not know the shape.
    """
    import onnx

    types = infer_values(model)
    taken = set(types) | {name for node in nodes_of(model) for name in (*node.input, *node.output)}
    count = 0
    for graph in graphs_of(model):
        nodes: list[onnx.NodeProto] = []
        before = count
        for node in graph.node:
            for index, name in enumerate(node.input):
                if node.op_type == "Range" and not node.domain and name in types and types[name].dims == (1,):
                    node.input[index] = fresh(f"{name}_scalar", taken)
                    nodes.append(onnx.NodeProto(op_type="Squeeze", input=[name], output=[node.input[index]]))
                    count += 1
            nodes.append(node)
        if count > before:
            replace_nodes(graph, nodes)
            break  # nested graphs were copied
    return count


def replace_castlike(model: onnx.ModelProto) -> int:
    """Replaces CastLike to a known type by Cast; how many. Bodies of function operators are full of them."""
    import onnx

    types = infer_values(model)
    replaced = 0
    for graph in graphs_of(model):
        for node in graph.node:
            dtype = (
                _dtype(node.input[1], types)
                if node.op_type == "CastLike" and not node.domain
                else "undefined"
            )
            number = number_of_dtype(dtype)
            if not number:
                continue
            kept = [attribute for attribute in node.attribute if attribute.name in ("saturate", "round_mode")]
            made = onnx.NodeProto(name=node.name, op_type="Cast", input=node.input[:1], output=node.output)
            made.attribute.extend([onnx.helper.make_attribute("to", number), *kept])
            node.CopyFrom(made)
            replaced += 1
    return replaced
