"""Names for the dynamic dimensions of an exported program.

An archive does not keep the names given to torch.export.Dim: it has symbols (`s77`) and expressions of them (`2*s77`).
A symbol is named after the first input and axis where it occurs, `image_0`, or as the options say; it has the same name
everywhere, because equal symbols are equal sizes. An expression gets no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

_SYMBOL = re.compile(r"[A-Za-z_]\w*")


def symbol_names(inputs: Sequence[tuple[str, Sequence[int | str | None]]]) -> dict[str, str]:
    """Symbol → `INPUT_AXIS` of the first dimension that is exactly this symbol."""
    names: dict[str, str] = {}
    for name, dims in inputs:
        for axis, dim in enumerate(dims):
            if isinstance(dim, str) and _SYMBOL.fullmatch(dim):
                names.setdefault(dim, f"{name}_{axis}")
    return names


def ranges_of(
    inputs: Sequence[tuple[str, Sequence[int | str | None]]],
    ranges: Mapping[str, tuple[int | None, int | None]],
) -> dict[str, tuple[int | None, int | None]]:
    """The sizes that each dimension may have, under every name that it gets at an input."""
    found: dict[str, tuple[int | None, int | None]] = {}
    names = symbol_names(inputs)
    for name, dims in inputs:
        for axis, dim in enumerate(dims):
            if isinstance(dim, str) and dim in ranges and dim in names:
                found[names[dim]] = found[f"{name}_{axis}"] = ranges[dim]
    return found


def repeated_symbols(inputs: Sequence[tuple[str, Sequence[int | str | None]]]) -> dict[str, str]:
    """`INPUT_AXIS` → the symbol's name, if it occurs several times in one input."""
    names = symbol_names(inputs)
    return {
        f"{name}_{axis}": names[dim]
        for name, dims in inputs
        for axis, dim in enumerate(dims)
        if isinstance(dim, str) and dim in names and list(dims).count(dim) > 1
    }


def chosen_names(names: Mapping[str, str], asked: Mapping[str, str], path: SpecPath) -> dict[str, str]:
    """The names with the replacements in `asked`, whose keys may be symbols or names.

    Raises ModelError at `path` for keys that are not a dimension, and for two dimensions with one name.
    """
    chosen = dict(names)
    problems = []
    for key, wanted in asked.items():
        symbols = [symbol for symbol, name in names.items() if key in (symbol, name)]
        if symbols:
            chosen[symbols[0]] = wanted
        else:
            known = ", ".join(f"{name} ({symbol})" for symbol, name in names.items())
            remedy = f"its dynamic dimensions are: {known}" if known else "it has no dynamic dimensions"
            problems.append(
                Problem(
                    Code.PYTORCH_DIMENSION, f"the program has no dimension {key!r}", remedy, path=(*path, key)
                )
            )
    problems += _shared(chosen, path)
    if problems:
        raise ModelError(problems)
    return chosen


def name_dims(model: onnx.ModelProto, asked: Mapping[str, str], path: SpecPath) -> None:
    """Names the dimensions of the model's inputs, and those of its outputs that are equal to one. Raises ModelError."""
    inputs = [(value.name, [dim.dim_param for dim in _dims(value)]) for value in model.graph.input]
    names = chosen_names(symbol_names(inputs), asked, path)
    for value in model.graph.input:
        for axis, dim in enumerate(_dims(value)):
            if dim.dim_param:
                dim.dim_param = names.get(dim.dim_param, f"{value.name}_{axis}")
    for value in model.graph.output:
        for dim in _dims(value):
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]
            elif dim.dim_param:
                dim.ClearField("value")


def _dims(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _shared(names: Mapping[str, str], path: SpecPath) -> Iterator[Problem]:
    for name in sorted({name for name in names.values() if list(names.values()).count(name) > 1}):
        symbols = ", ".join(symbol for symbol in names if names[symbol] == name)
        fact = f"the dimensions {symbols} would both be called {name!r}, as if they were equal"
        yield Problem(Code.PYTORCH_DIMENSION, fact, "give each a different name", path=path)
