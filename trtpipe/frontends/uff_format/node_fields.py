"""A node's fields by name and type: references are resolved, values are checked.

Checks the form of values, not their meaning for an operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from trtpipe.errors import ModelError
from trtpipe.frontends.uff_format.messages import Blob, Data, Node
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM

DTYPES = {
    1 << 16 | 8: "int8", 1 << 16 | 16: "int16", 1 << 16 | 32: "int32", 1 << 16 | 64: "int64",
    2 << 16 | 16: "float16", 2 << 16 | 32: "float32",
}  # fmt: skip
"""UFF's data types: the class (1 is int, 2 is float) above the number of bits."""

_WORDS = {
    "i": "a whole number", "i_list": "a list of whole numbers", "d": "a number", "s": "a text", "b": "true or false",
    "dtype": "a data type", "blob": "bytes",
}  # fmt: skip

_Value = TypeVar("_Value")


class NodeFields:
    """The fields of one node. Every method raises ModelError naming node and field."""

    def __init__(self, node: Node, referenced: Mapping[str, Data]) -> None:
        self.node = node
        self._referenced = referenced

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        return self._typed(name, ("i",), default, int)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = float(self._typed(name, ("d", "i"), default, float))
        if not math.isfinite(value):
            raise self.wrong(name, f"is {value}")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        return self._typed(name, ("b", "i"), default, bool)

    def text(self, name: str, default: str | None = None) -> str:
        """A text."""
        return self._typed(name, ("s",), default, str)

    def whole_list(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._typed(name, ("i_list",), default, tuple[int, ...]))

    def blob(self, name: str) -> Blob:
        """Bytes in the file."""
        return self._typed(name, ("blob",), None, lambda value: Blob(value.offset, value.length))

    def dtype(self, name: str, default: str | None = None) -> str:
        """A data type by its NumPy name."""
        if default is not None and self.datum(name) is None:
            return default
        number = self._typed(name, ("dtype",), None, int)
        if number not in DTYPES:
            listed = ", ".join(DTYPES.values())
            raise self.wrong(name, f"is the unknown data type {number}", f"UFF has {listed}")
        return DTYPES[number]

    def sizes(self, name: str, length: int | None, default: int, least: int) -> tuple[int, ...]:
        """`length` sizes, one per spatial axis, each at least `least`; `default` for each when the field is missing.

        If `length` is None, any number of sizes is accepted.
        """
        given = self.whole_list(name, ())
        if not given and length is not None:
            return (default,) * length
        if length is not None and len(given) != length:
            raise self.wrong(name, f"is {list(given)}", f"it must have {length} numbers, one a spatial axis")
        if any(not least <= size <= LARGEST_DIM for size in given):
            raise self.wrong(name, f"is {list(given)}", f"each must be from {least} to {LARGEST_DIM}")
        return given

    def orders(self, name: str = "inputs_orders") -> tuple[Mapping[int, tuple[int, ...]], ...]:
        """The order of the dimensions of each input, by rank; () when there are none."""
        found = self.datum(name)
        if found is None:
            return ()
        if found.kind == "dim_orders":
            return (found.value,)
        if found.kind != "dim_orders_list":
            raise self.wrong(name, "holds no orders of dimensions")
        return tuple(found.value)

    def datum(self, name: str) -> Data | None:
        """The raw value after following references; None when the field is missing."""
        found = self.node.fields.get(name)
        if found is not None and found.kind == "ref":
            if found.value not in self._referenced:
                raise self.wrong(name, f"refers to '{found.value}', which the file does not hold")
            found = self._referenced[found.value]
            if found.kind == "ref":
                raise self.wrong(name, f"refers to another reference, '{found.value}'")
        return found if found is not None and found.kind else None

    def wrong(self, name: str, fact: str, remedy: str = "") -> ModelError:
        """An error about one field."""
        return ModelError(
            Code.UFF_OPERATION,
            f"{self.node.operation} '{self.node.id}' cannot be read: its field '{name}' {fact}",
            remedy,
        )

    def _typed(
        self, name: str, kinds: tuple[str, ...], default: _Value | None, read: Callable[[Any], _Value]
    ) -> _Value:
        """The value of a field of one of these kinds, converted by `read`."""
        found = self.datum(name)
        if found is None:
            if default is None:
                raise self.wrong(name, "is missing", "convert the model again")
            return default
        if found.kind not in kinds:
            raise self.wrong(name, f"is not {_WORDS[kinds[0]]}")
        return read(found.value)
