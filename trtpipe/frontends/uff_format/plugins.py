"""Operations that UFF does not define: converted to TensorRT plugins if they are mapped to one, else rejected by name.

TensorRT's ONNX parser treats a node with an unknown operator as the plugin of that name; its attributes
`plugin_version` and `plugin_namespace` select the creator, the others are the plugin's fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import PLUGIN_DOMAIN
from trtpipe.errors import Problem
from trtpipe.frontends.uff_format.messages import Blob, Data, Node
from trtpipe.frontends.uff_format.net import Dims, Tensor
from trtpipe.frontends.uff_format.node_fields import DTYPES
from trtpipe.frontends.uff_format.operation import Operation
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.builder import Attribute

_PLACE = ("model", "options", "plugins")
# the converter adds type suffixes to a custom node's fields: topK_u_int
_TYPE_MARK = re.compile(r"_u_[a-z]+$")
_TENSORRT_DTYPES = {"float32": 0, "float16": 1, "int8": 2, "int32": 3}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a plugin; `dims` is None when not even the rank is known, -1 stands for an unknown size."""

    dtype: str = "float32"
    dims: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plugin:
    """The TensorRT plugin for an operation; `fields` extend and override those of the node."""

    name: str
    version: str = "1"
    namespace: str = ""
    fields: Mapping[str, Attribute] = field(default_factory=dict)
    outputs: tuple[Output, ...] = (Output(),)


def output_names(id_: str, count: int) -> list[str]:
    """The names of a node's tensors: the node's name, then `_1`, `_2`, … as in TensorRT's own UFF parser."""
    return [id_, *(f"{id_}_{number}" for number in range(1, count))]


def lower_plugin(op: Operation, plugin: Plugin) -> list[Tensor]:
    """The plugin's node in ONNX; inputs are in the file's layout, or in the canonical one if the node has orders."""
    inputs = []
    for index, tensor in enumerate(op.inputs):
        ordered = index < len(op.fields.orders())
        order = op.order(index, len(op.dims(index))) if ordered else ()
        inputs.append(op.net.in_order(tensor, order) if order else op.net.plain(tensor))
    names = output_names(op.id, len(plugin.outputs))
    made = op.net.builder.node(plugin.name, inputs, names, name=op.id, domain=PLUGIN_DOMAIN)
    _set_attributes(op.net.builder.graph.node[-1], op, plugin)
    for name, output in zip(made, plugin.outputs, strict=True):
        op.net.declare(name, output.dtype, _dims(output.dims), custom=op.node.operation)
    return [Tensor(name, plain=name) for name in made]


def _set_attributes(node: onnx.NodeProto, op: Operation, plugin: Plugin) -> None:
    """Sets attributes with arbitrary names, which could clash with parameters of `make_node`."""
    import onnx

    chosen = {"plugin_version": plugin.version, "plugin_namespace": plugin.namespace}
    attributes = {**_own_fields(op), **plugin.fields, **chosen}
    for name, value in sorted(attributes.items()):
        if value != ():
            node.attribute.append(onnx.helper.make_attribute(name, value))


def _dims(dims: tuple[int, ...] | None) -> Dims | None:
    return None if dims is None else tuple(None if size < 0 else size for size in dims)


def _own_fields(op: Operation) -> dict[str, Attribute]:
    """The node's fields as attributes, without their type suffixes."""
    found: dict[str, Attribute] = {}
    for name in op.node.fields:
        datum = op.fields.datum(name)
        value = _attribute(datum) if datum is not None and name != "inputs_orders" else None
        if value is not None:
            found[_TYPE_MARK.sub("", name)] = value
    return found


def _attribute(datum: Data) -> Attribute:
    """A value as an ONNX attribute; None for values that cannot be one (orders, bytes)."""
    if isinstance(datum.value, Blob) or datum.kind.startswith("dim_orders"):
        return None
    if datum.kind == "dtype":
        return _TENSORRT_DTYPES.get(DTYPES.get(datum.value, ""))
    if datum.kind == "dtype_list":
        return None
    if datum.kind in ("b", "b_list"):
        return int(datum.value) if datum.kind == "b" else tuple(map(int, datum.value))
    value: Attribute = datum.value
    return value


def refusals(
    nodes: Iterable[Node], known: Sequence[str], plugins: Mapping[str, Plugin], cut: Sequence[str] = ()
) -> list[Problem]:
    """One problem for each operation that is neither known nor mapped; `cut` are outputs before all of them."""
    unknown: dict[str, list[str]] = {}
    for node in nodes:
        if node.operation not in known and node.operation not in plugins:
            unknown.setdefault(node.operation, []).append(node.id)
    return [_refusal(operation, ids, known, cut) for operation, ids in sorted(unknown.items())]


def unused(all_nodes: Iterable[Node], plugins: Mapping[str, Plugin], known: Sequence[str]) -> list[Problem]:
    """Mappings of operations that are not in the file, or that are not custom operations."""
    present = {node.operation for node in all_nodes}
    custom = sorted(present - set(known))
    problems = []
    for name in plugins:
        if name in known:
            fact = f"'{name}' is an operation of UFF itself, and no plugin"
        elif name not in present:
            fact = f"the file has no operation '{name}'"
        else:
            continue
        near = get_close_matches(name, custom, n=1)
        choices = (
            f"its custom operations: {', '.join(custom[:20])}" if custom else "it has no custom operation"
        )
        remedy = f"did you mean '{near[0]}'? {choices}" if near else choices
        problems.append(Problem(Code.UFF_PLUGIN, fact, remedy, path=(*_PLACE, name)))
    return problems


def _refusal(operation: str, ids: Sequence[str], known: Sequence[str], cut: Sequence[str]) -> Problem:
    listed = ", ".join(f"'{one}'" for one in ids[:_SHOWN])
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    before = f"\nor end the graph before it: outputs: [{', '.join(cut)}]" if cut else ""
    if operation.startswith("_"):
        return Problem(
            Code.UFF_PLUGIN,
            f"operation '{operation}' is a custom operation without a plugin ({listed}{more})",
            f"map it to a TensorRT plugin: plugins: {{{operation}: {{name: {operation[1:]}}}}}{before}",
            path=_PLACE,
        )
    near = get_close_matches(operation, known, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return Problem(
        Code.UFF_PLUGIN,
        f"operation '{operation}' is unknown ({listed}{more})",
        f"{hint}map it to a plugin: plugins: {{{operation}: {{name: …}}}}{before}",
        path=_PLACE,
    )
