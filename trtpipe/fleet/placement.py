"""Which agent can do which work: needs of an action, held against the labels of agents.

An engine of the flavour tensorrt is tied to the GPU *model* that it was timed on, so it is built only where that model
is: compute capability alone is not enough, as a T4 and an RTX 2080 share one. Steps without a GPU need the exact
versions of trtpipe, Python and the packages that are in their key; TensorRT-RTX engines need no GPU.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from trtpipe import __version__
from trtpipe.fleet.labels import Labels, gpu_key, package_key
from trtpipe.fleet.protocol import ToolchainNeed
from trtpipe.json_values import JsonObject, object_in, text_in
from trtpipe.plan.address import Stage
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Step
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import TITLES
from trtpipe.toolchains.detect import DetectedGpu

_NO_PACKAGES = ("flavour", "version", "python")
"""The tools of an engine build: its TensorRT, and no Python package."""
AT_CLIENT = frozenset({"fetch", "search", "package"})
"""Stages that the client runs itself: a fetch has the user's credentials, a search asks for other actions."""


@dataclass(frozen=True, slots=True)
class GpuNeed:
    """The GPU that work needs: any of these models, or compute capabilities where no model is named."""

    names: tuple[str, ...] = ()
    capabilities: tuple[ComputeCapability, ...] = ()
    newer: bool = False
    """Whether a newer GPU will do as well (`hardware_compatibility: ampere_plus`)."""
    cuda_major: str = ""
    """The driver's CUDA major version that an engine is built with; empty if any will do."""

    def fits(self, gpu: DetectedGpu) -> bool:
        """Whether a GPU will do."""
        if self.names and gpu.name not in self.names:
            return False
        if self.cuda_major and gpu.cuda.split(".")[0] != self.cuda_major:
            return False
        if not self.capabilities or gpu.compute_capability in self.capabilities:
            return True
        return self.newer and gpu.compute_capability >= min(self.capabilities)

    def __str__(self) -> str:
        found = " or ".join(self.names or [one.sm for one in self.capabilities]) or "a GPU"
        return f"{found} with a driver for CUDA {self.cuda_major}" if self.cuda_major else found


@dataclass(frozen=True, slots=True)
class Need:
    """What work needs of a machine."""

    packages: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    """`cpython 3.11.7`, of which the last number does not matter; empty if any will do."""
    toolchain: ToolchainNeed | None = None
    gpu: GpuNeed | None = None
    project_code: bool = False


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """What is known of a step before it is an action: its tools, and the names of its inputs by slot."""

    stage: Stage
    tools: Record
    names: Mapping[str, Collection[str]]

    @classmethod
    def of_action(cls, action: Action) -> WorkFacts:
        """The facts of an action."""
        return cls(action.stage, action.fingerprint.tools, action.fingerprint.inputs)

    @classmethod
    def of_step(cls, step: Step) -> WorkFacts:
        """The facts of a step whose inputs may not be known yet."""
        return cls(step.stage, step.tools, step.sources())

    @property
    def may_leave(self) -> bool:
        """Whether it is for any fleet: not what the client runs itself, as it does project code other than engines'."""
        return self.stage not in AT_CLIENT and (self.stage == "build_engine" or not self.runs_project_code)

    @property
    def runs_project_code(self) -> bool:
        """Whether it runs code of the project: plugins, a data set in Python, or lowerings in a Python file."""
        if self.names.get("plugins") or any(
            name.endswith("lowering") for name in self.names.get("files", ())
        ):
            return True
        return any(name.endswith(".py") for names in self.names.values() for name in names)


def need_of(work: WorkFacts, python: str, toolchain: ToolchainNeed | None, gpu: GpuNeed | None) -> Need:
    """What work needs. `python` is the client's version, which steps that run in trtpipe's interpreter must have."""
    packages = {
        name: str(version)
        for name, version in work.tools.items()
        if isinstance(version, str) and name not in _NO_PACKAGES
    }
    return Need(packages, python, toolchain, gpu, work.runs_project_code)


def gpu_need(compute_capabilities: Collection[str], options: JsonObject) -> GpuNeed:
    """The GPU that an engine runs on, by its build's options: those of tensorrt name a model. Raises ValueError."""
    tied = object_in(options, "gpu") if options.get("gpu") is not None else {}
    names = (text_in(tied, "name"),) if "name" in tied else ()
    newer = options.get("hardware_compatibility") == "ampere_plus"
    return GpuNeed(names, tuple(map(ComputeCapability.parse, compute_capabilities)), newer)


def why_not(labels: Labels, need: Need) -> str:
    """Why an agent cannot do this work, as a clause about the agent; empty if it can."""
    if labels.trtpipe != __version__:
        return f"has trtpipe {labels.trtpipe}, this machine {__version__}"
    if need.python and _without_patch(labels.python) != _without_patch(need.python):
        return f"has {labels.python}, this machine {need.python}"
    for name, version in need.packages.items():
        found = labels.packages.get(package_key(name))
        if found != version:
            has = f"has {name} {found}" if found else f"lacks {name}"
            return f"{has}, this machine has {version}"
    if need.project_code and not labels.project_code:
        return "does not run a project's own code (start it with --allow-project-code)"
    if need.gpu is not None and not any(map(need.gpu.fits, labels.gpus)):
        has = ", ".join(f"{gpu.name} ({gpu.compute_capability.sm})" for gpu in labels.gpus)
        return f"has no {need.gpu}" + (f", but {has}" if has else "")
    return _why_no_toolchain(labels, need.toolchain) if need.toolchain is not None else ""


def _without_patch(python: str) -> str:
    """`cpython 3.11.7` → `cpython 3.11`"""
    return ".".join(python.split(".")[:2])


def _why_no_toolchain(labels: Labels, need: ToolchainNeed) -> str:
    same = [one for one in labels.toolchains if one.flavour == need.flavour and one.version == need.version]
    if any(not need.facts or one.facts == need.facts for one in same):
        return ""
    title = f"{TITLES[need.flavour]} {need.version}"
    if same:
        return f"has {title} for Python {same[0].facts.get('python', labels.python)}"
    if need.flavour in labels.installs:
        return ""
    return f"has no {title} and cannot install it"


def fitting_gpus(labels: Labels, need: Need) -> tuple[str, ...]:
    """The keys of an agent's GPUs that the work may run on."""
    if need.gpu is None:
        return ()
    return tuple(gpu_key(gpu) for gpu in labels.gpus if need.gpu.fits(gpu))


def reason_lines(reasons: Mapping[str, str], most: int = 5) -> list[str]:
    """Agent → why it cannot do the work, as lines, at most so many: `agent1 has no L4`."""
    lines = [f"{name} {reason}" for name, reason in reasons.items() if reason]
    return lines[:most] + ([f"and {len(lines) - most} more"] if len(lines) > most else [])
