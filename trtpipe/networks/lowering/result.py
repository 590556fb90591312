"""The result of lowering a network: the ONNX model, and everything that is missing from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Unread:
    """A layer that cannot be expressed in ONNX."""

    name: str
    type: str
    node: str | None
    """The ONNX node that it was made for."""
    why: str


@dataclass(frozen=True, slots=True)
class Lowered:
    """A network as ONNX. Every tensor outside loops and conditionals keeps its name."""

    model: onnx.ModelProto
    """Large weights refer to the network's own file of weights, by its absolute path."""
    layers: int
    """How many layers the network has."""
    unread: tuple[Unread, ...]
    cut: tuple[str, ...]
    """Outputs of the network that are not computed: an unread layer stands before them."""
    notes: tuple[str, ...]
    """What is computed otherwise than TensorRT may do, and what is left out on purpose."""
    origins: Mapping[str, str]
    """Tensor → the ONNX node that its layer was made for."""
    contradictions: tuple[str, ...] = ()
    """Tensors whose type or shape is not what TensorRT says of them: what was read is not what TensorRT builds."""

    @property
    def share(self) -> float:
        """The share of layers that were read."""
        return 1.0 - len(self.unread) / self.layers if self.layers else 1.0

    @property
    def unread_by_type(self) -> Mapping[str, int]:
        """How many layers of each type could not be read."""
        return Counter(one.type for one in self.unread)
