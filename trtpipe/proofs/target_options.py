"""Options of a spec that a target's TensorRT lacks, ignores, or accepts only within limits.

Limits and ignored options were tested on TensorRT-RTX 1.4 to 1.7. Pure rules over the spec's own values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.pipeline import BuilderSpec, PipelineSpec, TargetSpec
from trtpipe.targets.toolchain import TITLES, Flavour, parse_version

_LEAST_WORKSPACE = 1 << 20  # with this workspace or less RTX finds no kernel at all
_MOST_SHARED = 1 << 30  # above it RTX logs an error and uses its own value
_LEAST_SHARED = 2  # 0 and 1 fail an assertion in RTX

_IGNORED = {
    "optimization_level": "it has one level only",
    "sparse_weights": "it never looks for sparsity",
    "avg_timing_iterations": "it times nothing when it builds",
    "max_aux_streams": "it runs on one stream",
}
"""Builder options that change no byte of an RTX engine, and why."""


def prove_options(spec: PipelineSpec, targets: Iterable[tuple[str, Flavour, str]]) -> list[Problem]:
    """The options of the spec that each target's TensorRT rejects; `targets` are (name, flavour, version)."""
    known = list(targets)
    problems: list[Problem] = []
    for name, flavour, version in known:
        problems += _of_target(name, spec.targets[name], flavour, version)
    rtx = [name for name, flavour, _ in known if flavour == "tensorrt_rtx"]
    if rtx:
        problems += [*_of_builder(spec.builder, everywhere=len(rtx) == len(known)), *_plugins(spec, rtx)]
    return problems


def _of_target(name: str, target: TargetSpec, flavour: Flavour, version: str) -> Iterator[Problem]:
    compatibility = target.hardware_compatibility
    if flavour == "tensorrt_rtx" and compatibility != "none":
        yield Problem(
            Code.TARGET_OPTION,
            "TensorRT-RTX has no hardware compatibility levels",
            "list the GPUs instead: gpu: [sm86, sm89, sm120]",
            path=("targets", name, "hardware_compatibility"),
        )
    if flavour == "tensorrt_rtx" and target.version_compatible:
        yield Problem(
            Code.TARGET_OPTION,
            "TensorRT-RTX makes no version-compatible engines",
            "leave it out and build with the version that will run the engine",
            path=("targets", name, "version_compatible"),
        )
    if (
        compatibility == "same_compute_capability"
        and flavour == "tensorrt"
        and parse_version(version) < (10, 9)
    ):
        yield Problem(
            Code.TARGET_OPTION,
            f"{TITLES[flavour]} {version} has no hardware compatibility 'same_compute_capability'",
            "it came with 10.9; 'ampere_plus' is older",
            path=("targets", name, "hardware_compatibility"),
        )


def _plugins(spec: PipelineSpec, rtx: list[str]) -> Iterator[Problem]:
    if spec.plugins:
        names = ", ".join(f"'{name}'" for name in rtx)
        yield Problem(
            Code.TARGET_OPTION,
            f"TensorRT-RTX takes no plugins (targets {names})",
            "give these targets a toolchain of flavour tensorrt",
            path=("plugins",),
        )


def _of_builder(builder: BuilderSpec, *, everywhere: bool) -> Iterator[Problem]:
    if builder.workspace <= _LEAST_WORKSPACE:
        yield Problem(
            Code.BUILDER_OPTION,
            f"a workspace of {format_size(builder.workspace)} is too little for TensorRT-RTX to find any kernel",
            "give it more than 1 MiB; 2GiB is the default",
            path=("builder", "workspace"),
        )
    shared = builder.tactic_shared_memory
    if shared is not None and not _LEAST_SHARED <= shared <= _MOST_SHARED:
        yield Problem(
            Code.BUILDER_OPTION,
            f"TensorRT-RTX takes a tactic_shared_memory of at most 1 GiB, not {format_size(shared)}"
            if shared > _MOST_SHARED
            else f"TensorRT-RTX cannot build with a tactic_shared_memory of {shared} bytes",
            "leave it out for 1 GiB",
            path=("builder", "tactic_shared_memory"),
        )
    for option, why in _IGNORED.items():
        if (
            option in builder.model_fields_set
            and getattr(builder, option) != BuilderSpec.model_fields[option].default
        ):
            yield Problem(
                Code.BUILDER_OPTION,
                f"TensorRT-RTX ignores builder.{option}: {why}",
                "leave it out" if everywhere else "",
                path=("builder", option),
                severity="note",
            )
