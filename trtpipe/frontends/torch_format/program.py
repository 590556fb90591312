"""Reads an exported program's description, and rejects everything that a program does not need.

When PyTorch loads a program, it looks up names and evaluates expressions from the file; everything that could name
something other than an operator or a size is rejected here, before PyTorch sees the file. The format is that of
torch.export.save of PyTorch 2.8 and newer (`torch/_export/serde/schema.py`, archive version 0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.torch_format.expressions import is_arithmetic, symbol_of
from trtpipe.problem_codes import Code

Dim = int | str | None
"""A size, the name of a symbol, or an expression of symbols."""

_OPERATOR = re.compile(
    r"torch\.ops\.(?!profiler|rpc|c10d)\w+\.\w+(\.\w+)?"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pos|pow|lt|le|gt|ge|eq|ne|and_|or_|not_|getitem|index)"
    r"|math\.(ceil|floor|trunc|sqrt|log2)"
    r"|torch\._?sym_\w+"
)
_FORBIDDEN_OPERATORS = frozenset(("torch.ops.aten.from_file.default", "torch.ops.aten.from_file.out"))
_IMPORTING = ("__enum__", "default_factory_module")
"""What makes PyTorch import a module that a description of inputs or outputs names."""
_MOST_PROBLEMS = 8


@dataclass(frozen=True, slots=True)
class ProgramFacts:
    """Inputs and outputs by name, in order; sizes of inputs; the values that symbols may have; PyTorch's version."""

    torch_version: str
    inputs: Mapping[str, tuple[Dim, ...]]
    outputs: tuple[str, ...]
    ranges: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)


def facts_of(model: Mapping[str, Any]) -> ProgramFacts:
    """The facts of a `models/model.json`. Raises ModelError when it is invalid or not allowed."""
    problems = list(_too_much(model))
    if problems:
        raise ModelError(problems[:_MOST_PROBLEMS])
    try:
        graph = model["graph_module"]["graph"]
        signature = model["graph_module"]["signature"]
        names = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
        inputs = {arg["as_tensor"]["name"]: arg for arg in names if "as_tensor" in arg}
        outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
        return ProgramFacts(
            str(model["torch_version"]),
            {name: tuple(map(_dim, graph["tensor_values"][name]["sizes"])) for name in inputs},
            tuple(str(arg["as_tensor"]["name"]) for arg in outputs if "as_tensor" in arg),
            {name: _range(one) for name, one in model["range_constraints"].items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        said = f"the exported program is not described as expected: {type(error).__name__} {error}"
        raise ModelError(Code.PYTORCH_DAMAGED, said, "export it again with a newer PyTorch") from error


def _dim(size: Mapping[str, Any]) -> Dim:
    return int(size["as_int"]) if "as_int" in size else symbol_of(size["as_expr"]["expr_str"])


def _range(found: Mapping[str, Any]) -> tuple[int | None, int | None]:
    low, high = found.get("min_val"), found.get("max_val")
    return (None if low is None else int(low)), (None if high is None else int(high))


def _too_much(model: object) -> Iterator[Problem]:
    """Everything in the description that could make PyTorch do more than build a graph."""
    for key, text in _texts(model):
        if key == "expr_str" and not is_arithmetic(text):
            yield _refusal(f"the size {text[:80]!r} is not arithmetic on sizes")
        elif key == "target" and (not _OPERATOR.fullmatch(text) or text in _FORBIDDEN_OPERATORS):
            yield _refusal(f"the program calls {text[:80]!r}, which is not an operator of a network")
        elif key in ("in_spec", "out_spec") and any(word in text for word in _IMPORTING):
            yield _refusal("the program's inputs or outputs are described by classes that would be imported")


def _refusal(fact: str) -> Problem:
    return Problem(
        Code.PYTORCH_REFUSED,
        fact,
        "it is not loaded; export a model with tensors as inputs and outputs and only PyTorch's operators",
    )


def _texts(value: object) -> Iterator[tuple[str, str]]:
    """Every string in a JSON value, at any depth, with its key."""
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        key, one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.items())
        elif isinstance(one, list):
            waiting.extend((key, item) for item in one)
        elif isinstance(one, str):
            yield key, one
