"""ONNX models as networks that TensorRT's parser made of them, lowered again and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.network import ParsedNetwork
from trtpipe.networks.reading import read_network
from trtpipe.runners.graphs import RunnableModel, runnable_model
from trtpipe.runners.readback import Readback, compare_network
from trtpipe.toolchains.installed import installed_toolchain
from trtpipe.toolchains.parsing import parse_network

RTX = installed_toolchain("tensorrt_rtx")
needs_rtx = pytest.mark.skipif(RTX is None, reason="needs TensorRT-RTX")

_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16}


@dataclass(frozen=True)
class Parsed:
    """A model, its network, and inputs for both."""

    typed: RunnableModel
    network: ParsedNetwork
    folder: Path
    feeds: list[dict[str, np.ndarray]]

    def compared(self, network: ParsedNetwork | None = None, *, locate: bool = False) -> Readback:
        lowered = onnx_of(network or self.network)
        return compare_network(self.typed, lowered, self.folder, self.feeds, locate=locate, threads=1)


def parsed(model: onnx.ModelProto | Path, folder: Path, feeds=None) -> Parsed:
    """The network that TensorRT-RTX makes of a model."""
    path = model if isinstance(model, Path) else folder / "source.onnx"
    if not isinstance(model, Path):
        onnx.save(model, path)
    place = folder / "parsed"
    place.mkdir()
    parse_network(RTX, path, place)
    typed = runnable_model(path)
    given = feeds if feeds is not None else [random_feed(typed.proto, size) for size in (2, 3)]
    return Parsed(typed, read_network(place), place, given)


def random_feed(proto: onnx.ModelProto, dynamic: int) -> dict[str, np.ndarray]:
    """Random inputs; dynamic sizes are `dynamic`, whole numbers 0 or 1, so that they may be indices."""
    rng = np.random.default_rng(dynamic)
    constants = {one.name for one in proto.graph.initializer}
    feed = {}
    for value in proto.graph.input:
        if value.name not in constants:
            kind = value.type.tensor_type
            shape = [dim.dim_value if dim.dim_value > 0 else dynamic for dim in kind.shape.dim]
            feed[value.name] = _values(rng, kind.elem_type, shape)
    return feed


def _values(rng, kind, shape):
    if kind == onnx.TensorProto.BFLOAT16:
        import ml_dtypes

        return rng.normal(size=shape).astype(ml_dtypes.bfloat16)
    dtype = np.dtype(_TYPES[kind])
    if dtype.kind == "f":
        return np.asarray(rng.normal(size=shape) * 1.5).astype(dtype)
    return np.asarray(rng.integers(0, 2, size=shape)).astype(dtype)
