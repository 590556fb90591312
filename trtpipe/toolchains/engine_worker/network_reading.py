"""Writes the network that TensorRT's parser made to parsed.json and parsed.weights, for the worker's action `parse`.

Standard library only, and imported only by the worker, which passes in the module of TensorRT, the network and a table
of names. It is independent of what layers compute: the attributes of a layer are the properties of its class, so new
ones of a later TensorRT are included. What cannot be read is written as `unread` with the reason, never left out.
(Only precision and num_ranks, which have no effect in a strongly typed network on one GPU, are left out.)

parsed.json is one JSON object, equal for equal networks. Layers and the constructs with boundary layers (loops,
conditionals, attentions) refer to each other by number, to tensors by name. A layer has name, type, the ONNX node that
it was made for, inputs and outputs, attributes and weights; `networks/network.py` describes each field. A float that
JSON lacks is {"float": "inf"}, a tensor {"tensor": NAME}, dims without a value null. parsed.weights holds the bytes of
all weights, without duplicates: `contents` gives the position of a digest's (SHA-256) bytes. They are written directly
from TensorRT's memory, never copied as a whole.

Two peculiarities of TensorRT's binding matter here. Boundary layers return an object for their loop or conditional, and
only its name shows whether two objects are the same one: so each gets a unique name while they are read, which is
done last. (An attention is identified by its outputs, because renaming it would rename its layers and tensors.) And
weights of types that NumPy lacks are objects without a buffer: they are read from the C structure in them.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import re
import sys

TYPE_CHECKING = False  # annotations are not evaluated, and importing typing takes milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import ModuleType

    from trtpipe.toolchains.engine_worker import tensorrt_api as api

# ruff: noqa: PTH105, PTH123

SCHEMA, NETWORK, WEIGHTS = 1, "parsed.json", "parsed.weights"
ALIGNMENT, PIECE = 64, 16 << 20
NOT_ATTRIBUTES = {"name", "metadata", "num_inputs", "num_outputs", "num_ranks"}
"""Properties of an attention that have fields of their own here, or say only on how many GPUs it runs."""
CLASSES = {"CONDITIONAL_INPUT": "ifconditionalinput", "CONDITIONAL_OUTPUT": "ifconditionaloutput"}
"""Layer types whose class has another name than theirs."""
PARTS = {  # constructs: attribute → their list in parsed.json; layer type → the field there that names the layer
    "loop": (
        "loops",
        {"TRIP_LIMIT": "trip_limits", "ITERATOR": "iterators", "RECURRENCE": "recurrences", "LOOP_OUTPUT": "outputs"},
    ),
    "conditional": (
        "conditionals",
        {"CONDITION": "conditions", "CONDITIONAL_INPUT": "inputs", "CONDITIONAL_OUTPUT": "outputs"},
    ),
    "attention": ("attentions", {"ATTENTION_INPUT": "input_layers", "ATTENTION_OUTPUT": "output_layers"}),
}  # fmt: skip
TAGGED = ("loop", "conditional")
"""What is told apart by a name that it has for a while."""
NO_VALUE = {
    "block_shape": "Could not get",
    "normalization_quantize_to_type": "is not set by",
    "shape": "only works for static resize layers",
}
"""Attributes that raise when they have no value or an input gives it, and with which words."""
SET_AS_INPUTS = {
    "set_gated_weights", "set_gated_biases", "set_quantization_static", "set_quantization_dynamic_dbl_q",
}  # fmt: skip
"""What sets inputs and properties of a layer (of a mixture of experts), all of which are read as such."""
UNTOLD = {"IDistCollectiveLayer": ("collective_operation", "reduce_op", "root", "groups")}
"""Attributes that the C++ class has and its Python class lacks."""
NODE = re.compile(r"^\[ONNX Layer: (.*)\]$", re.DOTALL)
BITS = {"float4e2m1": 4, "int4": 4, "float8e4m3fn": 8, "float8e8m0": 8, "bfloat16": 16}
"""The element types that NumPy lacks, and the size of one element."""


class Unreadable(Exception):
    """An attribute that cannot be read; the text says why."""


class CWeights(ctypes.Structure):
    """TensorRT's structure `Weights`."""

    _fields_ = (("type", ctypes.c_int32), ("values", ctypes.c_void_p), ("count", ctypes.c_int64))


class Weights:
    """Weights of an attribute: element type, count, and the bytes in TensorRT's memory."""

    def __init__(self, dtype: str, count: int, data: memoryview, owner: object) -> None:
        self.dtype, self.count, self.data = dtype, count, data
        self.owner = owner  # keeps an array alive, whose memory the bytes may be


class WeightsFile:
    """parsed.weights while it is being written."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644)
        self.end = 0
        self.places: dict[str, tuple[int, int]] = {}

    def add(self, weights: Weights) -> dict[str, object]:
        """Write weights to the file; returns a reference to them. Raises OSError."""
        digest = hashlib.sha256(weights.data).hexdigest()
        if digest not in self.places:
            self.write(memoryview(bytes(-self.end % ALIGNMENT)))
            self.places[digest] = (self.end, len(weights.data))
            self.write(weights.data)
        return {"dtype": weights.dtype, "count": weights.count, "digest": digest}

    def write(self, data: memoryview) -> None:
        """Append bytes, in pieces."""
        while data:
            written = os.write(self.fd, data[:PIECE])
            self.end += written
            data = data[written:]

    def contents(self) -> list[dict[str, object]]:
        """The position of each digest's bytes."""
        return [{"digest": one, "offset": at, "size": size} for one, (at, size) in self.places.items()]


class Values:
    """Converts the values of properties to JSON."""

    def __init__(self, trt: ModuleType, dtypes: Mapping[str, str]) -> None:
        self.trt, self.dtypes = trt, dtypes

    def dtype(self, member: api.Member) -> str:
        """ONNX's name of an element type."""
        name = str(member.name)
        return self.dtypes.get(name, name.lower())

    def plain(self, value: object) -> object:
        """A value as JSON, or Weights. Raises Unreadable."""
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if value - value == 0 else {"float": repr(value)}  # otherwise infinite or NaN
        if isinstance(value, self.trt.DataType):
            return self.dtype(value)
        if hasattr(type(value), "__members__"):
            return str(getattr(value, "name", value))
        if isinstance(value, self.trt.ITensor):
            return {"tensor": value.name}
        if isinstance(value, self.trt.Weights):
            return self.bufferless(value)
        numpy = sys.modules.get("numpy")  # TensorRT's binding has imported NumPy if there are arrays
        if numpy is not None and isinstance(value, numpy.ndarray):
            return array_weights(value)
        if isinstance(value, (self.trt.Dims, self.trt.Permutation, list, tuple)):
            return self.listed(value)
        raise Unreadable(f"its value is an object of {type(value).__name__}")

    def listed(self, values: Sequence[object]) -> list[object] | None:
        """Dims, a permutation or a list; unknown dims have a negative length."""
        try:
            count = len(values)
        except ValueError:
            return None
        return [self.plain(values[index]) for index in range(count)]

    def bufferless(self, weights: api.Weights) -> Weights:
        """Weights of a type that NumPy lacks. Raises Unreadable."""
        dtype, count = self.dtype(weights.dtype), int(weights.size)
        if not count:
            return Weights(dtype, 0, memoryview(b""), weights)
        # A pybind11 object begins, after the header of every Python object, with the address of the wrapped object.
        address = ctypes.c_void_p.from_address(id(weights) + object.__basicsize__).value
        structure = CWeights.from_address(address or 0) if address else CWeights()
        if (structure.type, structure.count) != (int(weights.dtype), count) or not structure.values:
            raise Unreadable(f"this TensorRT keeps weights of {dtype} in another way than is known here")
        if dtype not in BITS:
            raise Unreadable(f"weights of the unknown type {dtype}")
        size = (count * BITS[dtype] + 7) // 8
        data = memoryview((ctypes.c_ubyte * size).from_address(structure.values)).cast("B")
        return Weights(dtype, count, data, weights)


def array_weights(array: api.Array) -> Weights:
    """A NumPy array, which is a view of TensorRT's memory."""
    data = memoryview(array).cast("B") if array.size else memoryview(b"")
    return Weights(array.dtype.name, array.size, data, array)


class Bound:
    """A loop, conditional or attention: its kind, and the numbers of its boundary layers by their role."""

    def __init__(self, owner: api.Named, key: str, parts: Iterable[str]) -> None:
        self.owner, self.key, self.name = owner, key, owner.name
        self.parts: dict[str, list[int]] = {part: [] for part in parts}
        self.facts: dict[str, object] = {}


class Reader:
    """Reads one network into a record; `hear` returns the errors that TensorRT has logged since the last call."""

    def __init__(self, values: Values, file: WeightsFile, hear: Callable[[], list[str]]) -> None:
        self.values, self.file, self.hear = values, file, hear
        self.trt = values.trt
        self.classes: dict[str, type[api.Layer]] = {
            kind.__name__[1:-5].lower(): kind
            for kind in vars(self.trt).values()
            if isinstance(kind, type) and issubclass(kind, self.trt.ILayer)
        }
        self.tensors: dict[str, dict[str, object]] = {}
        self.bounds: dict[str, list[Bound]] = {attribute: [] for attribute in PARTS}
        self.unread = 0  # layers that could not be read completely

    def read(self, network: api.Network) -> dict[str, object]:
        """The whole network as a record; the bytes of weights go into the file. Raises OSError."""
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        for tensor in inputs:
            self.add_tensor(tensor, dimensions=True)
        for layer in layers:
            for tensor in outputs_of(layer):
                self.add_tensor(tensor)
        outputs = [network.get_output(index).name for index in range(network.num_outputs)]
        read = [self.layer(layer) for layer in layers]
        for number, layer in enumerate(layers):
            for attribute in PARTS:
                read[number][attribute] = self.bound_of(layer, attribute, str(read[number]["type"]), number)
        for attribute in TAGGED:
            for bound in self.bounds[attribute]:
                bound.owner.name = bound.name
        return {
            "inputs": [tensor.name for tensor in inputs],
            "outputs": outputs,
            "tensors": list(self.tensors.values()),
            "layers": read,
            **{
                PARTS[name][0]: [{"name": one.name, **one.parts, **one.facts} for one in bounds]
                for name, bounds in self.bounds.items()
            },
        }

    def add_tensor(self, tensor: api.Tensor, dimensions: bool = False) -> None:
        """Describe a tensor; names of tensors are unique in TensorRT."""
        shape = self.values.listed(tensor.shape)
        axes = range(len(shape or []) if dimensions else 0)
        self.tensors[tensor.name] = {
            "name": tensor.name,
            "dtype": self.values.dtype(tensor.dtype),
            "shape": shape,
            "shape_tensor": bool(tensor.is_shape_tensor),
            "execution_tensor": bool(tensor.is_execution_tensor),
            "dimension_names": [tensor.get_dimension_name(axis) or None for axis in axes],
        }

    def layer(self, layer: api.Layer) -> dict[str, object]:
        """A layer, without the construct that it is a boundary of."""
        kind, metadata = layer.type.name, str(layer.metadata or "")
        node = NODE.match(metadata)
        record: dict[str, object] = {
            "name": layer.name,
            "type": kind,
            "node": node[1] if node else None,
            "metadata": metadata,
            "inputs": inputs_of(layer),
            "outputs": [tensor.name for tensor in outputs_of(layer)],
        }
        unread: dict[str, str] = {}
        known = self.classes.get(CLASSES.get(kind, kind.replace("_", "").lower()))
        if known is None:
            unread["attributes"] = "TensorRT's Python API has no class for layers of this type"
            record |= {"attributes": {}, "weights": {}}
        else:
            layer.__class__ = known
            names = properties_of(known, self.trt.ILayer)
            record |= self.attributes(layer, [one for one in names if one not in PARTS], unread)
            unread |= untold_by(known)
        self.unread += bool(unread)
        return {**record, "unread": unread}

    def attributes(
        self, owner: object, names: list[str], unread: dict[str, str]
    ) -> dict[str, dict[str, object]]:
        """Attributes and weights; what cannot be read goes to `unread`. Raises OSError."""
        attributes: dict[str, object] = {}
        weights: dict[str, object] = {}
        for name in names:
            try:
                plain = self.attribute(owner, name)
            except Exception as error:  # any exception of the binding: it is recorded, and reading continues
                self.hear()
                plain, reason = None, reason_of(error)
                if name not in NO_VALUE or NO_VALUE[name] not in reason:
                    unread[name] = reason
                    continue
            if isinstance(plain, Weights):
                weights[name] = self.file.add(plain)
            else:
                attributes[name] = plain
        return {"attributes": attributes, "weights": weights}

    def attribute(self, owner: object, name: str) -> object:
        """A property as JSON, or Weights. Raises Unreadable, and what a binding raises."""
        value = getattr(owner, name)
        plain = self.values.plain(value() if name.startswith("is_") and callable(value) else value)
        # for an attribute that does not apply TensorRT logs an error, but still returns a value
        errors = self.hear()
        if errors:
            raise Unreadable(errors[0])
        return plain

    def bound_of(self, layer: api.Layer, attribute: str, kind: str, number: int) -> int | None:
        """Adds the layer to its loop, conditional or attention and returns that one's number; None without one."""
        owner = getattr(layer, attribute, None)
        if owner is None:
            return None
        bounds, ends = self.bounds[attribute], PARTS[attribute][1]
        key = owner.name if attribute in TAGGED else owner.get_output(0).name
        place = next((number for number, one in enumerate(bounds) if one.key == key), None)
        if place is None:
            place = len(bounds)
            bounds.append(Bound(owner, key, ends.values()))
            if attribute in TAGGED:
                bounds[place].key = owner.name = f"trtpipe {attribute} {place}"
            else:
                bounds[place].facts = self.attention(owner)
        bounds[place].parts[ends[kind]].append(number)
        return place

    def attention(self, owner: api.Attention) -> dict[str, object]:
        """The tensors and attributes of an attention."""
        unread: dict[str, str] = {}
        read = self.attributes(owner, properties_of(type(owner), object), unread)
        return {
            "inputs": inputs_of(owner),
            "outputs": [tensor.name for tensor in outputs_of(owner)],
            "attributes": read["attributes"],
            "unread": unread,
        }


def inputs_of(layer: api.Connected) -> list[str | None]:
    """A layer's inputs by name; an optional one may be absent."""
    inputs = [layer.get_input(index) for index in range(layer.num_inputs)]
    return [None if tensor is None else tensor.name for tensor in inputs]


def outputs_of(layer: api.Connected) -> list[api.Tensor]:
    """A layer's outputs."""
    return [layer.get_output(index) for index in range(layer.num_outputs)]


@functools.cache
def properties_of(kind: type, without: type) -> list[str]:
    """The properties and queries (`is_…`) that a class adds to another one, sorted; a `type` of its own is included."""
    names = set()
    for one in kind.__mro__:
        if one in (without, object) or one.__module__.startswith("pybind11"):
            continue
        for name, value in vars(one).items():
            if (isinstance(value, property) or name.startswith("is_")) and name not in NOT_ATTRIBUTES:
                names.add(name)
    return sorted(names)


@functools.cache
def untold_by(kind: type) -> dict[str, str]:
    """The facts about a class's layers that can neither be queried nor seen among their inputs."""
    own = {name for one in kind.__mro__ for name in vars(one)}
    setters = sorted(name for name in own - SET_AS_INPUTS if name.startswith("set_") and name != "set_input")
    stems = {name: name[len("set_") :].rstrip("s") for name in setters}
    unknown = [name for name, stem in stems.items() if not any(one.startswith(stem) for one in own)]
    unknown += UNTOLD.get(kind.__name__, ())
    return dict.fromkeys(unknown, "TensorRT's Python API does not tell it")


def reason_of(error: Exception) -> str:
    """Why an attribute is unread, on one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, Unreadable) else f"{type(error).__name__}: {text}"


def write_network(
    trt: ModuleType,
    network: api.Network,
    *,
    dtypes: Mapping[str, str],
    warnings: list[str],
    hear: Callable[[], list[str]],
) -> dict[str, int]:
    """Write parsed.weights and parsed.json into the working directory; returns counts. Raises OSError."""
    file = WeightsFile(WEIGHTS + ".part")
    reader = Reader(Values(trt, dtypes), file, hear)
    try:
        record = reader.read(network)
    finally:
        os.close(file.fd)
    record |= {"schema": SCHEMA, "flavour": trt.__name__, "version": str(trt.__version__)}
    record |= {"name": network.name, "warnings": warnings, "contents": file.contents()}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    with open(NETWORK + ".part", "w", encoding="utf-8") as written:
        written.write(text)
    for name in (WEIGHTS, NETWORK):
        os.replace(name + ".part", name)
    return {"layers": network.num_layers, "unread": reader.unread, "weights_bytes": file.end}
