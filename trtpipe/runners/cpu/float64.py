"""A float32 model converted to float64, as far as ONNX Runtime's CPU provider can run it.

Weights stay float32 in their files and are cast when read, which is exact; a node's outputs are float64 wherever the
operator's definition and a kernel allow it. A node that has no float64 kernel, or has a body (subgraph), stays float32
and gets its inputs cast down. These operators are reported, because a reference is only as accurate as its computation.

A tensor in its own type keeps its name; the float64 one is called NAME/as float64. float16 and bfloat16 stay unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.canonical.folding import infer_values
from trtpipe.errors import ModelError
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import NoKernel, OnnxRuntimeRunner, open_runner

if TYPE_CHECKING:
    import onnx

_LIFTED = "/as float64"
_OPERATOR = re.compile(r".*\((\w+)\(\d+\)\) of '", re.DOTALL)
_DOUBLE, _FLOAT = "tensor(double)", "float32"


@dataclass(frozen=True)
class LiftedModel:
    """A model in float64."""

    model: RunnableModel
    names: Mapping[str, str]
    """Tensor → its name here, lifted where it is."""
    narrow: tuple[str, ...]
    """The operators that still compute in float32, sorted."""


@contextmanager
def open_lifted(
    model: RunnableModel, outputs: Collection[str], *, threads: int
) -> Iterator[tuple[OnnxRuntimeRunner, LiftedModel]]:
    """The model in float64, giving `outputs` by their names in `LiftedModel.names`. Raises ModelError if it cannot be.

    Missing kernels are found by loading the model; their operators then stay narrow.
    """
    missing: set[str] = set()
    while True:
        lifted = lift(model, missing)
        exposed = lifted.model.only_outputs([lifted.names.get(name, name) for name in outputs])
        try:
            opened = open_runner(exposed, threads=threads)
            runner = opened.__enter__()
        except NoKernel as error:
            found = _OPERATOR.match(error.problems[0].fact)
            if found is None or found[1] in missing:
                raise ModelError(error.problems) from error
            missing.add(found[1])
            continue
        break
    try:
        yield runner, lifted
    finally:
        opened.__exit__(None, None, None)


def lift(model: RunnableModel, narrow: Collection[str] = ()) -> LiftedModel:
    """A copy in float64, except for the operators in `narrow`."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    known = infer_values(copy)
    floats = {name for name, info in known.items() if info.dtype == _FLOAT}
    versions = {_domain(one.domain): one.version for one in copy.opset_import}
    lifting = _Lifting(floats, versions, set(narrow))
    nodes = list(copy.graph.node)
    for node in nodes:
        lifting.take(node)
    del copy.graph.node[:]
    copy.graph.node.extend(lifting.nodes)
    # What was lifted has another name and type, and what was not is inferred anew.
    del copy.graph.value_info[:]
    names = {name: name + _LIFTED for name in lifting.lifted}
    return LiftedModel(RunnableModel(copy, model.folder, model.path), names, tuple(sorted(lifting.told)))


@dataclass
class _Lifting:
    """Goes through the nodes in order and makes their lifted copies, with casts where types meet."""

    floats: Collection[str]
    versions: Mapping[str, int]
    narrow: Collection[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    lifted: set[str] = field(default_factory=set)
    """Tensors that are made in float64."""
    both: set[str] = field(default_factory=set)
    """Tensors that are there in both types."""
    told: set[str] = field(default_factory=set)

    def take(self, node: onnx.NodeProto) -> None:
        """Append the node, lifted if it can be."""
        import onnx

        made = onnx.NodeProto()
        made.CopyFrom(node)
        if node.op_type == "Cast" and node.domain in ("", "ai.onnx"):
            self._cast(made)
            return
        wide_inputs, wide_outputs = self._wide(node)
        has_floats = any(name in self.floats for name in node.input) and any(
            name in self.floats for name in node.output
        )
        if has_floats and not wide_outputs and node.op_type not in ("Constant", "Shape"):
            self.told.add(node.op_type)
        for index, name in enumerate(node.input):
            if name in self.floats:
                made.input[index] = self._as_double(name) if index in wide_inputs else self._as_float(name)
        for name in _captured(node):
            if name in self.floats:
                self._as_float(name)
        for index in wide_outputs:
            self.lifted.add(node.output[index])
            made.output[index] = node.output[index] + _LIFTED
        self.nodes.append(made)

    def _cast(self, node: onnx.NodeProto) -> None:
        """A Cast node: it can read either type; a cast to float32 becomes one to float64."""
        import onnx

        if node.input[0] in self.lifted:
            node.input[0] += _LIFTED
        if node.output[0] in self.floats:
            self.lifted.add(node.output[0])
            node.output[0] += _LIFTED
            for attribute in node.attribute:
                if attribute.name == "to":
                    attribute.i = onnx.TensorProto.DOUBLE
        self.nodes.append(node)

    def _wide(self, node: onnx.NodeProto) -> tuple[set[int], set[int]]:
        """The inputs and outputs that are float64, by index; empty for a node that stays narrow."""
        import onnx

        if node.op_type in self.narrow or _has_body(node):
            return set(), set()
        try:
            domain = _domain(node.domain)
            schema = onnx.defs.get_schema(node.op_type, self.versions.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            return set(), set()
        allowed = {one.type_param_str: set(one.allowed_type_strs) for one in schema.type_constraints}
        inputs = {
            index: _formal(schema.inputs, index).type_str
            for index, name in enumerate(node.input)
            if name in self.floats
        }
        wide = {kind for kind in inputs.values() if _DOUBLE in allowed.get(kind, ())}
        outputs = {
            index
            for index, name in enumerate(node.output)
            if name in self.floats and _formal(schema.outputs, index).type_str in wide
        }
        if not outputs:
            return set(), set()
        return {index for index, kind in inputs.items() if kind in wide}, outputs

    def _as_double(self, name: str) -> str:
        if name not in self.lifted and name not in self.both:
            self._append_cast(name, name + _LIFTED, double=True)
        return name + _LIFTED

    def _as_float(self, name: str) -> str:
        if name in self.lifted and name not in self.both:
            self._append_cast(name + _LIFTED, name, double=False)
        return name

    def _append_cast(self, source: str, target: str, *, double: bool) -> None:
        import onnx
        from onnx import helper

        to = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
        self.both.add(target.removesuffix(_LIFTED))
        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=to))


def _domain(name: str) -> str:
    """The domain with one name for ONNX's own, which has two."""
    return "" if name == "ai.onnx" else name


def _formal(
    formals: Sequence[onnx.defs.OpSchema.FormalParameter], index: int
) -> onnx.defs.OpSchema.FormalParameter:
    """The formal parameter of an index; the last one may be variadic."""
    return formals[min(index, len(formals) - 1)]


def _has_body(node: onnx.NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _captured(node: onnx.NodeProto) -> Iterator[str]:
    """Every name that the bodies of a node read; those of the outer graph are among them."""
    pending = [
        body
        for attribute in node.attribute
        for body in ([attribute.g] if attribute.HasField("g") else list(attribute.graphs))
    ]
    while pending:
        body = pending.pop()
        yield from (one.name for one in body.output)
        for inner in body.node:
            yield from inner.input
            pending += [a.g for a in inner.attribute if a.HasField("g")]
