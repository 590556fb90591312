"""Elementwise layers that have no declared equivalent: identity, cast, select, clip with any bounds."""

from __future__ import annotations

import math

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.networks.lowering.scope import LayerScope, dtype_of


def identity(at: LayerScope) -> list[str]:
    """Identity; if the output has another type, a cast, as in TensorRT."""
    x = at.read(0)
    return [at.emit("Identity", x.name) if x.dtype == at.dtype_made else _cast(at, at.dtype_made)]


def cast(at: LayerScope) -> list[str]:
    """Cast."""
    return [_cast(at, dtype_of(at.text("to_type")))]


def _cast(at: LayerScope, target: str) -> str:
    return at.emit("Cast", at.read(0).name, to=number_of_dtype(target))


def select(at: LayerScope) -> list[str]:
    """Where; for booleans, which ONNX Runtime's Where does not support on the CPU, a logical formula."""
    condition, chosen, other = (at.read(index) for index in range(3))
    at.equal_ranks(condition, chosen, other)
    if chosen.dtype != "bool":
        return [at.emit("Where", condition.name, chosen.name, other.name)]
    taken = at.emit("And", condition.name, chosen.name)
    left = at.emit("And", at.emit("Not", condition.name), other.name)
    return [at.emit("Or", taken, left)]


def clip(at: LayerScope) -> list[str]:
    """max(alpha, min(beta, x)); an infinite bound is omitted."""
    x = at.read(0)
    names = [_bound(at, name, x.dtype) for name in ("alpha", "beta")]
    return [at.emit("Clip", x.name, *names)]


def _bound(at: LayerScope, name: str, dtype: str) -> str | None:
    """A bound as a constant. TensorRT's bounds are float32 and may exceed the range of an integer type."""
    import numpy as np

    bound = at.number(name)
    if math.isinf(bound):
        return None
    if "int" not in dtype:
        return at.constant(bound, name, dtype)
    span = np.iinfo(dtype)
    return at.constant(int(min(max(bound, span.min), span.max)), name, dtype)


def nothing(at: LayerScope) -> list[str]:
    """A constant without elements, which therefore has no weights."""
    import numpy as np

    return [at.constant(np.zeros(at.sizes("shape") or ()), "nothing", at.dtype_made)]


def parametric_relu(at: LayerScope) -> list[str]:
    """PRelu, whose slopes are a tensor."""
    at.equal_ranks(at.read(0), at.read(1))
    return [at.emit("PRelu", at.read(0).name, at.read(1).name)]
