"""An engine's inputs and outputs, and which of its profiles serves given shapes. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .arrays import ELEMENT_TYPES, ElementType, TensorFile
from .events import Failure

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt

Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]
"""The minimum, optimum and maximum shape, or values of a shape tensor."""


@dataclass(frozen=True)
class Port:
    """One input or output."""

    name: str
    is_input: bool
    type: ElementType
    shape: Shape
    """-1 where dynamic."""
    on_host: bool
    """A tensor that TensorRT reads or writes on the host: the values of shapes."""
    shapes: tuple[Range, ...] = ()
    """The range for each profile, for an input."""
    values: tuple[Range | None, ...] = ()
    """The range for each profile, for a shape tensor that is an input."""

    def to_json(self) -> dict[str, object]:
        """The port as a JSON object for the parent."""
        facts = {**asdict(self), "type": None, "dtype": self.type.name}
        return {name: value for name, value in facts.items() if name != "type"}


def read_ports(trt: ModuleType, engine: tensorrt.ICudaEngine) -> list[Port]:
    """All inputs and outputs in the engine's order. Raises Failure for one that cannot be fed."""
    return [_port(trt, engine, engine.get_tensor_name(index)) for index in range(engine.num_io_tensors)]


def _port(trt: ModuleType, engine: tensorrt.ICudaEngine, name: str) -> Port:
    form, dtype = engine.get_tensor_format(name), engine.get_tensor_dtype(name).name
    if form != trt.TensorFormat.LINEAR:
        raise Failure("engine", f"tensor '{name}' has the format {form.name}: only linear tensors can be run")
    if dtype not in ELEMENT_TYPES:
        raise Failure("engine", f"tensor '{name}' has the type {dtype}, which is not known here")
    is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    on_host = engine.get_tensor_location(name) == trt.TensorLocation.HOST
    profiles = range(engine.num_optimization_profiles if is_input else 0)
    shapes = tuple(_range(engine.get_tensor_profile_shape(name, index)) for index in profiles)
    return Port(
        name,
        is_input,
        ELEMENT_TYPES[dtype],
        tuple(engine.get_tensor_shape(name)),
        on_host,
        tuple(one for one in shapes if one is not None) if None not in shapes else (),
        _values(engine, name, profiles) if on_host and engine.is_shape_inference_io(name) else (),
    )


def _values(engine: tensorrt.ICudaEngine, name: str, profiles: range) -> tuple[Range | None, ...]:
    """The limits of a shape tensor's values. In this call of TensorRT's the profile's index is the first argument."""
    return tuple(_range(engine.get_tensor_profile_values(index, name)) for index in profiles)


def _range(three: Sequence[Sequence[int]]) -> Range | None:
    found = [tuple(int(size) for size in one) for one in three]
    return (found[0], found[1], found[2]) if len(found) == 3 else None


def check_inputs(ports: Sequence[Port], tensors: Mapping[str, TensorFile]) -> None:
    """Raises Failure with everything that is wrong with the names, types and shapes of one run's inputs."""
    inputs = {port.name: port for port in ports if port.is_input}
    names = ", ".join(f"'{name}'" for name in inputs) or "none"
    problems = [f"the engine has no input '{name}'; it has {names}" for name in tensors if name not in inputs]
    problems += [f"input '{name}' is missing" for name in inputs if name not in tensors]
    for name, tensor in tensors.items():
        port = inputs.get(name)
        if port is not None and tensor.dtype != port.type.name:
            problems.append(f"input '{name}' is {tensor.dtype}, the engine takes {port.type.name}")
        if port is not None and not _fits_static(tensor.shape, port.shape):
            problems.append(f"input '{name}' is {list(tensor.shape)}, the engine takes {list(port.shape)}")
    if problems:
        raise Failure("input", "; ".join(problems), details=problems)


def _fits_static(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size == fixed for size, fixed in zip(shape, wanted, strict=True) if fixed >= 0
    )


def choose_profile(
    ports: Sequence[Port], shapes: Mapping[str, Shape], values: Mapping[str, Shape | None], wanted: int | None
) -> int:
    """The profile for these shapes and shape tensor values: the requested one, else one whose opt equals them, else
    the first that allows them. Raises Failure with the ranges that were missed."""
    count = max((len(port.shapes) for port in ports), default=0)
    if wanted is not None and not 0 <= wanted < max(count, 1):
        raise Failure("input", f"the engine has no profile {wanted}", f"choose from 0 to {max(count, 1) - 1}")
    among = range(count) if wanted is None else [wanted]
    missed = {index: _missed(ports, shapes, values, index) for index in among}
    fitting = [index for index, problems in missed.items() if not problems]
    if not count:
        return 0
    if not fitting:
        problems = [f"profile {index}: {text}" for index, texts in missed.items() for text in texts]
        raise Failure("input", "no profile takes these shapes: " + "; ".join(problems), details=problems)
    at_opt = (
        index for index in fitting if all(_is_opt(port, shapes, index) for port in ports if port.shapes)
    )
    return next(at_opt, fitting[0])


def _is_opt(port: Port, shapes: Mapping[str, Shape], index: int) -> bool:
    return port.shapes[index][1] == shapes[port.name]


def _missed(
    ports: Sequence[Port], shapes: Mapping[str, Shape], values: Mapping[str, Shape | None], index: int
) -> list[str]:
    """The shapes and values that are outside a profile."""
    found = []
    for port in ports:
        limits = port.shapes[index] if index < len(port.shapes) else None
        if limits is not None and not _within(shapes[port.name], limits):
            found.append(
                f"'{port.name}' is {_text(shapes[port.name])}, not {_text(limits[0])} to {_text(limits[2])}"
            )
        limits = port.values[index] if index < len(port.values) else None
        held = values.get(port.name)
        if limits is not None and held is not None and not _within(held, limits):
            texts = [list(held), list(limits[0]), list(limits[2])]
            found.append(f"'{port.name}' holds {texts[0]}, not {texts[1]} to {texts[2]}")
    return found


def _within(sizes: Shape, limits: Range) -> bool:
    least, _, greatest = limits
    return len(sizes) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, sizes, greatest, strict=True)
    )


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"
