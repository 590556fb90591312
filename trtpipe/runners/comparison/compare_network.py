"""Compares a typed model with the network that TensorRT's parser made of it, tensor by tensor, on the validation data.

The network is lowered to ONNX (`networks.lowering`), and both run in ONNX Runtime. All tensors that both have by name,
outputs included, are compared, as many at a time as fit into memory, batch by batch. If ONNX Runtime cannot run the
whole network, the tensors before the failing node are compared.

A tensor is reported when its error is more than `readback`'s bound for rounding and, unless it is an output, more than
`GROWTH` times the error of the tensors directly before it, because a layer is not responsible for the error of its
inputs.

Types, ranks and sizes are compared with the model as well, also of tensors that cannot be computed
(`networks.matches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.canonical.made_nodes import called
from trtpipe.errors import TrtpipeError
from trtpipe.layers.parameters import numpy_type
from trtpipe.metrics.growth import GROWTH
from trtpipe.metrics.metrics import json_number
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.lowering.subgraphs import Nesting
from trtpipe.networks.matches import Misfit, misfits
from trtpipe.networks.reader import NETWORK, WEIGHTS, read_network_files
from trtpipe.runners.comparison.compare_all import Feeds, data_of, in_lots, tensors_before
from trtpipe.runners.comparison.readback import TensorDifference, bound_of, network_model
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.validation.requests import request_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json
    from trtpipe.networks.lowering.result import Lowered
    from trtpipe.networks.network import ParsedNetwork
    from trtpipe.plan.task import Task


def compare_network(
    task: Task, tell: Callable[[int, int], None] = lambda done, lots: None
) -> dict[str, Json]:
    """The comparison: a record for each tensor in the typed model's order, and all that was not compared.

    `task` is a validation's, with `typed`, `reference` (the model that was typed) and `parsed` as inputs, and `golden`
    where the data are recorded inputs. Raises ModelError, SpecError or StepFailed.
    """
    request = request_of(task)
    typed, reference = runnable_model(request.typed), runnable_model(request.reference)
    files = task.inputs["parsed"]
    parsed = read_network_files(files[NETWORK], files[WEIGHTS])
    lowered = onnx_of(parsed)
    network = network_model(lowered, files[WEIGHTS].parent)
    with data_of(task, typed, reference) as feeds:
        comparison = _Comparison(typed, network, bound_of(typed), feeds, request.threads)
        lots = list(in_lots(comparison.shared(), typed, feeds))
        for done, lot in enumerate(lots, 1):
            comparison.compare(lot)
            tell(done, len(lots))
        comparison.compare_outputs()
    return {**_record(parsed, lowered, comparison, misfits(typed.proto, parsed)), "lots": len(lots)}


@dataclass
class _Comparison:
    """Compares a typed model with its lowered network, group by group."""

    typed: RunnableModel
    network: RunnableModel
    bound: float
    feeds: Feeds
    threads: int
    samples: int = 0
    found: dict[str, TensorDifference] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Tensors of the network that ONNX Runtime cannot compute, and why."""

    def shared(self) -> list[str]:
        """The tensors that both have, in the typed model's order."""
        there = self.network.tensors()
        return [name for node in self.typed.proto.graph.node for name in node.output if name in there]

    @cached_property
    def makers(self) -> Mapping[str, onnx.NodeProto]:
        """The node of the typed model that makes each tensor."""
        return {name: node for node in self.typed.proto.graph.node for name in node.output if name}

    @cached_property
    def quantized(self) -> Mapping[str, str]:
        """The tensors that a quantizing node makes, with their types."""
        known = self.typed.values
        return {
            name: known[name].dtype
            for name, node in self.makers.items()
            if name in known and "Quantize" in node.op_type
        }

    def compare(self, lot: Sequence[str]) -> None:
        """Measures a group; if the network cannot be run to its end, the tensors before the failing node."""
        why = self._measure(lot)
        if not why:
            return
        if len(lot) == 1:
            self.broken[lot[0]] = why
            return
        middle = len(lot) // 2
        self.compare(lot[:middle])
        if any(name in self.broken for name in lot[:middle]):
            self.broken.update(dict.fromkeys(lot[middle:], why))
        else:
            self.compare(lot[middle:])

    def compare_outputs(self) -> None:
        """Tries outputs after the failing node one by one, because they need not depend on it."""
        for name in self.typed.outputs():
            if name in self.broken:
                self.broken[name] = self._measure([name])
                if not self.broken[name]:
                    del self.broken[name]

    def _measure(self, lot: Sequence[str]) -> str:
        """Measures a group on all of the data; returns why the network cannot be run, or an empty text."""
        places = {name: TensorDifference(name, None, self.bound) for name in lot}
        samples = 0
        with ExitStack() as opened:
            typed = opened.enter_context(open_runner(self.typed.upto(lot), threads=self.threads))
            try:
                with _of_the_network():
                    network = opened.enter_context(open_runner(self.network.upto(lot), threads=self.threads))
                for feed, _ in self.feeds():
                    with _of_the_network():
                        actual = network.infer(_fed(feed, network.inputs))
                    expected = typed.infer(_fed(feed, typed.inputs))
                    samples += max((array.shape[0] for array in feed.values() if array.ndim), default=1)
                    for name, place in places.items():
                        place.add(*self._numbers(name, expected[name], actual[name]))
            except _NetworkFails as error:
                return str(error)
        self.samples = samples
        self.found.update(places)
        return ""

    def _numbers(self, name: str, expected: Array, actual: Array) -> tuple[Array, Array]:
        """Quantized values as numbers, so that an error of one quantization step counts as one."""
        dtype = self.quantized.get(name, "")
        if not dtype or expected.dtype != actual.dtype:
            return expected, actual
        # ONNX Runtime returns the bits of such types
        if dtype.startswith("float8") and expected.dtype == np.uint8:
            return expected.view(numpy_type(dtype)), actual.view(numpy_type(dtype))
        if expected.dtype.name == dtype:
            return expected.astype(np.float32), actual.astype(np.float32)
        return expected, actual


class _NetworkFails(Exception):
    """ONNX Runtime cannot run the lowered network."""


@contextmanager
def _of_the_network() -> Iterator[None]:
    try:
        yield
    except TrtpipeError as error:
        raise _NetworkFails(error.problems[0].fact) from error


def _fed(feed: Mapping[str, Array], inputs: Iterable[str]) -> dict[str, Array]:
    return {name: feed[name] for name in inputs if name in feed}


# -- results


def _record(
    parsed: ParsedNetwork, lowered: Lowered, comparison: _Comparison, unfit: Sequence[Misfit]
) -> dict[str, Json]:
    errors = {name: one.error for name, one in comparison.found.items()}
    tensors = [_tensor(comparison, parsed, errors, name) for name in comparison.shared() if name in errors]
    not_run = _not_run(parsed, lowered, comparison)
    departing = [one["tensor"] for one in tensors if one["departs"]]
    return {
        "layers": lowered.layers,
        "layers_read": lowered.layers - len(lowered.unread),
        "unread": [asdict(one) for one in lowered.unread],
        "unread_by_type": dict(sorted(lowered.unread_by_type.items())),
        "notes": list(lowered.notes),
        "warnings": [one.message for one in parsed.warnings],
        "tensors": tensors,
        "outputs": list(comparison.typed.outputs()),
        "first": departing[0] if departing else None,
        "misfits": [one.to_json() for one in unfit],
        "contradictions": list(lowered.contradictions),
        "not_run": not_run,
        "equal": not (departing or unfit or lowered.contradictions or not_run),
        "samples": comparison.samples,
        "twins": dict(twins_in(comparison.typed)),
    }


def _tensor(
    comparison: _Comparison, parsed: ParsedNetwork, errors: Mapping[str, float], name: str
) -> dict[str, Json]:
    """A tensor's record with its producers: the ONNX node and TensorRT's layer."""
    found, made = comparison.found[name], comparison.makers[name]
    layer = parsed.producers.get(name)
    inputs, _ = tensors_before(name, comparison.makers, set(errors), {})
    before = max((errors[one] for one in inputs), default=0.0)
    departs = found.departs and (name in comparison.typed.outputs() or found.error > GROWTH * before)
    return {
        **found.to_json(),
        "inputs_error": json_number(before),
        "departs": departs,
        "op": made.op_type,
        "node": made.name or made.op_type,
        "called": called(made.name, made.op_type, comparison.typed.proto.graph.node) if departs else None,
        "layer": None if layer is None else {"number": layer.number, "name": layer.name, "type": layer.type},
    }


def _not_run(parsed: ParsedNetwork, lowered: Lowered, comparison: _Comparison) -> list[dict[str, Json]]:
    """The tensors that could not be compared (outputs by name), with the reasons."""
    found: list[dict[str, Json]] = []
    for name in comparison.typed.outputs():
        if name in lowered.cut:
            found.append({"name": f"output '{name}'", "why": _before(parsed, lowered, name)})
        elif name in comparison.broken:
            found.append({"name": f"output '{name}'", "why": comparison.broken[name]})
        elif name not in comparison.found:
            found.append({"name": f"output '{name}'", "why": "the network has no tensor of that name"})
    between = [name for name in comparison.broken if name not in comparison.typed.outputs()]
    if between:
        why = comparison.broken[between[0]]
        found.append({"name": f"{len(between)} tensors from '{between[0]}' on", "why": why})
    return found


def _before(parsed: ParsedNetwork, lowered: Lowered, output: str) -> str:
    """The unreadable layers that an output depends on."""
    needed = Nesting(parsed).needed([output])
    names = {(parsed.layers[number].name, parsed.layers[number].type) for number in needed}
    missing = [one for one in lowered.unread if (one.name, one.type) in names]
    if not missing:
        return "it depends on a layer that cannot be read"
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"it needs layer '{missing[0].name}' ({missing[0].type}), which cannot be read{more}: {missing[0].why}"
