"""Raises a whole network: the layers that its outputs need, in topological order, and their weights.

Tensors keep their names, and so do layers with a unique name. Layers that no output needs are left out; so are
constants that became numbers or weights of a layer, and assertions, which compute nothing.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError

from trtpipe.canonical.names import FreshNames
from trtpipe.errors import ModelError, Problem
from trtpipe.layers.from_onnx.model import Declaration, dim_name
from trtpipe.layers.from_onnx.node import DECLARED_TYPES
from trtpipe.layers.scope import Scope
from trtpipe.layers.table import LOWERINGS, least_opset
from trtpipe.networks.lowering.scope import LayerScope, dtype_of, few, layer_scope, value_of, weights_of
from trtpipe.networks.lowering.subgraphs import reads_of
from trtpipe.networks.lowering.table import BORDERS
from trtpipe.networks.raised.constants import Constants
from trtpipe.networks.raised.layers import Raising, form_of
from trtpipe.networks.raised.writer import (
    WeightsFile,
    kind_of,
    parameters_of,
    refusal_of,
    spec_of,
    tidied,
    with_weights,
)
from trtpipe.problem_codes import Code
from trtpipe.spec.network.fields import tensors_of

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json
    from trtpipe.networks.network import Layer, ParsedNetwork
    from trtpipe.spec.network.fields import Declared

_CONSTRUCTS = {
    "ATTENTION": "attentions are not written as declared layers",
    "CONDITION": "conditionals have no declared layers",
}
_LOOPS = "loops have no declared layers"
_LAYERS = ("model", "options", "layers")
_REMEDY = "cut the model before it with transform: outputs, or keep the model as it is"
_UNQUANTIZED = (
    "export the cell of a variant that quantizes nothing, such as fp32, and give the exported spec this cell's "
    "variant: its build quantizes then"
)


@dataclass(frozen=True, slots=True)
class RaisedLayer:
    """A layer as it is written in a spec, and its origin."""

    layer: Layer
    model: Declared
    fields: Mapping[str, object]
    weights: Mapping[str, Array]

    @property
    def reads(self) -> list[str]:
        """The tensors that it names."""
        return [name for _, name in tensors_of(self.model)]


@dataclass(frozen=True, slots=True)
class RaisedNetwork:
    """A network as a spec would declare it."""

    declaration: Declaration
    left_out: Mapping[str, int]
    """How many layers of each type no output needs, once constants are weights and numbers."""
    layers: tuple[Layer, ...]
    """The layers of the network that the declared ones were made of, in their order."""

    def with_origins(self, error: ModelError) -> ModelError:
        """The problems of the declared network, reported for the TensorRT layers that they come from."""
        return ModelError([self._of_layer(problem) for problem in error.problems])

    def _of_layer(self, problem: Problem) -> Problem:
        place = problem.path[: len(_LAYERS) + 1]
        number = place[-1] if place[:-1] == _LAYERS else None
        if not isinstance(number, int):
            return problem
        label = str(self.declaration.layers[number]["name"])
        return _refused(self.layers[number], label, problem.fact)


def raise_network(network: ParsedNetwork) -> RaisedNetwork:
    """The network as declared layers. Raises ModelError that names every layer without a declared one, and why."""
    if not network.inputs:
        raise ModelError(
            Code.NOT_DECLARABLE, "the network has no inputs, so it cannot be written as declared layers"
        )
    work = _Work(network)
    work.run()
    if work.problems:
        raise ModelError([work.problems[number] for number in sorted(work.problems)])
    file = WeightsFile(FreshNames())
    ordered = [work.raised[number] for number in _ordered(network, work.raised)]
    entries = tuple(_entry(one, file) for one in ordered)
    inputs = {name: _input(network, name) for name in network.inputs}
    declaration = Declaration(inputs, entries, network.outputs, file.written)
    left = Counter(layer.type for layer in network.layers if layer.number not in work.raised)
    return RaisedNetwork(declaration, dict(sorted(left.items())), tuple(one.layer for one in ordered))


@dataclass
class _Work:
    """Raises the layers that outputs need, starting from the outputs."""

    network: ParsedNetwork
    raised: dict[int, RaisedLayer] = field(default_factory=dict)
    problems: dict[int, Problem] = field(default_factory=dict)

    @cached_property
    def constants(self) -> Constants:
        return Constants(self.network)

    @cached_property
    def labels(self) -> list[str]:
        """A name for each layer that no other has."""
        fresh = FreshNames()
        return [fresh(layer.name or f"layer {layer.number}") for layer in self.network.layers]

    def run(self) -> None:
        parameters = weights_of(self.network)
        makers = self._makers()
        pending = [makers[name] for name in self.network.outputs if name in makers]
        seen: set[int] = set()
        while pending:
            layer = pending.pop()
            if layer.number in seen:
                continue
            seen.add(layer.number)
            try:
                at = layer_scope(self.network, layer, self.labels[layer.number], parameters)
                made = self.raised[layer.number] = self._raise(at)
                reads = made.reads
            except ModelError as error:
                self.problems[layer.number] = _refused(
                    layer, self.labels[layer.number], error.problems[0].fact
                )
                reads = reads_of(self.network, layer)
            pending += [makers[name] for name in reads if name in makers]
            pending += self._together(layer)

    def _makers(self) -> dict[str, Layer]:
        """The layer that produces each tensor; for an attention's tensors, the layer that ends it."""
        makers = dict(self.network.producers)
        for one in self.network.attentions:
            ends = [self.network.layers[number] for number in one.output_layers]
            makers.update({name: ends[0] for name in one.outputs if ends and name not in makers})
        return makers

    def _together(self, layer: Layer) -> Iterator[Layer]:
        """The other boundary layers of a loop, conditional or attention, all of which are rejected."""
        for kind in ("loop", "conditional", "attention"):
            number = getattr(layer, kind)
            if number is not None:
                yield from (one for one in self.network.layers if getattr(one, kind) == number)

    def _raise(self, at: LayerScope) -> RaisedLayer:
        layer = at.parsed
        form = form_of(layer.type)
        if layer.type in BORDERS or layer.attention is not None:
            at.refuse(next((why for kind, why in _CONSTRUCTS.items() if layer.type.startswith(kind)), _LOOPS))
        if layer.unread:
            at.refuse("; ".join(f"{name}: {why}" for name, why in layer.unread.items()))
        if form is None:
            at.refuse("")
        model, fields = form(Raising(at, self.constants))
        written, weights = with_weights(at, tidied(model, fields), self.constants)
        why = refusal_of(weights)
        if why:
            at.refuse(why)
        made = self._validated(at, model, written)
        self._check(made, weights)
        return RaisedLayer(layer, made, written, weights)

    def _validated(self, at: LayerScope, model: type[Declared], written: Mapping[str, object]) -> Declared:
        outputs = at.parsed.outputs
        count = getattr(model, "output_count", 1)
        if len(outputs) != count:
            at.refuse(f"makes {len(outputs)} tensors, where a declared layer makes {count}")
        try:
            return model.model_validate(
                {"name": at.layer.name, "layer": kind_of(model), "outputs": outputs, **written}
            )
        except ValidationError as error:
            at.refuse(f"cannot be declared: {_words(error, at.layer.name)}")

    def _check(self, made: Declared, weights: Mapping[str, Array]) -> None:
        """Lowers the layer alone, as a build would, with the tensor types that TensorRT reports. Raises ModelError."""
        tensors, makers = self.network.tensors, self.network.producers
        reads = {
            path: value_of(tensors[name], few(self.network, makers[name]) if name in makers else None)
            for path, name in tensors_of(made)
        }
        scope = Scope(made, (), reads, parameters_of(weights), least_opset([made]))
        LOWERINGS[type(made)](made, scope)


def _refused(layer: Layer, label: str, fact: str) -> Problem:
    """The problem of a layer, called `label`, that has no declared equivalent, and the reason."""
    where = f", made for node '{layer.node}'," if layer.node else ""
    why = _without_itself(fact, label)
    said = f"layer '{label}' ({layer.type}){where} has no declared layer" + (f": {why}" if why else "")
    narrow = layer.type == "CONSTANT" or "QUANTIZE" in layer.type
    return Problem(Code.NOT_DECLARABLE, said, _UNQUANTIZED if narrow else _REMEDY)


def _words(error: ValidationError, label: str) -> str:
    """The first validation message about a layer, with the field that it concerns."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ").removeprefix(f"layer {label!r}").lstrip(": ")
    return ": ".join([*(str(one) for one in first["loc"][:1]), said])


def _without_itself(fact: str, label: str) -> str:
    """A message about a layer without the layer's name."""
    start = f"layer '{label}' ("
    if not fact.startswith(start):
        return fact
    return fact[len(start) :].partition(")")[2].lstrip(": ")


def _ordered(network: ParsedNetwork, raised: Mapping[int, RaisedLayer]) -> list[int]:
    """The layers in the parser's order, except that each comes after its inputs."""
    behind: dict[int, list[int]] = defaultdict(list)
    waits = dict.fromkeys(raised, 0)
    for number, one in raised.items():
        for maker in {network.producers[name].number for name in one.reads if name in network.producers}:
            behind[maker].append(number)
            waits[number] += 1
    ready = [number for number, count in waits.items() if not count]
    heapq.heapify(ready)
    found = []
    while ready:
        number = heapq.heappop(ready)
        found.append(number)
        for other in behind[number]:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, other)
    if len(found) < len(raised):
        raise ModelError(Code.NOT_DECLARABLE, "the layers of the network form a cycle")
    return found


def _entry(one: RaisedLayer, file: WeightsFile) -> Mapping[str, Json]:
    def named(field_name: str, array: Array) -> str:
        wanted = one.model.name if field_name == "weights" else f"{one.model.name}.{field_name}"
        return file.add(wanted, array, hashlib.sha256(array.tobytes()).hexdigest())

    return spec_of(one.model, one.layer.outputs, one.fields, one.weights, named)


def _input(network: ParsedNetwork, name: str) -> dict[str, Json]:
    tensor = network.tensors[name]
    dtype = dtype_of(tensor.dtype)
    if tensor.shape is None or dtype not in DECLARED_TYPES:
        what = "has no rank" if tensor.shape is None else f"is {dtype}"
        raise ModelError(Code.NOT_DECLARABLE, f"input '{name}' {what}, which no declared input does")
    names = (*tensor.dimension_names, *([None] * len(tensor.shape)))
    dims = [
        size if size >= 0 else dim_name(called) for size, called in zip(tensor.shape, names, strict=False)
    ]
    return {"dtype": DECLARED_TYPES[dtype], "shape": dims}
