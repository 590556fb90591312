"""Networks of TensorRT's layers, put together by hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from trtpipe.networks.contents import Contents, Piece
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.network import Conditional, Layer, Loop, ParsedNetwork, Tensor, WeightsRef
from trtpipe.runners.comparison.readback import network_model
from trtpipe.runners.cpu.onnxruntime import open_runner

NAMES = {"float8_e4m3fn": "float8e4m3fn"}
"""TensorRT's names of types, where ours are others."""


@dataclass
class Network:
    """A network in the making; inputs are arrays, whose types and shapes its tensors have."""

    feed: dict[str, np.ndarray]
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    loops: tuple[Loop, ...] = ()
    conditionals: tuple[Conditional, ...] = ()
    folder: Path | None = None
    """Where the weights are written, when there are any."""
    weights: bytes = b""
    pieces: dict[str, Piece] = field(default_factory=dict)

    def __post_init__(self):
        for name, array in self.feed.items():
            self.tensor(name, array.shape, str(array.dtype))

    def tensor(self, name, shape, dtype="float32"):
        self.tensors[name] = Tensor(name, dtype, tuple(shape), False, True, ())

    def add(
        self, layer, inputs, output, dims, dtype="float32", /, *, loop=None, conditional=None, **attributes
    ):
        names = tuple(None if one == "-" else one for one in inputs.split())
        made = (output,) if output else ()
        if output:
            self.tensor(output, dims, dtype)
        number = len(self.layers)
        about = (
            number,
            f"{layer} {number}",
            layer,
            None,
            "",
            names,
            made,
            attributes,
            {},
            loop,
            conditional,
            None,
            {},
        )
        self.layers.append(Layer(*about))

    def held(self, array):
        """A reference to an array among the weights."""
        written = np.ascontiguousarray(array).tobytes()
        digest = hashlib.sha256(written).hexdigest()
        self.weights += b"\0" * (-len(self.weights) % 64)
        self.pieces[digest] = Piece(len(self.weights), len(written))
        self.weights += written
        return WeightsRef(NAMES.get(array.dtype.name, array.dtype.name), array.size, digest)

    def constant(self, name, array):
        """A constant layer that makes a tensor."""
        array = np.asarray(array)
        self.add(
            "CONSTANT",
            "",
            name,
            array.shape,
            NAMES.get(array.dtype.name, array.dtype.name),
            shape=array.shape,
        )
        self.layers[-1] = replace(self.layers[-1], weights={"weights": self.held(array)})

    def weigh(self, **arrays):
        """Gives the last layer weights by attribute."""
        refs = {name: self.held(array) for name, array in arrays.items()}
        self.layers[-1] = replace(self.layers[-1], weights=refs)

    def parsed(self, *outputs):
        return ParsedNetwork(
            "tensorrt_rtx", "1.7.1", "net", tuple(self.feed), outputs, self.tensors, tuple(self.layers), self.loops,
            self.conditionals, (), (), self.contents(),
        )  # fmt: skip

    def contents(self):
        if not self.weights:
            return Contents(Path("none"), {})
        assert self.folder is not None, "weights need a place"
        path = self.folder / "parsed.weights"
        path.write_bytes(self.weights)
        return Contents(path, self.pieces)

    def run(self, *outputs):
        lowered = onnx_of(self.parsed(*outputs))
        assert lowered.unread == ()
        assert lowered.contradictions == ()
        with open_runner(network_model(lowered, self.folder or Path()), threads=1) as runner:
            found = runner.infer({name: self.feed[name] for name in runner.inputs})
        return [found[name] for name in outputs]
