"""Interprets dimension names of the canonical model, in which equal names mean equal sizes.

`canonical.names.distinguish_dims` renames dimensions with meaningless names to `INPUT_AXIS`; such a name is only an
identifier and should not be shown as if it had a meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

from trtpipe.canonical.summary import Dim, TensorInfo


def shared_name(dim: Dim) -> str | None:
    """The name that says which other dimensions this one equals; None for fixed and nameless ones."""
    return dim if isinstance(dim, str) else None


def told_name(info: TensorInfo, axis: int) -> str | None:
    """The name that the model's author gave; None when there is none, or canonical naming made it."""
    assert info.dims is not None
    name = shared_name(info.dims[axis])
    return None if name == f"{info.name}_{axis}" else name


def describe_dims(info: TensorInfo, same: Mapping[str, str] | None = None) -> str:
    """`[batch, 3, ?, ?]`: the author's names as they are, `?` where there is none.

    `same` has names for dimensions that canonical naming took apart.
    """
    assert info.dims is not None
    given = same or {}
    words = (
        str(dim)
        if isinstance(dim, int)
        else given.get(shared_name(dim) or "") or told_name(info, axis) or "?"
        for axis, dim in enumerate(info.dims)
    )
    return f"[{', '.join(words)}]"
