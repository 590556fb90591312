"""One operation of the file as lowering functions see it: its inputs, fields, axes and layouts.

Contains what all operations have in common.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.frontends.uff_format.messages import Node
from trtpipe.frontends.uff_format.net import Constant, Dims, Misfit, Net, Tensor
from trtpipe.frontends.uff_format.node_fields import NodeFields
from trtpipe.frontends.uff_format.orders import Permutation, order_for

if TYPE_CHECKING:
    from trtpipe.canonical.builder import Attribute


@dataclass(frozen=True, slots=True)
class Operation:
    """A node with its inputs at hand. Methods raise Misfit."""

    net: Net
    node: Node
    fields: NodeFields
    inputs: tuple[Tensor, ...]

    @property
    def id(self) -> str:
        """The node's id, which its tensor has too."""
        return self.node.id

    def dims(self, index: int = 0) -> Dims:
        """The dimensions of an input, whose rank must be known."""
        tensor = self.inputs[index]
        dims = self.net.dims(tensor)
        if dims is None:
            raise self._unshaped(tensor)
        return dims

    def _unshaped(self, tensor: Tensor) -> Misfit:
        custom = self.net.unshaped_of(tensor)
        if custom is None:
            fact = f"the number of dimensions is unknown for its input '{tensor.id}' has"
            return Misfit(fact, f"end the graph before it: outputs: [{tensor.id}]")
        called = custom.lstrip("_")
        return Misfit(
            f"its input '{tensor.id}' comes from the custom operation '{custom}', whose shape is unknown",
            f"declare it: plugins: {{{custom}: {{name: {called}, outputs: [{{shape: [-1, 100]}}]}}}}, for example",
        )

    def order(self, index: int, rank: int) -> Permutation:
        """The file's order of an input's dimensions; canonical if the file has none."""
        orders = self.fields.orders()
        if index >= len(orders):
            return tuple(range(rank))
        try:
            return order_for(orders[index], rank)
        except ValueError as error:
            raise Misfit(f"{error} of input {index}") from error

    def axis(self, axis: int, rank: int) -> int:
        """An axis as a number from the front; the file may count from the end."""
        if not -rank <= axis < rank:
            raise Misfit(f"axis {axis} is none of {rank} dimensions")
        return axis % rank

    def constant(self, index: int, what: str) -> Constant:
        """An input that must be a constant."""
        constant = self.inputs[index].constant
        if constant is None:
            raise Misfit(f"its {what} '{self.inputs[index].id}' is computed, and must be a Const")
        return constant

    def plain(self, index: int = 0) -> str:
        """An input in the file's layout."""
        return self.net.plain(self.inputs[index])

    def emit(self, operator: str, inputs: list[str], **attributes: Attribute) -> Tensor:
        """Adds the ONNX node that makes this operation's tensor in the file's layout."""
        return Tensor(self.id, plain=self.net.emit(operator, inputs, self.id, None, **attributes))

    def canonical(
        self, operator: str, inputs: list[str | None], order: Permutation, **attributes: Attribute
    ) -> Tensor:
        """Like `emit`, for a node whose result is in canonical layout."""
        name = self.net.emit(operator, inputs, self.id, self.net.name_of(self.id, order), **attributes)
        return self.net.made(self.id, name, order)

    def alike(self) -> str:
        """The common data type of all inputs."""
        dtypes = [self.net.dtype(tensor) for tensor in self.inputs]
        if len(set(dtypes)) > 1:
            raise Misfit(f"its inputs are {' and '.join(dict.fromkeys(dtypes))}, and must be alike")
        return dtypes[0]

    def layout(self) -> Permutation:
        """The order in which all inputs are available in canonical layout without a transpose; () for the file's."""
        waiting = [tensor for tensor in self.inputs if tensor.plain is None and tensor.constant is None]
        order = waiting[0].order if waiting else ()
        for tensor in self.inputs:
            fits = tensor.canonical is not None and tensor.order == order
            small = tensor.constant is not None and len(tensor.constant.dims) <= len(order)
            if not (fits or small):
                return ()
        return order

    def in_layout(self, order: Permutation) -> list[str]:
        """All inputs in the order that `layout` returned."""
        return [self.net.in_order(one, order) if order else self.net.plain(one) for one in self.inputs]


Lower = Callable[[Operation], Tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an operation is lowered, and its number of inputs (None: one or more)."""

    lower: Lower
    inputs: int | None = 1
