"""Problems as a Code Quality report, which GitLab shows at the lines of a merge request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from trtpipe.errors import Problem
from trtpipe.json_values import Json

_SEVERITIES = {"error": "major", "warning": "minor", "note": "info"}
_MOST = 4000


def code_quality(problems: Iterable[Problem], files: Mapping[str, str]) -> list[dict[str, Json]]:
    """An entry for each problem that has a place in a file; `files` has paths from the repository's root, by name."""
    return [_entry(one, files) for one in dict.fromkeys(problems) if one.where is not None]


def _entry(problem: Problem, files: Mapping[str, str]) -> dict[str, Json]:
    assert problem.where is not None, "only problems with a place have an entry"
    path = files.get(problem.where.file, problem.where.file)
    told = f"{problem.fact}\n{problem.remedy}".strip()[:_MOST]
    identity = f"{path}:{problem.where.line}:{problem.code}:{told}"
    return {
        "description": told,
        "check_name": str(problem.code),
        "fingerprint": hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest(),
        "severity": _SEVERITIES[problem.severity],
        "location": {"path": path, "lines": {"begin": problem.where.line}},
    }
