"""The members of a bundle as running models, connected by its edges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trtpipe.errors import StepFailed
from trtpipe.plan.options.bundles import EdgeOptions
from trtpipe.problem_codes import Code
from trtpipe.runners.cpu.onnxruntime import OnnxRuntimeRunner
from trtpipe.spec.bundle import port

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_NUMPY = {"bfloat16": "float32"}
"""A type that NumPy lacks → the one in which its values are kept here."""


class Runner(Protocol):
    """What runs a member's model: ONNX Runtime, or an engine on a GPU."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Inputs with their types."""

    def infer_all(self, batches: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """The outputs for each batch. Raises TrtpipeError."""


@dataclass(frozen=True)
class CpuRunner:
    """A model in ONNX Runtime."""

    runner: OnnxRuntimeRunner

    @property
    def inputs(self) -> Mapping[str, str]:
        """Inputs with their types."""
        return self.runner.inputs

    def infer_all(self, batches: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """The outputs for each batch. Raises StepFailed."""
        return [self.runner.infer(one) for one in batches]


@dataclass(frozen=True)
class Member:
    """One member, running."""

    name: str
    runner: Runner
    changes: Mapping[str, EdgeOptions] = field(default_factory=dict)
    """Input → the edge whose reshape and cast the model itself does not do."""

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """Outputs by name; an input that an edge feeds is given as the edge's producer yields it. Raises StepFailed."""
        return self.every([inputs])[0]

    def every(self, batches: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """The same for several batches."""
        return self.runner.infer_all([self._fed(one) for one in batches])

    def _fed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        fed = {name: self._changed(name, array) for name, array in inputs.items()}
        missing = [name for name in self.runner.inputs if name not in fed]
        unknown = [name for name in fed if name not in self.runner.inputs]
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"has no input {', '.join(unknown)}"
            listed = ", ".join(self.runner.inputs)
            raise StepFailed(Code.MISSING_INPUT, f"member {self.name!r} {what}: its inputs are {listed}")
        return fed

    def _changed(self, name: str, array: Array) -> Array:
        edge = self.changes.get(name)
        return changed(array, edge) if edge is not None else array


def changed(array: Array, edge: EdgeOptions) -> Array:
    """What an edge makes of an array: its reshape as ONNX defines it, then its cast."""
    if edge.reshape is not None:
        shape = [np.shape(array)[axis] if size == 0 else size for axis, size in enumerate(edge.reshape)]
        array = np.reshape(array, shape)
    return array.astype(_NUMPY.get(edge.cast, edge.cast)) if edge.cast is not None else array


Run = Callable[[Mapping[str, Member], Mapping[str, "Array"]], "Mapping[str, Array]"]
"""The whole: members and free inputs → outputs by name."""


@dataclass(frozen=True)
class InOrder:
    """The whole without a driver: each member once, after those that feed it."""

    order: Sequence[str]
    edges: Sequence[EdgeOptions]
    outputs: Sequence[str]
    """Outputs that are yielded although an edge consumes them."""

    def __call__(self, members: Mapping[str, Member], inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of the whole, as `member.output`."""
        return self.every(members, [inputs])[0]

    def every(
        self, members: Mapping[str, Member], batches: Sequence[Mapping[str, Array]]
    ) -> list[dict[str, Array]]:
        """The same for several batches; each member runs all of them at once."""
        known: list[dict[str, Array]] = [{} for _ in batches]
        for name in self.order:
            member = members[name]
            feeds = [
                {one: self._fed(f"{name}.{one}", *both) for one in member.runner.inputs}
                for both in zip(known, batches, strict=True)
            ]
            for one, found in zip(known, member.every(feeds), strict=True):
                one |= {f"{name}.{output}": array for output, array in found.items()}
        consumed = {edge.source for edge in self.edges} - set(self.outputs)
        return [{name: array for name, array in one.items() if name not in consumed} for one in known]

    def _fed(self, to: str, known: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
        for edge in self.edges:
            if edge.to == to:
                return known[edge.source]
        return inputs[to]


def changes_of(member: str, edges: Sequence[EdgeOptions]) -> dict[str, EdgeOptions]:
    """A member's inputs that edges change → those edges."""
    into = [edge for edge in edges if port(edge.to)[0] == member]
    return {port(edge.to)[1]: edge for edge in into if edge.reshape is not None or edge.cast is not None}
