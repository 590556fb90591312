"""Compute capabilities: how they are ordered and written, and which exist. Independent of GPU names and TensorRT."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SPELLINGS = (
    re.compile(r"(?:sm|compute)[_-]?(?P<major>\d{1,2})(?P<minor>\d)[af]?", re.IGNORECASE),
    re.compile(r"(?P<major>\d{1,2})\.(?P<minor>\d)"),
    re.compile(r"(?P<major>\d{1,2})(?P<minor>\d)"),
)

ARCHITECTURES: dict[tuple[int, int], str] = {
    (5, 0): "Maxwell",
    (5, 2): "Maxwell",
    (5, 3): "Maxwell",
    (6, 0): "Pascal",
    (6, 1): "Pascal",
    (6, 2): "Pascal",
    (7, 0): "Volta",
    (7, 2): "Volta",
    (7, 5): "Turing",
    (8, 0): "Ampere",
    (8, 6): "Ampere",
    (8, 7): "Ampere",
    (8, 8): "Ampere",
    (8, 9): "Ada Lovelace",
    (9, 0): "Hopper",
    (10, 0): "Blackwell",
    (10, 1): "Blackwell",
    (10, 3): "Blackwell",
    (11, 0): "Blackwell",
    (12, 0): "Blackwell",
    (12, 1): "Blackwell",
}
"""Capability → architecture, from 5.0 on (CUDA programming guide, appendix on compute capabilities)."""


@dataclass(frozen=True, slots=True, order=True)
class ComputeCapability:
    """The generation of a GPU's instruction set, as CUDA numbers it: 8.9 is Ada Lovelace."""

    major: int
    minor: int

    @property
    def sm(self) -> str:
        """The form used in specs, keys and file names: `sm89`."""
        return f"sm{self.major}{self.minor}"

    @property
    def architecture(self) -> str:
        """`Ada Lovelace`, or an empty text for a capability that is not known."""
        return ARCHITECTURES.get((self.major, self.minor), "")

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> ComputeCapability:
        """The capability written as `sm89`, `sm_89`, `compute_89`, `8.9` or `89`. Raises ValueError."""
        for spelling in _SPELLINGS:
            match = spelling.fullmatch(text.strip())
            if match:
                return cls(int(match["major"]), int(match["minor"]))
        raise ValueError(f"not a compute capability: {text!r}")


TURING = ComputeCapability(7, 5)
AMPERE = ComputeCapability(8, 0)
ADA = ComputeCapability(8, 9)


def known_capabilities() -> tuple[ComputeCapability, ...]:
    """Every capability that has a GPU, in order."""
    return tuple(ComputeCapability(*numbers) for numbers in sorted(ARCHITECTURES) if numbers != (10, 1))
