"""Resolves a spec's targets to compute capabilities and a toolchain, without importing TensorRT.

It asks in order for a GPU's name, the toolchain, and whether the two are compatible; other modules answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem, SpecPath
from trtpipe.permissions import is_granted, not_allowed
from trtpipe.plan.planner.facts import TargetFacts
from trtpipe.spec.pipeline import PipelineSpec, TargetSpec, ToolchainSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import resolve_gpu
from trtpipe.targets.toolchain import Toolchain
from trtpipe.workspace.project_code import interpreter_code

if TYPE_CHECKING:
    from trtpipe.toolchains.detect import DetectedGpu


_DEFAULT = ToolchainSpec(flavour="tensorrt_rtx")


@dataclass(slots=True)
class TargetResolver:
    """Resolves targets; asks each toolchain once and looks for this machine's GPUs at most once."""

    toolchains: dict[Any, Toolchain | Problem] = field(default_factory=dict)
    gpus: dict[str, ComputeCapability | Problem] = field(default_factory=dict)
    elsewhere: Callable[[], Sequence[DetectedGpu]] = tuple
    """The GPUs of the fleet that builds engines; asked only for a target whose engine is tied to its GPU."""
    recorded: Callable[[str, str], Mapping[str, str]] = lambda pipeline, target: {}
    """The identity of a target's GPU in the lockfile; empty if there is none."""
    _here: tuple[DetectedGpu, ...] | None = None
    _resolved: dict[tuple[Any, ...], TargetFacts] = field(default_factory=dict)
    """The facts of targets of the same GPUs and toolchain, which many cells have in common."""

    def resolve(self, spec: PipelineSpec, name: str) -> TargetFacts | list[Problem]:
        """The resolved target, or its problems, located in the spec."""
        target = spec.targets[name]
        problems: list[Problem] = []
        capabilities = sorted(set(self._capabilities(name, target, problems)))
        toolchain = self.toolchain_of(spec, name)
        if isinstance(toolchain, Problem):
            return [*problems, toolchain]
        if problems:
            return problems
        identity = self._gpu_identity(name, spec, toolchain, capabilities)
        if isinstance(identity, Problem):
            return [identity]
        sms = tuple(one.sm for one in capabilities)
        if identity:
            return TargetFacts(sms, toolchain.facts(), identity, found=toolchain)
        same = (sms, id(toolchain))  # which is kept in `toolchains`
        if same not in self._resolved:
            self._resolved[same] = TargetFacts(sms, toolchain.facts(), {}, found=toolchain)
        return self._resolved[same]

    def toolchain_of(self, spec: PipelineSpec, target: str) -> Toolchain | Problem:
        """The toolchain that a target names, or the default one."""
        from trtpipe.toolchains.resolve import locate_toolchain

        name = spec.targets[target].toolchain
        described = spec.toolchains[name] if name is not None else None
        key = described or _DEFAULT
        if key not in self.toolchains:
            path = ("toolchains", name) if name is not None else ("targets", target)
            refused = self._refused(described, path)
            self.toolchains[key] = refused or locate_toolchain(name, described, path=path)
        return self.toolchains[key]

    def _refused(self, described: ToolchainSpec | None, path: SpecPath) -> Problem | None:
        """The problem with a program that the project names and its user has not allowed; the program is not run."""
        if described is None or described.python is None:
            return None
        code = interpreter_code(described.python)
        return None if is_granted(code) else not_allowed(code, (*path, "python"))

    def _capabilities(
        self, name: str, target: TargetSpec, problems: list[Problem]
    ) -> Iterator[ComputeCapability]:
        for index, text in enumerate(target.gpu):
            path = ("targets", name, "gpu", index) if len(target.gpu) > 1 else ("targets", name, "gpu")
            found = self._this() if text == "this" else self._named(text)
            if isinstance(found, Problem):
                problems.append(Problem(found.code, found.fact, found.remedy, path=path))
            else:
                yield found

    def _named(self, text: str) -> ComputeCapability | Problem:
        if text not in self.gpus:
            self.gpus[text] = resolve_gpu(text)
        return self.gpus[text]

    def _this(self) -> ComputeCapability | Problem:
        from trtpipe.toolchains.detect import this_gpu

        return this_gpu(self.here())

    def here(self) -> tuple[DetectedGpu, ...]:
        """This machine's GPUs."""
        if self._here is None:
            from trtpipe.toolchains.detect import detect_gpus

            self._here = detect_gpus()
        return self._here

    def _gpu_identity(
        self, name: str, spec: PipelineSpec, toolchain: Toolchain, capabilities: Collection[ComputeCapability]
    ) -> dict[str, Any] | Problem:
        """For the flavour tensorrt: the identity of the engine's GPU, as strict as the target requires.

        It includes the driver's CUDA major version, because only kernels that it can load are chosen. The GPU is one of
        the fleet that builds the engine, else of this machine, else the one that the lockfile names, so that a key is
        the same on a machine without the GPU.
        """
        if toolchain.flavour != "tensorrt":
            return {}
        from trtpipe.workspace.gpu_identity import MeantGpu

        target = spec.targets[name]
        asked = MeantGpu(name, target, frozenset(capabilities), self.recorded(spec.pipeline, name))
        found = asked.among(self.elsewhere())
        if found is None:
            found = asked.among(self.here(), one_machine=True)
        return found if found is not None else asked.unseen(self.here())
