"""Element types of weights: their names in ONNX and in the spec, and their numpy.dtype.

Independent of file formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.arrays import Array, Dtype


def numpy_dtype(name: str) -> Dtype:
    """The numpy.dtype of `float32`, `bfloat16`, `float8_e4m3fn`, …, little-endian."""
    import onnx

    found: Dtype = onnx.helper.tensor_dtype_to_np_dtype(number_of_dtype(name))
    little: Dtype = found.newbyteorder("<")
    return little


def dtype_called(dtype: Dtype) -> str:
    """The name of a numpy.dtype, whatever its byte order."""
    return str(dtype.name)


def refuse_foreign_type(what: str, dtype: Dtype) -> None:
    """Raises ModelError for an element type that ONNX does not know, such as float128."""
    if not number_of_dtype(dtype_called(dtype)):
        raise ModelError(
            Code.WEIGHTS_TYPE, f"{what} has type {dtype}, which ONNX does not know", "save it as float32"
        )


def native(array: Array) -> Array:
    """The array in this machine's byte order, read-only; unchanged if it has that order already."""
    made = array.astype(array.dtype.newbyteorder("="), copy=False)
    if made.flags.writeable:
        made.flags.writeable = False
    return made
