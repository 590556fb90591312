"""Checks cells (variant × target): whether the toolchain can build the typed model for those GPUs.

Also reports what cannot be built or run on this machine, which is no error: those cells are for another machine.
All facts about GPUs and toolchains are passed in as values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.foreign_types import foreign_values
from trtpipe.proofs.model import ModelView
from trtpipe.proofs.refused_forms import refused_forms
from trtpipe.proofs.rtx_operators import custom_operators, operator_refusals
from trtpipe.proofs.target_options import prove_options
from trtpipe.proofs.typed_nodes import TypedModel, called
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.targets.capabilities import buildable, buildable_here, runnable_here
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import Flavour, parse_version
from trtpipe.targets.types_by_gpu import block_refusals, gemm_refusals, missing_types

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json


@dataclass(frozen=True, slots=True)
class TargetView:
    """A target of the spec, resolved."""

    name: str
    capabilities: tuple[ComputeCapability, ...]
    flavour: Flavour
    version: str


@dataclass(frozen=True, slots=True)
class CellProof:
    """The result of checking one cell; `notes` say why it is not built or run here."""

    cell: str
    buildable: bool
    """The toolchain can build it, somewhere."""
    buildable_here: bool
    runnable_here: bool
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """This proof as plain JSON values."""
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"notes": list(self.notes)}


def prove_cells(
    spec: PipelineSpec,
    targets: Sequence[TargetView],
    typed: Mapping[str, TypedModel],
    view: ModelView,
    *,
    present: Collection[ComputeCapability] = (),
    wanted: Callable[[str], bool] = lambda cell: True,
) -> tuple[tuple[CellProof, ...], list[Problem]]:
    """A proof for each cell that is wanted, and all problems of options, GPUs, operators and types, each reported once.

    `typed` has the typed model of each variant. `view` shows what the spec's transform leaves of the model; only that
    is judged. `present` are this machine's GPUs.
    """
    options = prove_options(spec, [(one.name, one.flavour, one.version) for one in targets])
    nodes = view.live_nodes()
    foreign = foreign_values(view)
    of_model = refused_forms(view.proto, nodes, view.inputs) + ([foreign.problem] if foreign else [])
    plain = [node for node in nodes if not foreign or node.output[0] not in foreign.nodes]
    operators = _operators(spec, targets, plain)
    judged = _Judged({called(node) for node in nodes})
    problems = [*options, *of_model, *operators]
    proofs = []
    for target in targets:
        of_gpu = _of_gpu(target)
        problems += of_gpu
        concerning = [problem for problem in (*options, *operators) if _concerns(problem, target)]
        shared = [*of_gpu, *of_model, *concerning]
        of_types = {variant: judged.refusals(target, model) for variant, model in typed.items()}
        able = [variant for variant, refused in of_types.items() if not refused]
        for variant, refused in of_types.items():
            cell = f"{spec.pipeline}/{variant}@{target.name}"
            if not wanted(cell):
                continue
            placed = [_placed(problem, cell, target, able) for problem in refused]
            problems += placed
            proofs.append(_proof(spec, cell, target, [*shared, *placed], present))
    return tuple(proofs), problems


def _operators(
    spec: PipelineSpec, targets: Sequence[TargetView], nodes: Sequence[onnx.NodeProto]
) -> list[Problem]:
    """The model's operators that RTX rejects, by its oldest version; and who must provide custom ones."""
    versions = sorted({one.version for one in targets if one.flavour == "tensorrt_rtx"}, key=parse_version)
    found: dict[str, Problem] = {}
    for version in versions:
        for problem in operator_refusals(nodes, version):
            found.setdefault(problem.fact, replace(problem, path=("model", "source")))
    custom = [f"'{name}'" for name in custom_operators(nodes)]
    if custom and not spec.plugins and len(versions) < len({(one.flavour, one.version) for one in targets}):
        fact = f"TensorRT needs a plugin for what is not ONNX's own: {', '.join(custom)}"
        remedy = "its stock plugins are always there; name other libraries under 'plugins'"
        found[fact] = Problem(Code.PLUGIN_NEEDED, fact, remedy, path=("model", "source"), severity="note")
    return list(found.values())


def _of_gpu(target: TargetView) -> list[Problem]:
    path = ("targets", target.name, "gpu")
    refused = (buildable(target.flavour, target.version, one) for one in target.capabilities)
    return [replace(problem, path=path) for problem in refused if problem is not None]


def _concerns(problem: Problem, target: TargetView) -> bool:
    """Whether a problem of the options or operators applies to this target's engines."""
    if problem.path[0] == "targets":
        return problem.path[1] == target.name
    return target.flavour == "tensorrt_rtx"


class _Judged:
    """Caches what targets reject, for models that several variants share and for equal targets."""

    def __init__(self, live: Collection[str]) -> None:
        self._live = live
        self._left: dict[int, _Left] = {}
        self._found: dict[tuple[object, ...], list[Problem]] = {}

    def refusals(self, target: TargetView, model: TypedModel) -> list[Problem]:
        """The types and operators of a model that a target rejects."""
        key = (id(model), target.flavour, target.version, target.capabilities)
        if key not in self._found:
            self._found[key] = _of_types(target, self._left_of(model))
        return self._found[key]

    def _left_of(self, model: TypedModel) -> _Left:
        if id(model) not in self._left:
            left = model.only(self._live)
            self._left[id(model)] = _Left(model, left, left.dtypes)
        return self._left[id(model)]


class _Left(NamedTuple):
    """The remaining nodes of a typed model. Holds the model, because caches use its id, which must not be reused."""

    whole: TypedModel
    model: TypedModel
    dtypes: frozenset[str]


def _of_types(target: TargetView, left: _Left) -> list[Problem]:
    able = [one for one in target.capabilities if buildable(target.flavour, target.version, one) is None]
    return [
        *missing_types(target.flavour, able, left.dtypes),
        *block_refusals(target.flavour, left.dtypes, left.model.block),
        *gemm_refusals(target.flavour, target.version, able, left.model.nodes),
    ]


def _placed(problem: Problem, cell: str, target: TargetView, able: Sequence[str]) -> Problem:
    """The problem of a cell, with those variants of the spec that its target can build."""
    names = ", ".join(f"'{name}'" for name in able)
    remedy = f"{problem.remedy}; of the spec's variants it can build {names}" if able else problem.remedy
    return replace(
        problem, fact=f"{cell}: {problem.fact}", remedy=remedy, path=("targets", target.name, "gpu")
    )


def _proof(
    spec: PipelineSpec,
    cell: str,
    target: TargetView,
    problems: Sequence[Problem],
    present: Collection[ComputeCapability],
) -> CellProof:
    cannot = [problem.fact for problem in problems if problem.severity == "error"]
    if cannot:
        return CellProof(
            cell, buildable=False, buildable_here=False, runnable_here=False, notes=tuple(cannot)
        )
    elsewhere = buildable_here(target.flavour, target.capabilities, present)
    compatibility = spec.targets[target.name].hardware_compatibility
    missing = runnable_here(target.capabilities, present, compatibility)
    notes = [f"not built here: {elsewhere.fact}"] if elsewhere else []
    notes += [f"not run here: it {missing}"] if missing else []
    return CellProof(cell, True, elsewhere is None, not missing, tuple(notes))
