"""Formats the cause of a changed field, as a line and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trtpipe.json_values import Json
from trtpipe.plan.address import Address
from trtpipe.plan.origins import FromMaker, InDataSet, InFile, InSpec, Nowhere, Origin
from trtpipe.unions import assert_never


class Told(Protocol):
    """A commit, in words and as JSON."""

    def to_json(self) -> Mapping[str, Json]:
        """As a JSON object."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Where the value of a field comes from, and the commit that last changed it there."""

    origin: Origin
    file: str = ""
    """The file as it is shown; empty where the value stands in none."""
    line: int = 0
    """The line in it, from 1; 0 where the whole file counts."""
    commit: Told | None = None
    """None where git does not know."""

    @property
    def place(self) -> str:
        """File and line as people read them: `pipelines/digits.yaml:14`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def place_json(self) -> dict[str, Json]:
        """Where the value comes from, as a JSON object; `kind` tells what else is in it."""
        match self.origin:
            case InSpec() | InDataSet():
                kind = "spec" if isinstance(self.origin, InSpec) else "data_set"
                return {"kind": kind, "file": self.file or None, "line": self.line or None}
            case InFile():
                return {"kind": "file", "file": self.file}
            case FromMaker(address):
                return {"kind": "step", "address": str(address)}
            case Nowhere(why):
                return {"kind": "nowhere", "why": why}
        assert_never(self.origin)


Causes = Mapping[tuple[Address, str], Cause]
"""Step and field → what stands behind it, of the fields that changed."""
