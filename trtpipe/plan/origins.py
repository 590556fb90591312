"""Where a value in a step's fingerprint comes from: a line of a spec, a file, another step, or none of these.

The planner records the origin of every value as it puts the value into the plan. An origin is a path in a spec, not yet
a line: code that has the loaded specs looks the line up, or the nearest enclosing one if the value was left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trtpipe.errors import SpecPath
from trtpipe.plan.address import Address
from trtpipe.plan.fingerprint import RecordPath


@dataclass(frozen=True, slots=True)
class InSpec:
    """A path in the pipeline's spec. Shared sections (targets, builder) may be in `trtpipe.yaml` instead."""

    path: SpecPath

    def at(self, *rest: str | int) -> InSpec:
        """The place of something inside this one."""
        return InSpec((*self.path, *rest))

    def each(self, *names: str) -> dict[str, Origin | Parts]:
        """The places of some fields that have the same names in the spec."""
        return {name: self.at(name) for name in names}


@dataclass(frozen=True, slots=True)
class InDataSet:
    """A path in a data set's own file, `calibration/NAME.yaml`."""

    name: str
    path: SpecPath = ()

    def at(self, *rest: str | int) -> InDataSet:
        """The place of something inside this one."""
        return InDataSet(self.name, (*self.path, *rest))


@dataclass(frozen=True, slots=True)
class InFile:
    """The bytes of a file that existed before the build."""

    path: Path

    def at(self, *rest: str | int) -> InFile:
        """The same file, because positions inside it are not tracked."""
        return self


@dataclass(frozen=True, slots=True)
class FromMaker:
    """An output of another step."""

    address: Address

    def at(self, *rest: str | int) -> FromMaker:
        """The same step."""
        return self


@dataclass(frozen=True, slots=True)
class Nowhere:
    """No line or file of the user; `why` says what determines the value instead."""

    why: str

    def at(self, *rest: str | int) -> Nowhere:
        """The same origin."""
        return self


Origin: TypeAlias = InSpec | InDataSet | InFile | FromMaker | Nowhere


@dataclass(frozen=True, slots=True)
class Parts:
    """For a mapping whose values have different origins: the origin of each, and the default for the others."""

    whole: Origin
    parts: Mapping[str, Origin | Parts]


PACKAGE = Nowhere("the version of an installed package")
PLUGIN = Nowhere("the version of a part of trtpipe")
STAGE = Nowhere("the version of trtpipe's stage")
FORM = Nowhere("the form of a fingerprint")
CONSTANT = Nowhere("a constant of trtpipe")
NO_INPUT = Nowhere("the step has no such input now")


def inside(origin: Origin | Parts, rest: RecordPath) -> Origin:
    """The origin of the value at `rest` inside a value, derived from that value's origin."""
    if not isinstance(origin, Parts):
        return origin.at(*rest)
    if rest and rest[0] in origin.parts:
        return inside(origin.parts[str(rest[0])], rest[1:])
    return origin.whole.at(*rest)
