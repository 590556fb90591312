"""Small constants of a model as it was read, by name, for checks of attributes that became inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of
from trtpipe.canonical.tensors import array_of, graphs_of, is_external, nodes_of
from trtpipe.errors import ModelError

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array


class ConstantValues:
    """The constants of `proto`, decoded on first access."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        import onnx

        self._tensors = {tensor.name: tensor for graph in graphs_of(proto) for tensor in graph.initializer}
        self._plain: dict[str, object] = {}
        for node in nodes_of(proto):
            if node.op_type != "Constant" or not node.output:
                continue
            tensor = attribute_of(node, "value")
            if isinstance(tensor, onnx.TensorProto):
                self._tensors[node.output[0]] = tensor
            for name in ("value_int", "value_float"):
                if (value := attribute_of(node, name)) is not None:
                    self._plain[node.output[0]] = value

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._plain

    def number(self, name: str) -> float | None:
        """The value of a constant of one element; None for anything else."""
        import numpy as np

        if name in self._plain:
            return float(np.asarray(self._plain[name]).item())
        values = self.array(name)
        return float(values.reshape(-1)[0]) if values is not None and values.size == 1 else None

    def array(self, name: str) -> Array | None:
        """The values of a constant numeric tensor embedded in the model; None for anything else."""
        tensor = self._tensors.get(name)
        if tensor is None or is_external(tensor) or tensor.data_type == tensor.STRING:
            return None
        try:
            return array_of(tensor)
        except (ValueError, TypeError, ModelError):
            return None
