"""Problems as GitHub Actions workflow commands: `::error file=...,line=...,col=...::text`.

The escapes are those of the runner's toolkit: percent, carriage return and line feed everywhere; colon and comma in
properties too. So a text cannot break out of its line or its property.
"""

from __future__ import annotations

from trtpipe.errors import Problem

_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}
_LEVELS = {"error": "error", "warning": "warning", "note": "notice"}
_MOST = 4000


def annotation(problem: Problem, *, title: str = "", file: str = "") -> str:
    """The command that shows a problem at its place; `file` is its path from the repository's root."""
    properties = []
    where = problem.where
    if where is not None:
        properties += [f"file={_property(file or where.file)}", f"line={where.line}", f"col={where.column}"]
    if title:
        properties.append(f"title={_property(title)}")
    told = f"{problem.facts}\n{problem.remedy}".strip()[:_MOST]
    head = " ".join(filter(None, (_LEVELS[problem.severity], ",".join(properties))))
    return f"::{head}::{_escaped(told, _DATA)}"


def _property(text: str) -> str:
    return _escaped(text, _PROPERTY)


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(char, char) for char in text)
