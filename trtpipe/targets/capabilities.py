"""Which compute capabilities each TensorRT version can build for, and on which GPUs an engine runs. Pure rules.

Sources: the ComputeCapability enum of each TensorRT-RTX binding (1.4 to 1.7) and builds for every member of it; for the
flavour tensorrt NVIDIA's support matrices and release notes (10.0 to 11.4: Blackwell came with 10.8, GB300 and DGX
Spark with 10.13, Jetson is not in 11). A version newer than these gets the rules of the newest known one. Rules that
depend on types are in `types_by_gpu` and re-exported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.targets.compute_capability import AMPERE, ComputeCapability
from trtpipe.targets.toolchain import FLAVOURS, TITLES, Flavour, parse_version
from trtpipe.targets.types_by_gpu import TypedNode, gemm_refusals, missing_types, supports_type

__all__ = [
    "TypedNode",
    "buildable",
    "buildable_here",
    "capabilities_of",
    "gemm_refusals",
    "missing_types",
    "nearest_alternatives",
    "needs_own_gpu",
    "runnable_here",
    "supports_type",
]

Span = tuple[int, int, tuple[int, ...], tuple[int, ...] | None]
"""Capability (two numbers), the first version that knows it, the first that no longer does."""

_SPANS: dict[Flavour, tuple[Span, ...]] = {
    "tensorrt_rtx": (
        (7, 5, (1, 0), None),
        (8, 0, (1, 4), None),
        (8, 6, (1, 0), None),
        (8, 9, (1, 0), None),
        (12, 0, (1, 0), None),
        (12, 1, (1, 5), None),
    ),
    "tensorrt": (
        (7, 5, (10, 0), None),
        (8, 0, (10, 0), None),
        (8, 6, (10, 0), None),
        (8, 7, (10, 0), (11, 0)),
        (8, 9, (10, 0), None),
        (9, 0, (10, 0), None),
        (10, 0, (10, 8), None),
        (10, 3, (10, 13), None),
        (11, 0, (10, 13), (11, 0)),
        (12, 0, (10, 8), None),
        (12, 1, (10, 13), None),
    ),
}

Compatibility = Literal["none", "ampere_plus", "same_compute_capability"]


@cache  # asked for every cell
def capabilities_of(flavour: Flavour, version: str) -> tuple[ComputeCapability, ...]:
    """The compute capabilities that this TensorRT builds for, in order."""
    number = parse_version(version)
    return tuple(
        ComputeCapability(major, minor)
        for major, minor, first, end in _SPANS[flavour]
        if number >= first and (end is None or number < end)
    )


def buildable(flavour: Flavour, version: str, capability: ComputeCapability) -> Problem | None:
    """The reason why this TensorRT cannot build for a capability, and what can; None if it can."""
    can = capabilities_of(flavour, version)
    if capability in can:
        return None
    fact = f"{TITLES[flavour]} {version} cannot build for {_called(capability)}"
    known = f"it builds for {', '.join(one.sm for one in can) or 'nothing that trtpipe knows'}"
    return Problem(
        Code.CANNOT_BUILD_FOR, fact, "\n".join([known, *nearest_alternatives(flavour, version, capability)])
    )


def nearest_alternatives(flavour: Flavour, version: str, capability: ComputeCapability) -> tuple[str, ...]:
    """Alternatives for the spec: another version of the flavour, then the other flavour. One sentence each."""
    found = []
    for other in sorted(FLAVOURS, key=lambda one: one != flavour):
        span = next((span for span in _SPANS[other] if ComputeCapability(*span[:2]) == capability), None)
        if span is None:
            continue
        versions = f"{TITLES[other]} {'.'.join(map(str, span[2]))} or later"
        if span[3] is not None:
            versions += f", before {'.'.join(map(str, span[3]))},"
        where = ", on that GPU itself (flavour: tensorrt)" if other == "tensorrt" else ""
        found.append(f"{versions.rstrip(',')} builds for {capability.sm}{where}")
    return tuple(found)


def needs_own_gpu(flavour: Flavour) -> bool:
    """Whether an engine can be built only on the GPU that will run it, because its tactics are timed there."""
    return flavour == "tensorrt"


def buildable_here(
    flavour: Flavour, capabilities: Sequence[ComputeCapability], present: Iterable[ComputeCapability]
) -> Problem | None:
    """The reason why a machine with these GPUs cannot build an engine; None if it can. RTX needs no GPU at all."""
    if not needs_own_gpu(flavour):
        return None
    if len(set(capabilities)) > 1:
        fact = "TensorRT builds an engine for one GPU, the one it is built on"
        return Problem(
            Code.CANNOT_BUILD_FOR, fact, "write a target for each, or use the flavour tensorrt_rtx"
        )
    reason = runnable_here(capabilities, present)
    return (
        Problem(Code.CANNOT_BUILD_FOR, f"TensorRT builds an engine on the GPU it is for: {reason}")
        if reason
        else None
    )


def runnable_here(
    capabilities: Sequence[ComputeCapability],
    present: Iterable[ComputeCapability],
    compatibility: Compatibility = "none",
) -> str:
    """Why an engine for these capabilities cannot run on a machine with these GPUs, or an empty text when it can.

    With hardware compatibility `ampere_plus` any GPU from sm80 on runs it.
    """
    here = sorted(set(present))
    if compatibility == "ampere_plus":
        if any(one >= AMPERE for one in here):
            return ""
        needs = f"{AMPERE.sm} or newer"
    else:
        if set(capabilities) & set(here):
            return ""
        needs = _either([one.sm for one in sorted(set(capabilities))])
    has = _either([one.sm for one in here], "and") if here else "no GPU"
    return f"needs {needs}, this machine has {has}"


def _called(capability: ComputeCapability) -> str:
    architecture = capability.architecture
    return f"{capability.sm} ({architecture})" if architecture else capability.sm


def _either(words: Sequence[str], last: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
