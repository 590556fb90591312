"""Selects what a machine runs: the pure function from an index and a machine's facts to a verdict with all reasons.

The order of an index is its maker's preference: the first variant that fits wins, and of its engines the one that was
built most closely for the GPU. A bundle is run by engines of one target or not at all, because only those were proved
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trtpipe.errors import SpecError
from trtpipe.json_values import Json
from trtpipe.packages.index import Index, PackedEngine, PackedModel
from trtpipe.problem_codes import Code
from trtpipe.selection.machine import Machine
from trtpipe.selection.rules import why_not
from trtpipe.toolchains.detect import DetectedGpu

_CLOSE = {"none": 0, "same_compute_capability": 1, "ampere_plus": 2}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One engine, and why the machine cannot run it; `why_not` is empty when it can."""

    model: str
    engine: PackedEngine
    why_not: str
    gpu: DetectedGpu | None = None
    """The GPU that runs it."""

    def to_json(self) -> dict[str, Json]:
        """This candidate as plain JSON values."""
        return {
            "model": self.model,
            "cell": self.engine.cell,
            "target": self.engine.target,
            "variant": self.engine.variant,
            "file": self.engine.file,
            "fits": not self.why_not,
            "why_not": self.why_not,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """What the machine should run for one model."""

    model: str
    kind: Literal["engine", "fallback", "none"]
    file: str | None
    """In the package; the typed ONNX for a fallback."""
    variant: str | None = None
    cell: str | None = None
    gpu: int | None = None
    """The number of the GPU, as CUDA counts those that are visible."""
    manifest: str | None = None
    plugins: tuple[str, ...] = ()
    """Libraries to load first."""

    def to_json(self) -> dict[str, Json]:
        """This choice as plain JSON values."""
        return {
            "model": self.model,
            "kind": self.kind,
            "file": self.file,
            "variant": self.variant,
            "cell": self.cell,
            "gpu": self.gpu,
            "manifest": self.manifest,
            "plugins": list(self.plugins),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The choice for every model, and each engine's reason."""

    package: str
    machine: Machine
    choices: tuple[Choice, ...]
    candidates: tuple[Candidate, ...]
    target: str | None = None
    """The target of a bundle whose engines were chosen."""

    @property
    def runs_engines(self) -> bool:
        """Whether the machine runs every model as an engine."""
        return all(one.kind == "engine" for one in self.choices)

    def to_json(self) -> dict[str, Json]:
        """The whole verdict as plain JSON values."""
        return {
            "schema": 1,
            "package": self.package,
            "machine": self.machine.to_json(),
            "engines": self.runs_engines,
            "target": self.target,
            "choices": [one.to_json() for one in self.choices],
            "candidates": [one.to_json() for one in self.candidates],
        }


def choose(index: Index, machine: Machine, variant: str | None = None) -> Verdict:
    """What a machine should run of a package, or of one variant of it. Raises SpecError if that is unknown."""
    candidates = tuple(
        judge(model.name, engine, machine)
        for model in index.models
        for engine in model.engines
        if variant in (None, engine.variant)
    )
    if variant is not None and not candidates:
        known = ", ".join(dict.fromkeys(one.variant for model in index.models for one in model.engines))
        fact = f"package '{index.package}' has no variant {variant!r}: it has {known or 'no engines'}"
        raise SpecError(Code.NO_MATCH, fact)
    if index.bundle is not None:
        return _of_bundle(index, machine, candidates)
    chosen = [_best([one for one in candidates if one.model == model.name]) for model in index.models]
    choices = [
        _engine(one) if one else fallback(model, variant)
        for one, model in zip(chosen, index.models, strict=True)
    ]
    return Verdict(index.package, machine, tuple(choices), candidates)


def judge(model: str, engine: PackedEngine, machine: Machine) -> Candidate:
    """Whether one of the machine's GPUs runs an engine; else the first GPU's reason."""
    if not machine.gpus:
        return Candidate(model, engine, "the machine has no NVIDIA GPU")
    reasons = [(why_not(engine, machine, gpu), gpu) for gpu in machine.gpus]
    fitting = next((gpu for reason, gpu in reasons if not reason), None)
    return Candidate(model, engine, "" if fitting else reasons[0][0], fitting)


def fallback(model: PackedModel, variant: str | None = None) -> Choice:
    """The typed ONNX of a model, or nothing when the package has none."""
    for one in model.fallbacks:
        if variant in (None, one.variant):
            return Choice(model.name, "fallback", one.file, one.variant)
    return Choice(model.name, "none", None)


def _of_bundle(index: Index, machine: Machine, candidates: Sequence[Candidate]) -> Verdict:
    """All members by engines of one target on one GPU, or all by their typed models."""
    fitting = {(one.model, one.engine.cell): one for one in candidates if not one.why_not}
    names = [model.name for model in index.models]
    complete = {
        target: [fitting[name, cells[name]] for name in names]
        for target, cells in index.targets.items()
        if all((name, cells.get(name)) in fitting for name in names)
    }
    found = tuple(candidates)
    if not complete:
        return Verdict(index.package, machine, tuple(map(fallback, index.models)), found)
    target = min(complete, key=lambda name: max(_closeness(one.engine) for one in complete[name]))
    return Verdict(index.package, machine, tuple(map(_engine, complete[target])), found, target)


def _best(candidates: Sequence[Candidate]) -> Candidate | None:
    """The first variant that fits, by the engine that is closest to the GPU."""
    fitting = [one for one in candidates if not one.why_not]
    if not fitting:
        return None
    variant = fitting[0].engine.variant
    return min(
        (one for one in fitting if one.engine.variant == variant), key=lambda one: _closeness(one.engine)
    )


def _closeness(engine: PackedEngine) -> tuple[int, int, int, bool]:
    """Smaller for an engine that was built for fewer machines, and so can be faster on this one."""
    level = _CLOSE.get(engine.hardware_compatibility, len(_CLOSE))
    return level, int(engine.gpu is None), len(engine.compute_capabilities), engine.version_compatible


def _engine(one: Candidate) -> Choice:
    engine = one.engine
    number = one.gpu.index if one.gpu else None
    return Choice(
        one.model, "engine", engine.file, engine.variant, engine.cell, number, engine.manifest, engine.plugins
    )
