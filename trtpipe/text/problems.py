"""Problems as JSON: the form that the `--json` output of every command shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtpipe.errors import Problem
    from trtpipe.json_values import Json, JsonObject


def problem_json(problem: Problem) -> dict[str, Json]:
    """A problem as a JSON object."""
    where = problem.where
    place: JsonObject | None = None
    if where is not None:
        place = {"file": where.file, "line": where.line, "column": where.column}
    return {
        "severity": problem.severity,
        "code": str(problem.code),
        "fact": problem.facts,
        "remedy": problem.remedy,
        "where": place,
    }
