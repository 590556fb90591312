"""The initializers of an ONNX model, embedded or external, and its Constant nodes' values, as named weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.reader import read_skeleton
from trtpipe.canonical.tensors import array_of, dtype_name, external_entries, is_external
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code
from trtpipe.weights.elements import native

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array


class OnnxInitializers:
    """The constant tensors of a model's main graph; external data only from inside `root`. Raises ModelError."""

    def __init__(self, path: Path, root: Path | None) -> None:
        skeleton = read_skeleton(path, root=root)
        graph = skeleton.proto.graph
        self.external_files = tuple(skeleton.external_files)
        found = [(tensor.name, tensor) for tensor in graph.initializer]
        found += [
            (node.output[0], attribute.t)
            for node in graph.node
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and len(node.output) == 1
            for attribute in node.attribute
            if attribute.name == "value" and attribute.HasField("t")
        ]
        self._tensors: dict[str, onnx.TensorProto] = dict(found)
        if len(self._tensors) < len(found):
            names = [name for name, _ in found]
            twice = next(name for name in names if names.count(name) > 1)
            raise ModelError(
                Code.WEIGHTS_TWICE, f"'{path}' has two initializers '{twice}'", "export the model again"
            )
        for name, tensor in found:
            if dtype_name(tensor.data_type) in ("undefined", "string") or any(dim < 0 for dim in tensor.dims):
                del self._tensors[name]  # strings and the like are not weights
        self.names = tuple(self._tensors)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Dims of an initializer."""
        return tuple(self._tensors[name].dims)

    def dtype_of(self, name: str) -> str:
        """Element type of an initializer."""
        return dtype_name(self._tensors[name].data_type)

    def count_of(self, name: str) -> int:
        """Elements of an initializer."""
        return math.prod(self._tensors[name].dims)

    def array(self, name: str) -> Array:
        """The values; large ones are mapped. Raises ModelError when a small one does not fit its shape or type."""
        try:
            return native(array_of(self._tensors[name]))
        except (ValueError, TypeError) as error:
            said = " ".join(str(error).split())
            raise ModelError(
                Code.WEIGHTS_CUT_SHORT, f"initializer '{name}' does not hold what its shape says: {said}"
            ) from error

    def location(self, name: str) -> tuple[Path, int] | None:
        """The position of a large initializer's values."""
        tensor = self._tensors[name]
        if not is_external(tensor):
            return None
        entries = external_entries(tensor)
        return Path(entries["location"]), int(entries["offset"])
