"""What cannot be read of a layer is written down with the reason, and the rest of the network is read all the same."""

from __future__ import annotations

import enum
import math
import types
from dataclasses import dataclass, field

import pytest

from trtpipe.networks.network import TensorName
from trtpipe.networks.reader import read_network
from trtpipe.toolchains.engine_worker.network_reading import write_network

LayerType = enum.Enum("LayerType", ["ODD", "UNHEARD_OF"])
OddKind = enum.Enum("OddKind", ["FIRST"])


class DataType(enum.Enum):
    FLOAT, BF16 = range(2)

    def __int__(self):
        return self.value


class ITensor:
    def __init__(self, name):
        self.name, self.dtype, self.shape = name, DataType.FLOAT, Dims([2])
        self.is_shape_tensor, self.is_execution_tensor = False, True

    def get_dimension_name(self, axis):
        return ""


class Dims(list):
    """A list whose length may be unknown, as TensorRT's."""

    def __len__(self):
        if self == ["unknown"]:
            raise ValueError("__len__() should return >= 0")
        return super().__len__()


class Weights:
    """An object that wraps nothing, where TensorRT's has the address of a structure."""

    __slots__ = ("address",)
    dtype, size = DataType.BF16, 3


@dataclass
class ILayer:
    name: str
    type: object
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    metadata: str = ""

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))
    num_ranks = property(lambda self: 1)

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs[index]


class IOddLayer(ILayer):
    """A layer of a later TensorRT, with everything that a property can do."""

    count = property(lambda self: 3)
    limit = property(lambda self: -math.inf)
    kind = property(lambda self: OddKind.FIRST)
    element = property(lambda self: DataType.BF16)
    unknown_dims = property(lambda self: Dims(["unknown"]))
    dims = property(lambda self: Dims([1, -1]))
    mask = property(lambda self: self.inputs[0])
    plugin = property(lambda self: object())
    kernel = property(lambda self: Weights())
    broken = property(lambda self: 1 / 0)
    logged = property(lambda self: LOGGED.append("it was asked in vain") or 7)

    def is_asked(self):
        return True

    def set_secret(self, value):
        """What can be set and not be asked for."""

    def set_count(self, value):
        """What is a property."""


LOGGED: list[str] = []


def heard():
    said = LOGGED[:]
    LOGGED.clear()
    return said


class Network:
    name, num_inputs, num_outputs = "net", 1, 1

    def __init__(self):
        x, y, z = ITensor("x"), ITensor("y"), ITensor("z")
        self.inputs, self.outputs_ = [x], [z]
        self.layers = [
            ILayer("odd", LayerType.ODD, [x, None], [y], "[ONNX Layer: a[0]]"),
            ILayer("new", LayerType.UNHEARD_OF, [y], [z]),
        ]
        self.num_layers = len(self.layers)

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs_[index]

    def get_layer(self, index):
        return self.layers[index]


@pytest.fixture
def network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trt = types.SimpleNamespace(
        __name__="tensorrt_rtx", __version__="9.0", ILayer=ILayer, IOddLayer=IOddLayer, ITensor=ITensor, Dims=Dims,
        Permutation=Dims, DataType=DataType, Weights=Weights,
    )  # fmt: skip
    read = write_network(trt, Network(), dtypes={"FLOAT": "float32"}, warnings=["careful"], hear=heard)
    assert read == {"layers": 2, "unread": 2, "weights_bytes": 0}
    return read_network(tmp_path)


def test_attributes_of_a_later_tensorrt_come_along(network):
    odd, _ = network.layers

    assert odd.attributes == {
        "count": 3, "limit": -math.inf, "kind": "FIRST", "element": "bf16", "unknown_dims": None, "dims": (1, -1),
        "mask": TensorName("x"), "is_asked": True,
    }  # fmt: skip
    assert (odd.node, odd.inputs, odd.outputs) == ("a[0]", ("x", None), ("y",))


def test_what_cannot_be_read_is_told_with_the_reason(network):
    odd, new = network.layers

    assert odd.unread == {
        "broken": "ZeroDivisionError: division by zero",
        "kernel": "this TensorRT keeps weights of bf16 in another way than is known here",
        "logged": "it was asked in vain",
        "plugin": "its value is an object of object",
        "set_secret": "TensorRT's Python API does not tell it",
    }
    assert new.unread == {"attributes": "TensorRT's Python API has no class for layers of this type"}
    assert network.unread == (odd, new)
