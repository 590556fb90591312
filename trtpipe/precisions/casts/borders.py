"""Decides which inputs and outputs of the graph take the type that the graph computes in, instead of the source's type.

Only float tensors of the main graph are considered. An output that is a constant, or that is an input passed through
unchanged, keeps its type.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase

import onnx_ir as ir

from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casts.constants import HALF_LARGEST
from trtpipe.precisions.casts.element_types import Types, element_types
from trtpipe.precisions.casts.free_types import is_transparent
from trtpipe.precisions.casts.overflow import MARGIN, Measured
from trtpipe.precisions.casts.signatures import FLOATS
from trtpipe.problem_codes import Code


def converted_borders(
    model: ir.Model, io: Mapping[str, str], path: SpecPath
) -> tuple[frozenset[str], list[Problem]]:
    """The names of the inputs and outputs to convert, and the globs of `io` that match none.

    `io` maps globs of names to `convert` or `keep`; of several that match a name, the last one counts.
    """
    types = element_types(model)
    floats = [value for value in _borders(model) if types.get(value) in FLOATS]
    chosen: dict[str, str] = {}
    problems = []
    for glob, choice in io.items():
        found = [value.name or "" for value in floats if _is(glob, value.name or "")]
        chosen |= dict.fromkeys(found, choice)
        if not found and glob != "*":
            problems.append(_unmatched(glob, model, [value.name or "" for value in floats], (*path, glob)))
    return frozenset(name for name, choice in chosen.items() if choice == "convert"), problems


def out_of_range(names: frozenset[str], measured: Measured | None) -> dict[str, float]:
    """The inputs and outputs whose measured values exceed half precision, with the largest value."""
    ranges = measured.ranges if measured is not None else {}
    return {name: ranges[name] for name in sorted(names) if ranges.get(name, 0.0) > HALF_LARGEST / MARGIN}


def border_refusal(name: str, reaches: float, path: SpecPath) -> Problem:
    """The error for an input or output that the spec wants converted but whose values do not fit the type."""
    fact = f"'{name}' reaches {reaches:.6g} on the calibration set, float16 ends at {HALF_LARGEST:.0f}"
    return Problem(
        Code.BORDER_TYPE,
        f"{fact} (a margin of {MARGIN:g} is kept)",
        f"keep its type: io: {{{name}: keep}}",
        path=path,
    )


def bare_output(graph: ir.Graph, index: int, wanted: ir.DataType, types: Types, made: Types) -> bool:
    """Removes the final Cast of an output when its source already has the wanted type; returns whether it could."""
    output = graph.outputs[index]
    cast = output.producer()
    if cast is None or not is_transparent(cast, types):
        return False
    source = cast.inputs[0]
    assert source is not None, "a Cast has an input"
    maker = source.producer()
    if maker is None or maker.graph is not graph or source.is_graph_output() or made[source] != wanted:
        return False
    if maker.op_type == "Constant":
        return False
    output.name, source.name = source.name, output.name
    source.shape, source.type = output.shape, ir.TensorType(wanted)
    graph.outputs[index] = source
    return True


def _borders(model: ir.Model) -> list[ir.Value]:
    constants = set(model.graph.initializers)
    return [*model.graph.inputs, *(one for one in model.graph.outputs if one.name not in constants)]


def _is(glob: str, name: str) -> bool:
    return glob == name or fnmatchcase(name, glob)


def _unmatched(glob: str, model: ir.Model, floats: list[str], path: SpecPath) -> Problem:
    if any(_is(glob, value.name or "") for value in _borders(model)):
        return Problem(
            Code.BORDER_TYPE, f"'{glob}' is not a float tensor: its type stays", "leave it out", path=path
        )
    close = difflib.get_close_matches(glob, floats, n=1, cutoff=0.4)
    hint = f"did you mean '{close[0]}'? " if close else ""
    names = ", ".join(f"'{name}'" for name in dict.fromkeys(floats)) or "none"
    return Problem(
        Code.UNKNOWN_TENSOR,
        f"no input or output is called '{glob}'",
        f"{hint}float ones are {names}",
        path=path,
    )
