"""ONNX models as networks that TensorRT's parser made of them, lowered again and compared."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from trtpipe.digests import digest_file
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.network import ParsedNetwork
from trtpipe.networks.parsed_model import record_of
from trtpipe.networks.reader import read_network
from trtpipe.networks.verdicts import NetworkVerdict, judge_network
from trtpipe.networks.warnings import names_of_dangerous
from trtpipe.runners.comparison.readback import Readback, compare_lowered, network_model
from trtpipe.runners.comparison.readback_run import read_back
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.validation.recordings import RecordedRun, write_recording
from trtpipe.runners.validation.requests import ValidationRequest
from trtpipe.runners.validation.typed_outputs import writing_outputs
from trtpipe.spec.pipeline import ReadbackSpec
from trtpipe.toolchains.engine_worker.parser_runs import parse_network
from trtpipe.toolchains.installed import installed_toolchain

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
        return compare_lowered(self.typed, lowered, self.folder, self.feeds, locate=locate, threads=1)

    def judged(self, network: ParsedNetwork | None = None) -> NetworkVerdict:
        """The verdict that a build would come to, by the steps' own functions; the feeds are a recording.

        Warnings are accepted: they are about the model, and would fail a network whatever it computes.
        """
        asked = network or self.network
        lowered = onnx_of(asked)
        record = json.loads(json.dumps(record_of(self.typed.proto, asked, lowered)))
        onnx.save(network_model(lowered, self.folder).proto, self.folder / "judged.onnx")
        kept, recording = self.folder / "typed.npz", self.folder / "inputs.npz"
        if not recording.exists():
            outputs = [self._typed_outputs(feed, kept) for feed in self.feeds]
            runs = [RecordedRun(feed, made).plain() for feed, made in zip(self.feeds, outputs, strict=True)]
            write_recording(recording, [run for run in runs if run is not None])
        request = ValidationRequest(self.typed.path, recording, True, None, None, threads=1)
        measured = read_back(request, self.folder / "judged.onnx", kept)
        return judge_network(record, measured, ReadbackSpec(accept=tuple(names_of_dangerous())), "")

    def _typed_outputs(self, feed: dict[str, np.ndarray], kept: Path) -> dict[str, np.ndarray]:
        """What the typed model makes of a feed; an archive without outputs has the readback run it, too."""
        with writing_outputs(kept), open_runner(self.typed, threads=1) as runner:
            return runner.infer({name: feed[name] for name in runner.inputs})


def parsed(model: onnx.ModelProto | Path, folder: Path, feeds=None) -> Parsed:
    """The network that TensorRT-RTX makes of a model: of equal models once in a run, as it makes equal networks."""
    place = folder / "parsed"
    if isinstance(model, Path):
        path = model
        place.mkdir()
        parse_network(RTX, path, place)
    else:
        path = folder / "source.onnx"
        onnx.save(model, path)
        _parse_once(path, place)
    typed = runnable_model(path)
    given = feeds if feeds is not None else [random_feed(typed.proto, size) for size in (2, 3)]
    return Parsed(typed, read_network(place), place, given)


def _parse_once(path: Path, place: Path) -> None:
    shared = os.environ.get("TRTPIPE_TESTS_SHARED")
    kept = Path(shared, "parsed", str(digest_file(path)).rpartition(":")[2]) if shared else None
    if kept is not None and kept.exists():
        shutil.copytree(kept, place)
        return
    place.mkdir()
    parse_network(RTX, path, place)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as made, contextlib.suppress(OSError):
            # Another process may have kept the same meanwhile.
            shutil.copytree(place, Path(made, "place"))
            Path(made, "place").rename(kept)


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
