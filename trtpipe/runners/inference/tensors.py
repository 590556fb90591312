"""Tensors in files, exchanged between NumPy and the process that runs engines: `.npy`, or raw bytes for other types.

Types have ONNX's names in lower case. bfloat16, the 8-bit floats and the 4-bit types are ml_dtypes' in memory; files of
4-bit types hold two elements a byte, the first in the lower half, as in ONNX and TensorRT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import StepFailed
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trtpipe.arrays import Array, Dtype
    from trtpipe.json_values import Json

_ML_DTYPES = {
    "bfloat16": "bfloat16",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
    "int4": "int4",
}
"""ONNX's name → ml_dtypes'; all other types are NumPy's own, by the same names."""

_PACKED = ("float4e2m1", "int4")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Json]:
        """The tensor in the form of a request."""
        return {"file": str(self.path.absolute()), "dtype": self.dtype, "shape": list(self.shape)}

    def array(self) -> Array:
        """The tensor as a NumPy array, mapped from its file where NumPy has the type. Raises StepFailed."""
        import numpy as np

        if self.path.suffix == ".npy":
            found: Array = np.load(
                self.path, mmap_mode="r" if math.prod(self.shape) else None, allow_pickle=False
            )
        else:
            raw = np.frombuffer(self.path.read_bytes(), np.uint8)
            found = (_unpacked(raw, math.prod(self.shape)) if self.dtype in _PACKED else raw).view(
                element_type(self.dtype)
            )
            found = found.reshape(self.shape)
        if found.shape != self.shape:
            raise StepFailed(
                Code.RECORD_DAMAGED, f"{self.path} holds {list(found.shape)}, not {list(self.shape)}"
            )
        return found


def element_type(dtype: str) -> Dtype:
    """The NumPy type of an ONNX type's name."""
    import numpy as np

    if dtype in _ML_DTYPES:
        import ml_dtypes

        found: Dtype = np.dtype(getattr(ml_dtypes, _ML_DTYPES[dtype]))
        return found
    return np.dtype(dtype)


def type_name(array: Array) -> str:
    """ONNX's name of an array's type."""
    name = str(array.dtype.name)
    return next((onnx for onnx, other in _ML_DTYPES.items() if other == name), name)


def store_tensors(arrays: Mapping[str, Array], folder: Path, stem: str) -> dict[str, StoredTensor]:
    """Write arrays, named by the inputs they are for, into `folder` as STEM-NUMBER; they are copied to be dense."""
    return {
        name: store_tensor(array, folder / f"{stem}-{i}") for i, (name, array) in enumerate(arrays.items())
    }


def store_tensor(array: Array, stem: Path) -> StoredTensor:
    """Write one array as STEM.npy or STEM.bin."""
    import numpy as np

    dense = np.require(array, requirements="C")
    dtype = type_name(dense)
    if dtype not in _ML_DTYPES:
        dense = dense.astype(dense.dtype.newbyteorder("<"), copy=False)
        path = stem.with_name(stem.name + ".npy")
        np.save(path, dense, allow_pickle=False)
        return StoredTensor(path, dtype, dense.shape)
    path = stem.with_name(stem.name + ".bin")
    raw = dense.reshape(-1).view(np.uint8)
    path.write_bytes((_packed(raw) if dtype in _PACKED else raw).tobytes())
    return StoredTensor(path, dtype, dense.shape)


def _packed(elements: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Packs two elements into a byte, the first in the lower half; the last byte may be half empty."""
    import numpy as np

    even = np.append(elements & 0xF, np.zeros(len(elements) % 2, np.uint8))
    packed: NDArray[np.uint8] = even[0::2] | even[1::2] << 4
    return packed


def _unpacked(raw: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Unpacks to one byte per element, as in ml_dtypes."""
    import numpy as np

    return np.stack([raw & 0xF, raw >> 4], axis=1).reshape(-1)[:count].astype(np.uint8)
