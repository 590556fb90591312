"""Element types that TensorRT-RTX accepts for each operator, as tested: `operator_types.json`, loaded on first use.

`tests/conformance/sweep_types.py` makes the file: models of one node, one type variable of ONNX's schema at a time set
to one type, parsed and built by each version. Combinations that were not tested get no verdict. Types have ONNX's names
here.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from trtpipe.json_values import object_in, read_object, text_in, texts_in
from trtpipe.targets.toolchain import parse_version

_FILE = Path(__file__).with_name("operator_types.json")
ALL = "all"
"""Stands in the file for every type variable of an operator that has floats, set together."""


class TypeRefusal(NamedTuple):
    """Which part (`parser` or `builder`) of which versions, oldest first, rejects a type; and the accepted types."""

    by: str
    versions: tuple[str, ...]
    taken: tuple[str, ...]


def tried_versions() -> tuple[str, ...]:
    """The tested versions of TensorRT-RTX, oldest first."""
    return _table().tried


def type_refusal(op_type: str, variable: str, dtype: str) -> TypeRefusal | None:
    """The versions that reject an operator with that type; None if all accept it or none was tested."""
    return _table().refused.get((op_type, variable, dtype))


def newest_refuses(op_type: str, variable: str, dtype: str) -> TypeRefusal | None:
    """The refusal, if the newest tested version has it; types that only older versions reject may still be built.

    For an operator with several type variables, the result with all of them of that type is used, if tested.
    """
    together = (op_type, ALL, dtype)
    found = type_refusal(op_type, ALL if together in _table().taken else variable, dtype)
    return found if found is not None and tried_versions()[-1] in found.versions else None


def refuses_type(version: str, op_type: str, variable: str, dtype: str) -> TypeRefusal | None:
    """The refusal, if this version has one; for an untested version, that of the nearest older one."""
    found = type_refusal(op_type, variable, dtype)
    return found if found is not None and nearest_tried(version) in found.versions else None


def nearest_tried(version: str) -> str:
    """The tested version that stands in for this one: of the same release, else the nearest older one, else any."""
    wanted = parse_version(version)[:2]
    older = [one for one in tried_versions() if parse_version(one)[:2] <= wanted]
    return older[-1] if older else tried_versions()[0]


def is_newer(version: str) -> bool:
    """Whether a version is from a newer release than any tested one."""
    return parse_version(version)[:2] > parse_version(tried_versions()[-1])[:2]


class _Table(NamedTuple):
    tried: tuple[str, ...]
    taken: frozenset[tuple[str, str, str]]
    refused: dict[tuple[str, str, str], TypeRefusal]


@lru_cache(maxsize=1)
def _table() -> _Table:
    record = read_object(_FILE.read_text(encoding="utf-8"))
    refused: dict[tuple[str, str, str], TypeRefusal] = {}
    taken: set[tuple[str, str, str]] = set()
    operators = object_in(record, "operators")
    for op in operators:
        variables = object_in(operators, op)
        for variable in variables:
            row = object_in(variables, variable)
            types = object_in(row, "refused")
            instead = tuple(texts_in(row, "taken"))
            taken |= {(op, variable, dtype) for dtype in instead}
            for dtype in types:
                said = object_in(types, dtype)
                versions = sorted(texts_in(said, "versions"), key=parse_version)
                refused[op, variable, dtype] = TypeRefusal(text_in(said, "by"), tuple(versions), instead)
    tried = sorted(texts_in(record, "tried"), key=parse_version)
    return _Table(tuple(tried), frozenset(taken), refused)
