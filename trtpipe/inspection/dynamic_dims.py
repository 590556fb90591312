"""The origin of a model's dynamic dimensions: an input, a node that computes one, or a tensor's values.

Shapes are inferred as the model declares them, with ONNX's own symbols. Independent of profiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.summary import DATA_DEPENDENT, TensorInfo
from trtpipe.proofs.model import ModelView

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class DynamicDim:
    """A dimension without a fixed size: the places (`x[0]`) that share it, and the source of its size as text."""

    name: str
    places: tuple[str, ...]
    origin: str


def dynamic_dims(view: ModelView) -> tuple[DynamicDim, ...]:
    """The dynamic dimensions of inputs, then those that only outputs have."""
    inferred = view.infer({}, {})
    shared: dict[str, list[str]] = {}
    for info in view.inputs:
        for axis, name in _dynamic(info):
            shared.setdefault(name or f"{info.name}[{axis}]", []).append(f"{info.name}[{axis}]")
    of_inputs = dict.fromkeys(shared)
    made: dict[str, tuple[list[str], str]] = {}
    makers = {name: node for node in view.proto.graph.node for name in node.output if name}
    for value in view.proto.graph.output:
        found = inferred.values.get(value.name)
        for axis, name in _dynamic(found) if found is not None else ():
            place = f"{value.name}[{axis}]"
            if name in of_inputs:
                shared[name].append(place)
            else:
                origin = _maker(value.name, name, makers, inferred)
                made.setdefault(name or place, ([], origin))[0].append(place)
    given = [DynamicDim(name, tuple(places), f"input {places[0]}") for name, places in shared.items()]
    return (*given, *(DynamicDim(name, tuple(places), origin) for name, (places, origin) in made.items()))


def _dynamic(info: TensorInfo) -> Iterator[tuple[int, str]]:
    """Each dynamic axis with its symbol, empty where it has none."""
    for axis in info.dynamic_axes:
        dim = (info.dims or ())[axis]
        yield axis, dim if isinstance(dim, str) else ""


def _maker(value: str, symbol: str, makers: Mapping[str, onnx.NodeProto], inferred: Inferred) -> str:
    """The node that introduced a dimension, found by walking back while an input has the same dimension."""
    node = makers.get(value)
    if node is None:
        return "not known"
    seen = {value}
    while True:
        above = next(
            (n for n in node.input if n in makers and n not in seen and _holds(inferred, n, symbol)), None
        )
        if above is None:
            break
        seen.add(above)
        node = makers[above]
    called = f"{node.op_type} '{node.name or node.output[0]}'"
    if node.op_type in DATA_DEPENDENT:
        return f"the values that {called} receives"
    if any(n not in inferred.values or inferred.values[n].dims is None for n in node.output if n):
        return f"{called}, whose shape is unknown"
    return f"computed by {called}"


def _holds(inferred: Inferred, name: str, symbol: str) -> bool:
    info = inferred.values.get(name)
    if info is None:
        return False
    return any(found == symbol for _, found in _dynamic(info))
