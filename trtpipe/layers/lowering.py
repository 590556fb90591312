"""Lowers a list of declared layers into a graph, in order, and reports every independent problem in one pass.

The outputs of a layer that cannot be lowered are marked unknown, and layers that read them are skipped, so that one
mistake is reported once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import GraphBuilder
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.summary import Dim
from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.layers.inference import infer_nodes, known_dims
from trtpipe.layers.parameters import Parameter, Parameters
from trtpipe.layers.scope import Node, Scope
from trtpipe.layers.table import LOWERINGS
from trtpipe.layers.values import Value, too_large
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.spec.network.fields import Declared, OneInput, tensors_of, weights_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_FEW = 128


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """The result of a layer: its output tensors, and how many weights it holds."""

    name: str
    kind: str
    outputs: tuple[tuple[str, str, tuple[Dim, ...] | None], ...]
    """Name, data type and dims of each output."""
    parameters: int


@dataclass(slots=True)
class Lowering:
    """Lowers layers into `builder`; `values` are the existing tensors, None for those that nothing is known about."""

    builder: GraphBuilder
    opset: int
    parameters: Parameters
    values: dict[str, Value | None]
    summaries: list[LayerSummary] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def run(self, layers: Sequence[Declared], place: SpecPath, first: str | None) -> None:
        """Lowers the layers at a place of the spec. `first` is the first one's input unless it names another."""
        later = {name for layer in layers for name in layer.output_names}
        before = first
        for index, layer in enumerate(layers):
            where = (*place, index)
            for _, name in weights_of(layer):
                self.parameters.use(name)
            try:
                self._lower(layer, where, before, later)
            except ModelError as error:
                self.problems += error.problems
                self.values.update(dict.fromkeys(layer.output_names))
            before = layer.output_names[0]

    def _lower(self, layer: Declared, place: SpecPath, before: str | None, later: set[str]) -> None:
        self._refuse_taken(layer, place)
        reads = self._reads(layer, place, before, later)
        if any(value is None for value in reads.values()):
            self.values.update(dict.fromkeys(layer.output_names))
            return
        known = {path: value for path, value in reads.items() if value is not None}
        scope = Scope(layer, place, known, self.parameters, self.opset)
        results = LOWERINGS[type(layer)](layer, scope)
        names = layer.output_names
        assert len(results) >= len(names), f"{layer.kind} yields too few tensors"
        final = dict(zip(results, names, strict=False))
        nodes = _named(scope, final)
        made = self._values(scope, nodes, final)
        self._commit(scope, nodes)
        made = self._with_ranks(made, {final[old]: rank for old, rank in scope.ranks.items() if old in final})
        for value in made.values():
            if too_large(value.dims):
                scope.refuse(
                    f"yields '{value.name}' {value.text}", "TensorRT supports less than 2^31 elements"
                )
        self.values.update(made)
        outputs = tuple((value.name, value.dtype, value.dims) for value in made.values())
        self.summaries.append(LayerSummary(layer.name, layer.kind, outputs, scope.weight_count))

    def _refuse_taken(self, layer: Declared, place: SpecPath) -> None:
        for name in layer.output_names:
            if name in self.values:
                fact = (
                    f"there are two tensors '{name}': layer '{layer.name}' ({layer.kind}) yields the second"
                )
                raise ModelError(
                    Problem(
                        Code.TENSOR_NAME_TAKEN, fact, "give the layer another name", path=(*place, "name")
                    )
                )

    def _reads(
        self, layer: Declared, place: SpecPath, before: str | None, later: set[str]
    ) -> dict[SpecPath, Value | None]:
        """The tensors that the layer reads, by place. Raises ModelError with every tensor that does not exist."""
        reads: dict[SpecPath, str] = dict(tensors_of(layer))
        if isinstance(layer, OneInput) and layer.input is None:
            if before is None:
                fact = f"layer '{layer.name}' ({layer.kind}) is the first, and there are several inputs"
                raise ModelError(
                    Problem(
                        Code.LAYER_INPUT_UNKNOWN, fact, f"name its input: {self._choices('')}", path=place
                    )
                )
            reads[("input",)] = before
        missing = [(path, name) for path, name in reads.items() if name not in self.values]
        if missing:
            raise ModelError([self._missing(layer, name, (*place, *path), later) for path, name in missing])
        return {path: self.values[name] for path, name in reads.items()}

    def _missing(self, layer: Declared, name: str, path: SpecPath, later: set[str]) -> Problem:
        fact = f"layer '{layer.name}' ({layer.kind}) reads '{name}', which "
        if name in later:
            return Problem(
                Code.LAYER_INPUT_UNKNOWN,
                f"{fact}only a later layer yields",
                "move that layer before this one",
                path=path,
            )
        remedy = self._choices(name)
        if name in self.parameters.names:
            remedy = f"it is the name of weights: make a tensor of them with a constant layer\n{remedy}"
        return Problem(Code.LAYER_INPUT_UNKNOWN, f"{fact}no layer before it yields", remedy, path=path)

    def _choices(self, name: str) -> str:
        return choose_from(name, self.values, "tensors")

    def _values(self, scope: Scope, nodes: Sequence[Node], names: Mapping[str, str]) -> dict[str, Value]:
        """The layer's outputs by their final names: declared by the layer, or inferred from its inputs.

        `names` are the final names of the layer's own tensors. Raises ModelError.
        """
        held = {name: Value(name, one.dtype, one.dims, _few(one)) for name, one in scope.held.items()}
        said = {
            names[old]: Value(names[old], value.dtype, value.dims) for old, value in scope.declared.items()
        }
        known = {value.name: value for value in scope.reads.values()} | held
        standard = [_proto(node, node.operator) for node in nodes if not said.keys() & set(node.outputs)]
        try:
            inferred = infer_nodes(standard, (known | said).values(), self.opset)
        except ModelError as error:
            shapes = ", ".join(f"'{value.name}' {value.text}" for value in scope.reads.values())
            fact = scope.about(f"does not take {shapes}: {error.problems[0].fact}")
            raise ModelError(
                Problem(Code.LAYER_REFUSED, fact, error.problems[0].remedy, path=scope.place)
            ) from error
        found = {name: Value(name, info.dtype, info.dims) for name, info in inferred.items()}
        every = found | said | held
        missing = [name for name in names.values() if name not in every]
        assert not missing, f"{scope.layer.kind}: nothing is known of {missing}"
        return {name: every[name] for name in names.values()}

    def _with_ranks(self, made: dict[str, Value], ranks: Mapping[str, int]) -> dict[str, Value]:
        """Fills in unknown ranks by inference over the whole graph, which may compute the dims.

        If that fails, `ranks` that the layers know are used, with axes of unknown size.
        """
        if all(value.dims is not None for value in made.values()):
            return made
        known = infer_values(self.builder.model())

        def dims_of(name: str) -> tuple[Dim, ...] | None:
            found = known_dims(known[name].dims) if name in known else None
            return (None,) * ranks[name] if found is None and name in ranks else found

        return {
            name: replace(value, dims=dims_of(name)) if value.dims is None else value
            for name, value in made.items()
        }

    def _commit(self, scope: Scope, nodes: Sequence[Node]) -> None:
        """Puts the layer's constants and nodes into the graph."""
        actual = {name: self._constant(name, one) for name, one in scope.held.items()}
        for index, node in enumerate(nodes):
            last = index == len(nodes) - 1
            called = scope.layer.name if last else f"{scope.layer.name}/{node.operator}_{index}"
            inputs = [actual.get(one, one) or None for one in node.inputs]
            made = self.builder.node(
                node.operator,
                inputs,
                node.outputs,
                name=called,
                domain=node.domain,
                attributes=node.attributes,
            )
            actual |= dict(zip(node.outputs, made, strict=True))

    def _constant(self, name: str, one: Parameter) -> str:
        if one.location is not None:
            file, offset = one.location
            return self.builder.mapped_constant(name, one.dtype, one.dims, file, offset)
        assert one.array is not None, "a parameter has values where it has no place"
        return self.builder.constant(one.array, name)


def _named(scope: Scope, names: Mapping[str, str]) -> list[Node]:
    """The layer's nodes, with their outputs renamed to the final names; a result without a node gets an Identity."""
    made = {one for node in scope.nodes for one in node.outputs}
    kept = {old: new for old, new in names.items() if old in made}
    nodes = [
        Node(
            node.operator,
            tuple(kept.get(one, one) for one in node.inputs),
            tuple(kept.get(one, one) for one in node.outputs),
            node.attributes,
            node.domain,
        )
        for node in scope.nodes
    ]
    for old, new in names.items():
        if old in kept:
            continue
        if old in scope.held:
            scope.held[new] = scope.held.pop(old)
        else:
            nodes.append(Node("Identity", (old,), (new,), {}))
    return nodes


def _proto(node: Node, name: str) -> onnx.NodeProto:
    import onnx

    made: onnx.NodeProto = onnx.helper.make_node(
        node.operator, node.inputs, node.outputs, name=name, domain=node.domain, **node.attributes
    )
    return made


def _few(one: Parameter) -> Array | None:
    return one.array if one.array is not None and one.array.size <= _FEW else None
