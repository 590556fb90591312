"""Which TensorRT versions can build a model for which GPUs, and what they reject, by the rules of `targets` and
`proofs`.

Covers every version whose rules trtpipe knows; adjacent versions with the same answer share a line. Nothing is built.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from trtpipe.errors import Problem
from trtpipe.proofs.rtx_operators import custom_operators, operator_refusals
from trtpipe.proofs.typed_nodes import TypedModel
from trtpipe.targets.capabilities import buildable
from trtpipe.targets.compute_capability import TURING, ComputeCapability, known_capabilities
from trtpipe.targets.toolchain import FLAVOURS, TITLES, Flavour
from trtpipe.targets.types_by_gpu import gemm_refusals, missing_types

if TYPE_CHECKING:
    import onnx

VERSIONS: dict[Flavour, tuple[str, ...]] = {
    "tensorrt_rtx": ("1.4", "1.5", "1.6", "1.7"),
    "tensorrt": ("10.0", "10.8", "10.13", "11.0"),
}
"""The versions at which some rule changes, oldest first; for RTX, those that were tried."""


@dataclass(frozen=True, slots=True)
class Support:
    """The answer of versions of one flavour for one GPU generation; `refused` is empty if they can build the model."""

    capability: str
    architecture: str
    flavour: Flavour
    versions: str
    """`1.4 to 1.6`, `1.7 or later`."""
    refused: tuple[str, ...]
    notes: tuple[str, ...] = ()


def support_of(
    nodes: Sequence[onnx.NodeProto], typed: TypedModel, capabilities: Collection[ComputeCapability] = ()
) -> tuple[Support, ...]:
    """A line for each GPU generation, flavour and run of versions.

    Without named generations all are listed, except those that no version of a flavour builds for.
    """
    asked = capabilities or [one for one in known_capabilities() if one >= TURING and _has_builder(one)]
    operators = {version: operator_refusals(nodes, version) for version in VERSIONS["tensorrt_rtx"]}
    custom = ", ".join(f"'{name}'" for name in custom_operators(nodes))
    notes = (f"needs a plugin for {custom}",) if custom else ()
    found: list[Support] = []
    for capability in sorted(set(asked)):
        for flavour in sorted(FLAVOURS, key=lambda one: one != "tensorrt_rtx"):
            answers = [
                (version, _refusals(flavour, version, capability, operators.get(version, []), typed))
                for version in VERSIONS[flavour]
                if buildable(flavour, version, capability) is None
            ]
            told = notes if flavour == "tensorrt" else ()
            found += _lines(capability, flavour, answers, told, named=bool(capabilities))
    return tuple(found)


def _has_builder(capability: ComputeCapability) -> bool:
    return any(
        buildable(flavour, version, capability) is None
        for flavour in VERSIONS
        for version in VERSIONS[flavour]
    )


def _refusals(
    flavour: Flavour,
    version: str,
    capability: ComputeCapability,
    operators: Sequence[Problem],
    typed: TypedModel,
) -> tuple[str, ...]:
    problems = [
        *operators,
        *missing_types(flavour, [capability], typed.dtypes),
        *gemm_refusals(flavour, version, [capability], typed.nodes),
    ]
    return tuple(problem.fact for problem in problems if problem.severity == "error")


def _lines(
    capability: ComputeCapability,
    flavour: Flavour,
    answers: Sequence[tuple[str, tuple[str, ...]]],
    notes: tuple[str, ...],
    *,
    named: bool,
) -> list[Support]:
    sm, architecture = capability.sm, capability.architecture
    if not answers and not named:
        return []
    if not answers:
        return [Support(sm, architecture, flavour, "none", (f"no {TITLES[flavour]} builds for {sm}",))]
    lines = []
    for refused, run in groupby(answers, key=lambda one: one[1]):
        versions = [version for version, _ in run]
        newest = versions[-1] == VERSIONS[flavour][-1]
        span = versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"
        lines.append(
            Support(sm, architecture, flavour, f"{versions[0]} or later" if newest else span, refused, notes)
        )
    return lines
