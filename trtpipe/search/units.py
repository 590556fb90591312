"""Units: groups of nodes that a search lowers or keeps together, with what each reads, writes and computes.

A unit approximates a layer as TensorRT fuses it: a convolution or matrix product with the pointwise nodes that follow
it, or nodes without a product before them. The grouping is computed elsewhere, from the model; here it is given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from trtpipe.json_values import integer_in, text_in, texts_in

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit; sizes count elements, at the opt shapes of the first profile. Unknown sizes count as 0."""

    name: str
    """Its first node."""
    op: str
    nodes: tuple[str, ...]
    """In graph order."""
    quantized: tuple[str, ...] = ()
    """Those of its nodes whose operands the cheapest precision quantizes; none where it stays float."""
    flops: int = 0
    """Multiplications and additions of its products."""
    weights: int = 0
    """Elements of the weights that are, or would be, quantized."""
    others: int = 0
    """Elements of its other constants."""
    read: int = 0
    """Elements of the tensors that it reads from outside."""
    written: int = 0
    """Elements of the tensors that others read."""

    def to_json(self) -> dict[str, Json]:
        """The unit as a JSON object."""
        return asdict(self) | {"nodes": list(self.nodes), "quantized": list(self.quantized)}

    @classmethod
    def from_json(cls, data: JsonObject) -> Unit:
        """The unit read back. Raises Malformed."""
        return cls(
            text_in(data, "name"),
            text_in(data, "op"),
            tuple(texts_in(data, "nodes")),
            tuple(texts_in(data, "quantized")),
            **{size: integer_in(data, size) for size in ("flops", "weights", "others", "read", "written")},
        )
