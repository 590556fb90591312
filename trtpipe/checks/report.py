"""The result of `check`: what was proved of specs, and all problems."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trtpipe.errors import Problem


@dataclass(slots=True)
class CheckReport:
    """What was proved, and all problems."""

    problems: list[Problem] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    bundles: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        """The problems that are errors."""
        return [problem for problem in self.problems if problem.severity == "error"]
