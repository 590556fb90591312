"""Compares every intermediate tensor of a typed model with the model that it was typed from, on the validation data.

Precisions keep the names of tensors: the output of a source node has the same name in the typed model, and tensors of
inserted nodes (casts, Q and DQ) have new names. Both models run with some tensors as additional outputs, as many at a
time as fit into memory; the data are read once for each such group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.made_nodes import Caller
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import StepFailed
from trtpipe.metrics.growth import Place, first_divergence, first_nonfinite, grown
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import nbytes_of_info, values_at
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.validation.references import read_golden
from trtpipe.runners.validation.requests import as_in_source, dataset_of, request_of, value_inputs
from trtpipe.shapes import format_shape

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

LOT_BYTES = 256 << 20
"""Bytes of reference tensors compared at a time, for one batch; a larger tensor is a group of its own."""
_FLOATS = ("float16", "float32", "float64", "bfloat16")
_ENGINE = "an engine shows its inputs and outputs only, and one that was built to show more is another engine"

Feeds: TypeAlias = "Callable[[], Iterator[tuple[Mapping[str, Array], Array | None]]]"
"""A function that yields the batches from the first one on, each with its labels."""


def compare_all(task: Task, tell: Callable[[int, int], None] = lambda done, lots: None) -> dict[str, Json]:
    """The comparison: a record for each tensor in topological order, the first divergence, what was not compared.

    `task` is a validation's, with `typed` and `reference` (the model that was typed) as inputs, and `golden` where the
    data are recorded inputs. Raises ModelError, SpecError or StepFailed.
    """
    request = request_of(task)
    typed, reference = runnable_model(request.typed), runnable_model(request.reference)
    with data_of(task, typed, reference) as feeds:
        places, unmatched = match_tensors(typed, reference)
        comparison = _Comparison(typed, reference, feeds, request.threads)
        lots = list(comparison.lots(places))
        for done, lot in enumerate(lots, 1):
            comparison.compare(lot)
            tell(done, len(lots))
    found = grown(places)
    divergence, nonfinite = first_divergence(found), first_nonfinite(found)
    return {
        "tensors": [one.to_json() for one in found],
        "divergence": divergence.place.tensor if divergence else None,
        "divergence_node": Caller(typed.proto.graph.node)(divergence.place.node) if divergence else None,
        "nonfinite": nonfinite.place.tensor if nonfinite else None,
        "nonfinite_node": Caller(typed.proto.graph.node)(nonfinite.place.node) if nonfinite else None,
        "unmatched": unmatched,
        "samples": comparison.samples,
        "lots": len(lots),
        "twins": dict(twins_in(typed)),
        "not_run": [{"name": "the engine's tensors", "why": _ENGINE}],
    }


def match_tensors(typed: RunnableModel, reference: RunnableModel) -> tuple[list[Place], list[str]]:
    """The float tensors that both have by name, in the typed model's order; and those that only the reference has."""
    known, source = typed.values, reference.values
    shared = {
        name
        for name in reference.tensors() & typed.tensors()
        if name in source and source[name].dtype in _FLOATS
    }
    makers = {name: node for node in typed.proto.graph.node for name in node.output if name}
    places = []
    for node in typed.proto.graph.node:
        for name in node.output:
            if name in shared:
                inputs, dtypes = tensors_before(name, makers, shared, known)
                dtype = known[name].dtype if name in known else "undefined"
                does = _behind_casts(node, makers, shared)
                places.append(Place(name, does.op_type, does.name, dtype, inputs, (*dtypes, dtype)))
    return places, sorted(reference.tensors() - typed.tensors())


def tensors_before(
    name: str,
    makers: Mapping[str, onnx.NodeProto],
    shared: set[str],
    known: Mapping[str, TensorInfo],
) -> tuple[list[str], list[str]]:
    """The shared tensors before a tensor, and the types on the way."""
    inputs: dict[str, None] = {}
    dtypes: dict[str, None] = {}
    pending = [name]
    seen = set(pending)
    while pending:
        for read in filter(None, makers[pending.pop()].input):
            if read in known:
                dtypes[known[read].dtype] = None
            if read in shared:
                inputs[read] = None
            elif read in makers and read not in seen:
                seen.add(read)
                pending.append(read)
    return list(inputs), list(dtypes)


def _behind_casts(
    node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], shared: set[str]
) -> onnx.NodeProto:
    """The node before a chain of casts."""
    while node.op_type == "Cast" and node.input[0] in makers and node.input[0] not in shared:
        node = makers[node.input[0]]
    return node


def in_lots(names: Iterable[str], model: RunnableModel, feeds: Feeds) -> Iterator[list[str]]:
    """Tensors of a model in groups that fit into memory together for one batch. Raises StepFailed without a batch."""
    first = next(feeds(), None)
    if first is None:
        raise StepFailed(Code.NO_SAMPLES, "the validation data hold no batch")
    shapes = {name: array.shape for name, array in first[0].items()}
    inferred = infer_at(model.proto, shapes).values
    lot: list[str] = []
    taken = 0
    for name in names:
        size = nbytes_of_info(inferred.get(name))
        size = LOT_BYTES if size is None else size
        if lot and taken + size > LOT_BYTES:
            yield lot
            lot, taken = [], 0
        lot.append(name)
        taken += size
    if lot:
        yield lot


@dataclass
class _Comparison:
    """Compares two models, group by group."""

    typed: RunnableModel
    reference: RunnableModel
    feeds: Feeds
    threads: int
    samples: int = 0

    def lots(self, places: Sequence[Place]) -> Iterator[list[Place]]:
        """The places in groups whose tensors fit into memory together."""
        known = {place.tensor: place for place in places}
        for names in in_lots(known, self.reference, self.feeds):
            yield [known[name] for name in names]

    def compare(self, lot: Sequence[Place]) -> None:
        """Measures a group on all of the data."""
        names = [place.tensor for place in lot]
        self.samples = 0
        with (
            open_runner(self.typed.only_outputs(names), threads=self.threads) as typed,
            open_runner(self.reference.only_outputs(names), threads=self.threads) as reference,
        ):
            for feed, _ in self.feeds():
                wanted = {name: feed[name] for name in reference.inputs if name in feed}
                expected = reference.infer(wanted)
                actual = typed.infer({name: feed[name] for name in typed.inputs if name in feed})
                self.samples += max((array.shape[0] for array in feed.values() if array.ndim), default=1)
                for place in lot:
                    _same_shape(place.tensor, expected[place.tensor], actual[place.tensor])
                    place.measured.add(expected[place.tensor], actual[place.tensor])


def _same_shape(name: str, expected: Array, actual: Array) -> None:
    if np.shape(expected) != np.shape(actual):
        shape, wanted = format_shape(np.shape(actual)), format_shape(np.shape(expected))
        raise StepFailed(Code.OUTPUT_DIFFERS, f"tensor '{name}' is {shape} instead of the source's {wanted}")


@contextmanager
def data_of(task: Task, typed: RunnableModel, reference: RunnableModel) -> Iterator[Feeds]:
    """A function that yields the data's batches and labels from the beginning. Raises SpecError, StepFailed."""
    request = request_of(task)
    inputs = summarize(typed.proto).inputs
    if "golden" in task.inputs:
        recorded = read_golden(task.input("golden"), [info.name for info in inputs])
        yield lambda: ((run.inputs, run.labels) for run in recorded)
        return
    spec = dataset_of(request, inputs, typed)
    assert spec is not None, "whoever asks has refused a spec without data"
    values = values_at(request.profiles[0], "opt") if request.random and request.profiles else {}
    source = {info.name: info for info in summarize(reference.proto).inputs}
    fed = [as_in_source(source.get(info.name), info) for info in inputs if info.name not in values]
    more = value_inputs(inputs, values)
    with open_dataset(spec, request.resolve, fed, samples=request.samples) as data:

        def feeds() -> Iterator[tuple[Mapping[str, Array], Array | None]]:
            for arrays, labels in data:
                yield {**arrays, **more}, labels

        yield feeds
