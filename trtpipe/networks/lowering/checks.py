"""Compares the types and shapes that TensorRT reports with those of the lowered network.

TensorRT reports the type and shape of every tensor; ONNX's inference computes those of the lowered network. A
difference means that either the reader here or TensorRT is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtpipe.canonical.folding import infer_values
from trtpipe.networks.lowering.scope import dtype_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import Dim
    from trtpipe.networks.network import ParsedNetwork, Tensor


def contradictions(model: onnx.ModelProto, network: ParsedNetwork) -> Iterator[str]:
    """A sentence for each tensor of the main graph whose type or shape differs from what TensorRT reports."""
    for name, info in infer_values(model).items():
        tensor = network.tensors.get(name)
        if tensor is None:
            continue
        if info.dtype not in (dtype_of(tensor.dtype), "undefined"):
            yield f"'{name}' is {info.dtype} here and {dtype_of(tensor.dtype)} in TensorRT"
        elif info.dims is not None and not _agree(info.dims, tensor):
            here = [dim if isinstance(dim, int) else -1 for dim in info.dims]
            yield f"'{name}' is {here} here and {list(tensor.shape or ())} in TensorRT"


def _agree(dims: tuple[Dim, ...], tensor: Tensor) -> bool:
    if tensor.shape is None:
        return True
    if len(dims) != len(tensor.shape):
        return False
    pairs = zip(dims, tensor.shape, strict=True)
    return all(not isinstance(dim, int) or size < 0 or dim == size for dim, size in pairs)
