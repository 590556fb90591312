"""Replaces a model's weights by random ones of the same shapes and types, so that the model can be shared.

Values that act as parameters stay: scalars and integers (shapes, axes, zero points). A tensor without negative values
stays without (a variance, a scale and an epsilon have none). Names stay. Independent of operators.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import array_of, dtype_name, nbytes_of, set_inline, tensors_of

if TYPE_CHECKING:
    import numpy as np
    import onnx

_WIDE = {"float64": "<f8", "float32": "<f4", "float16": "<f2"}
_FINITE_BITS = {"bfloat16": 0xBF, "float8_e4m3fn": 0xB7, "float8_e5m2": 0xBB, "float8_e8m0fnu": 0x7F}
"""Types whose random bytes are masked so that none is infinite or NaN: the highest exponents are left out."""
_PACKED = frozenset({"int8", "uint8", "int4", "uint4", "float4_e2m1fn"})


def randomize_weights(model: onnx.ModelProto, seed: int = 0) -> int:
    """Replaces weights in place, the same for equal models and seeds; how many tensors that were."""
    import numpy as np

    generator = np.random.default_rng(seed)
    replaced = 0
    for tensor in _weights(model):
        raw = _random_bytes(tensor, generator)
        if raw is not None:
            set_inline(tensor, raw)
            replaced += 1
    return replaced


def _weights(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for tensor in tensors_of(model):
        elements = math.prod(tensor.dims)
        narrow = dtype_name(tensor.data_type) in _PACKED
        if elements > 1 and (len(tensor.dims) >= 2 or not narrow):
            yield tensor


def _random_bytes(tensor: onnx.TensorProto, generator: np.random.Generator) -> bytes | None:
    """The tensor's new bytes; None when it is not of a type that weights have."""
    import numpy as np

    name = dtype_name(tensor.data_type)
    if name in _WIDE:
        return _random_floats(tensor, generator, _WIDE[name])
    if name not in _FINITE_BITS and name not in _PACKED:
        return None
    drawn = np.frombuffer(generator.bytes(nbytes_of(tensor)), np.uint8)
    if name == "bfloat16":  # limits the exponent's upper bits to 0011 1100, so that the numbers are small
        pairs = drawn.reshape(-1, 2).copy()
        pairs[:, 1] = (pairs[:, 1] & 0x83) | 0x3C
        if not _has_negative(tensor):
            pairs[:, 1] &= 0x7F
        return bytes(pairs.tobytes())
    masked = drawn & _FINITE_BITS[name] if name in _FINITE_BITS else drawn
    return bytes(masked.tobytes())


def _random_floats(tensor: onnx.TensorProto, generator: np.random.Generator, dtype: str) -> bytes:
    """Uniform between -s and s, or s/2 and s where nothing is negative; s is 1 over the root of a row's length."""
    import numpy as np

    scale = 1 / math.sqrt(max(1, math.prod(tensor.dims[1:])))
    shape = tuple(tensor.dims)
    low = -scale if _has_negative(tensor) else scale / 2
    drawn = generator.uniform(low, scale, shape).astype(np.dtype(dtype))
    return bytes(drawn.tobytes())


def _has_negative(tensor: onnx.TensorProto) -> bool:
    return bool((array_of(tensor).astype("float32") < 0).any())
