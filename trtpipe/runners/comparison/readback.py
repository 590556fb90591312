"""Compares a typed model with the network that TensorRT's parser made of it, both run in ONNX Runtime.

The network is lowered to ONNX first (`networks.lowering`). The outputs are compared, and, to find the first tensor that
differs, the tensors that kept their name. The error is the larger of two: |a - r| / |r| in 2-norms, and the largest
difference relative to the largest value. The bound for rounding is the unit roundoff of the narrowest type that the
typed model computes in, times the root of the number of roundings, since they add up like random steps; at least four
roundings are assumed, and the bound is never less than 1e-4, since sums are computed in a different order. Integers and
booleans must be equal if nothing is rounded to less than float32; otherwise the share that may differ is that bound.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trtpipe.canonical.tensors import external_entries, is_external, tensors_of
from trtpipe.errors import TrtpipeError
from trtpipe.metrics.growth import GROWTH, UNITS, TensorError
from trtpipe.metrics.metrics import json_number
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.shapes import format_shape

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json
    from trtpipe.networks.lowering.result import Lowered

Feed: TypeAlias = "Mapping[str, Array]"

LEAST = 1e-4
"""The bound for float32 computation."""
_NARROW = ("float16", "bfloat16")
_LOT = 64  # the most tensors that are compared in one run


@dataclass(slots=True)
class TensorDifference:
    """A tensor of the typed model, and its difference from the network's."""

    tensor: str
    node: str | None
    """The ONNX node that makes it."""
    bound: float
    measured: TensorError = field(default_factory=TensorError)
    elements: int = 0
    unequal: int = 0
    """Elements that are not the same, where one is not finite or both are whole numbers."""
    misfit: str = ""
    """Why the two cannot be compared: different shapes or types."""

    def add(self, expected: Array, actual: Array) -> None:
        """Adds a batch."""
        expected, actual = np.asarray(expected), np.asarray(actual)
        if expected.dtype != actual.dtype:
            self.misfit = f"is {actual.dtype} instead of {expected.dtype}"
        elif expected.shape != actual.shape:
            self.misfit = f"is {format_shape(actual.shape)} instead of {format_shape(expected.shape)}"
        else:
            self.elements += expected.size
            if expected.dtype.kind in "biu":
                self.unequal += int(np.count_nonzero(expected != actual))
                return
            self.measured.add(expected, actual)
            self.unequal += _unlike(expected, actual)

    @property
    def error(self) -> float:
        """The larger of the two errors; infinite if shapes or non-finite elements differ."""
        if self.misfit or self.measured.onset:
            return float("inf")
        largest = self.measured.largest or 1.0
        share = self.unequal / self.elements if self.elements else 0.0
        return max(self.measured.relative(), self.measured.largest_error / largest, share)

    @property
    def departs(self) -> bool:
        """Whether the difference is more than rounding."""
        exact = self.bound <= LEAST and self.unequal > 0
        return exact or self.error > self.bound

    def to_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        return {
            "tensor": self.tensor,
            "node": self.node,
            "error": json_number(self.error),
            "bound": self.bound,
            "unequal": self.unequal,
            "misfit": self.misfit,
            "departs": self.departs,
        }


@dataclass(frozen=True, slots=True)
class Readback:
    """The result of comparing a typed model with its network."""

    outputs: tuple[TensorDifference, ...]
    not_compared: Mapping[str, str]
    """Output → why: it depends on a layer that could not be read, or ONNX Runtime cannot run it."""
    first: TensorDifference | None
    """The first tensor that differs by more than rounding, if it was searched for."""
    share: float
    """The share of layers that were read."""
    twins: Mapping[str, str]
    contradictions: tuple[str, ...] = ()
    """Tensors whose type or shape in the lowered network contradicts TensorRT: equal outputs prove nothing then."""

    @property
    def equal(self) -> bool:
        """Whether every output was compared, none departs, and TensorRT agrees about every tensor's type and shape."""
        compared = not self.not_compared and not self.contradictions
        return compared and not any(one.departs for one in self.outputs)


def network_model(lowered: Lowered, folder: Path) -> RunnableModel:
    """A lowered network prepared for ONNX Runtime; `folder` contains its weights."""
    import onnx

    proto = onnx.ModelProto()
    proto.CopyFrom(lowered.model)
    place = folder.resolve()
    for tensor in tensors_of(proto):
        if is_external(tensor):
            location = external_entries(tensor)["location"]
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = os.path.relpath(location, place)
    return RunnableModel(proto, place, place / "network")


def bound_of(typed: RunnableModel, forced: Collection[str] = ()) -> float:
    """The largest difference that rounding in the types of a typed model explains.

    `forced` are dequantized tensors that both models share, so the roundings before them do not count.
    """
    known = typed.values
    nodes = typed.proto.graph.node
    exact = {node.input[0] for node in nodes if node.input and node.output[0] in forced}
    quantized = {name for node in nodes if "Quantize" in node.op_type for name in node.output} - exact
    units = [
        UNITS.get(info.dtype, 0.0)
        for name, info in known.items()
        if info.dtype in _NARROW or name in quantized
    ]
    return max(LEAST, max(GROWTH, math.sqrt(len(units))) * max(units, default=0.0))


def compare_lowered(
    typed: RunnableModel,
    lowered: Lowered,
    folder: Path,
    feeds: Sequence[Feed],
    *,
    locate: bool = False,
    threads: int = 0,
) -> Readback:
    """Compares outputs on the feeds, and with `locate` the tensors that both name.

    Raises ModelError or StepFailed when the typed model cannot be run.
    """
    network, bound = network_model(lowered, folder), bound_of(typed)
    wanted = [name for name in typed.outputs() if name in network.outputs()]
    not_compared = {
        name: "it depends on a layer that cannot be read" for name in typed.outputs() if name not in wanted
    }
    found = _places(typed, wanted, bound)
    try:
        _measure(typed, network, found, feeds, threads)
    except _NetworkFails as error:
        not_compared |= dict.fromkeys(wanted, str(error))
        found = []
    departs = any(one.departs for one in found)
    first = first_departing(typed, network, bound, feeds, threads) if locate and departs else None
    return Readback(
        tuple(found), not_compared, first, lowered.share, dict(twins_in(typed)), lowered.contradictions
    )


class _NetworkFails(Exception):
    """ONNX Runtime cannot run the lowered network."""


def _measure(
    typed: RunnableModel,
    network: RunnableModel,
    places: Sequence[TensorDifference],
    feeds: Iterable[Feed],
    threads: int,
) -> None:
    names = [one.tensor for one in places]
    if not names:
        return
    with open_runner(typed.only_outputs(names), threads=threads) as reference, ExitStack() as stack:
        with _said_of_the_network():
            opened = open_runner(network.only_outputs(names), threads=threads)
            runner = stack.enter_context(opened)
        for feed in feeds:
            expected = reference.infer(_fed(feed, reference.inputs))
            with _said_of_the_network():
                actual = runner.infer(_fed(feed, runner.inputs))
            for one in places:
                one.add(expected[one.tensor], actual[one.tensor])


@contextmanager
def _said_of_the_network() -> Iterator[None]:
    try:
        yield
    except TrtpipeError as error:
        raise _NetworkFails(error.problems[0].fact) from error


def _places(typed: RunnableModel, names: Iterable[str], bound: float) -> list[TensorDifference]:
    """Tensors by name, each with the node of the typed model that makes it."""
    makers = {
        name: node.name or node.op_type for node in typed.proto.graph.node for name in node.output if name
    }
    return [TensorDifference(name, makers.get(name), bound) for name in names]


def _fed(feed: Feed, inputs: Iterable[str]) -> dict[str, Array]:
    return {name: feed[name] for name in inputs if name in feed}


def first_departing(
    typed: RunnableModel,
    network: RunnableModel,
    bound: float,
    feeds: Sequence[Feed],
    threads: int,
) -> TensorDifference | None:
    """The first tensor, in the typed model's order, whose difference is more than rounding."""
    for lot in _lots(typed, network):
        places = _places(typed, lot, bound)
        try:
            _measure(typed, network, places, feeds, threads)
        except _NetworkFails:
            return None
        departing = next((one for one in places if one.departs), None)
        if departing is not None:
            return departing
    return None


def _lots(typed: RunnableModel, network: RunnableModel) -> Iterator[list[str]]:
    shared = network.tensors()
    names = [name for node in typed.proto.graph.node for name in node.output if name in shared]
    for start in range(0, len(names), _LOT):
        yield names[start : start + _LOT]


def _unlike(expected: Array, actual: Array) -> int:
    """Elements where one value is not finite and the other is different."""
    fine = np.isfinite(expected) & np.isfinite(actual)
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    return int(np.count_nonzero(~fine & ~same))
