"""A declared shape: each dim is a size, -1 if dynamic, or a name; dims of the same name have the same size."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM, parse_shape


def _declared_shape(value: object) -> tuple[int | str, ...]:
    if not isinstance(value, (list, tuple)):
        return parse_shape(value)
    parse_shape([0 if isinstance(dim, str) else dim for dim in value])
    for dim in value:
        if isinstance(dim, str) and not dim.isidentifier():
            raise WrongValue(
                Code.NOT_A_NAME,
                f"not a dimension's name: {dim!r}; use letters, digits and '_', starting with a letter",
            )
    return tuple(value)


_DIM = {
    "anyOf": [
        {"type": "integer", "minimum": -1, "maximum": LARGEST_DIM},
        {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    ]
}

DeclaredShape = Annotated[
    tuple[int | str, ...],
    BeforeValidator(_declared_shape),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _DIM},
                {"type": "string", "pattern": "^(scalar|(-1|[0-9]+)(x(-1|[0-9]+))*)$"},
                {"type": "integer", "minimum": -1, "maximum": LARGEST_DIM},
            ],
            "examples": [[-1, 3, 224, 224], ["batch", 3, "height", "width"], "-1x3x224x224"],
        }
    ),
]
"""`[-1, 3, 224, 224]`, `-1x3x224x224`, or `[batch, 3, height, width]`."""
