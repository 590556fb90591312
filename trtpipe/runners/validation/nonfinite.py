"""Finds where infinities and NaN begin: the first tensors of a half-precision model that are not finite.

An overflow inside a model may not be visible in its outputs (a softmax hides it). A copy of the model therefore gets
one scalar output for each float tensor, sum(0 * x), which is NaN exactly if an element is not finite: all tensors are
watched in one run with the memory of one. Tensors that are not finite in the reference either (masks of -inf) are
intended and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import TrtpipeError
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import OnnxRuntimeRunner, open_runner

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

_NAMED = 5
_WATCH = "/is finite"


@dataclass(frozen=True)
class Watch:
    """The watched model, running; `open_watch` makes it."""

    model: RunnableModel
    runner: OnnxRuntimeRunner
    threads: int

    def first_nonfinite(
        self, feed: Mapping[str, Array], reference: RunnableModel | None, reference_feed: Mapping[str, Array]
    ) -> list[dict[str, Json]]:
        """Up to five tensors that are not finite while every tensor their node reads is, in graph order.

        Records with `tensor`, `op`, `node`, `what` (`overflow` or `NaN`), `elements`, and `reference_max`, the
        largest magnitude in the reference, None when it has no such tensor. Raises StepFailed.
        """
        told = self.runner.infer(feed)
        broken = {name.removesuffix(_WATCH) for name, value in told.items() if np.isnan(value).any()}
        makers = [node for node in self.model.proto.graph.node if not broken.isdisjoint(node.output)]
        first = [
            (name, node)
            for node in makers
            if broken.isdisjoint(node.input)
            for name in node.output
            if name in broken
        ]
        if not first:
            return []
        names = [name for name, _ in first]
        sizes = _largest(reference, names, reference_feed, self.threads)
        meant = {name for name, size in sizes.items() if not np.isfinite(size)}
        named = [(name, node) for name, node in first if name not in meant][:_NAMED]
        values = _values(self.model, [name for name, _ in named], feed, self.threads)
        return [_described(name, node, values[name], sizes.get(name)) for name, node in named]


@contextmanager
def open_watch(model: RunnableModel, *, threads: int = 0) -> Iterator[Watch | None]:
    """The model with every float tensor watched; None when it computes nothing in float16. Raises ModelError."""
    floats = model.floats()
    if not model.halves():
        yield None
        return
    with open_runner(_watched(model, [name for name, _ in floats]), threads=threads) as runner:
        yield Watch(model, runner, threads)


def _watched(model: RunnableModel, names: list[str]) -> RunnableModel:
    import onnx
    from onnx import helper

    watched = model.only_outputs([f"{name}{_WATCH}" for name in names])
    zero = helper.make_tensor(_WATCH, onnx.TensorProto.FLOAT, [], [0.0])
    watched.proto.graph.initializer.append(zero)
    for name in names:
        wide, none = f"{name}{_WATCH}/wide", f"{name}{_WATCH}/none"
        watched.proto.graph.node.extend(
            [
                helper.make_node("Cast", [name], [wide], to=onnx.TensorProto.FLOAT),
                helper.make_node("Mul", [wide, _WATCH], [none]),
                helper.make_node("ReduceSum", [none], [f"{name}{_WATCH}"], keepdims=0),
            ]
        )
    return watched


def _described(name: str, node: onnx.NodeProto, array: Array, size: float | None) -> dict[str, Json]:
    wide = np.asarray(array, np.float64)
    nan = int(np.isnan(wide).sum())
    return {
        "tensor": name,
        "op": node.op_type,
        "node": node.name,
        "what": "NaN" if nan else "overflow",
        "elements": nan or int(np.isinf(wide).sum()),
        "reference_max": size,
    }


def _largest(
    reference: RunnableModel | None, names: list[str], feed: Mapping[str, Array], threads: int
) -> dict[str, float]:
    shared = [name for name in names if reference is not None and name in reference.tensors()]
    if reference is None or not shared:
        return {}
    try:
        values = _values(reference, shared, feed, threads)
    except TrtpipeError:
        return {}  # without the reference's values, the tensors are reported without magnitudes
    return {name: float(np.abs(np.asarray(v, np.float64)).max(initial=0.0)) for name, v in values.items()}


def _values(
    model: RunnableModel, names: list[str], feed: Mapping[str, Array], threads: int
) -> dict[str, Array]:
    if not names:
        return {}
    with open_runner(model.only_outputs(names), threads=threads) as runner:
        return runner.infer(feed)
