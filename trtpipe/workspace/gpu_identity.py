"""The GPU that an engine of the flavour tensorrt is tied to: which of several GPUs a target means, as part of a key.

An equal compute capability is not the same GPU: a T4 and an RTX 2080 share one, and kernels that were timed on one may
be slow on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import TargetSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import called

if TYPE_CHECKING:
    from trtpipe.toolchains.detect import DetectedGpu

NAME, CUDA = "name", "driver_cuda_major"


@dataclass(frozen=True, slots=True)
class MeantGpu:
    """What a target says of its GPU, and what the lockfile has recorded of it."""

    target: str
    spec: TargetSpec
    capabilities: frozenset[ComputeCapability]
    recorded: Mapping[str, str]

    @property
    def _by_name(self) -> bool:
        """Whether the engine is tied to the very model."""
        return self.spec.hardware_compatibility == "none"

    def among(
        self, gpus: Sequence[DetectedGpu], *, one_machine: bool = False
    ) -> dict[str, Any] | Problem | None:
        """The identity of the GPU that is meant; None if it is not among these, a Problem if several models are.

        Of those in one machine it is the first, as for TensorRT.
        """
        meant = self._meant(gpus)
        if not meant:
            return None
        models = list(dict.fromkeys(gpu.name for gpu in meant))
        chosen = models[0]
        if self._by_name and len(models) > 1 and not one_machine:
            if self.recorded.get(NAME) not in models:
                return self._ambiguous(meant)
            chosen = self.recorded[NAME]
        majors = {
            gpu.cuda.split(".")[0] for gpu in meant if gpu.cuda and (not self._by_name or gpu.name == chosen)
        }
        before = self.recorded.get(CUDA)
        newest = max(majors, key=int) if majors else ""
        return self._identity(chosen, before if before in majors else newest)

    def unseen(self, here: Sequence[DetectedGpu]) -> dict[str, Any]:
        """The identity where no GPU that is meant can be seen: the lockfile's, else what is known of this machine."""
        if self.recorded and (NAME in self.recorded or not self._by_name):
            return self._identity(self.recorded.get(NAME, ""), self.recorded.get(CUDA, ""))
        name = here[0].name if here else ", ".join(self.spec.gpu)
        return self._identity(name, here[0].cuda.split(".")[0] if here else "")

    def _identity(self, name: str, cuda: str | None) -> dict[str, Any]:
        identity: dict[str, Any] = {CUDA: cuda or None}
        return {**identity, NAME: name} if self._by_name else identity

    def _meant(self, gpus: Sequence[DetectedGpu]) -> list[DetectedGpu]:
        """Those that the target names; where it names a compute capability, those that have it."""
        fitting = [gpu for gpu in gpus if gpu.compute_capability in self.capabilities]
        if self.spec.hardware_compatibility == "ampere_plus" and not fitting:
            fitting = [gpu for gpu in gpus if gpu.compute_capability >= min(self.capabilities)]
        named = [text for text in self.spec.gpu if not _is_capability(text)]
        if not named:
            return fitting
        names = {name for text in named for name in called(text, [gpu.name for gpu in fitting])}
        return [gpu for gpu in fitting if gpu.name in names]

    def _ambiguous(self, meant: Sequence[DetectedGpu]) -> Problem:
        shown = " or ".join(dict.fromkeys(f"{gpu.name!r} ({gpu.compute_capability.sm})" for gpu in meant))
        asked = ", ".join(self.spec.gpu)
        return Problem(
            Code.AMBIGUOUS_GPU,
            f"{asked!r} could be {shown}, and TensorRT's engines are tied to the model that they are built on",
            "name the model in `gpu`",
            path=("targets", self.target, "gpu"),
        )


def _is_capability(text: str) -> bool:
    """Whether a target's GPU is no model's name: `sm89`, `8.9`, or `this`."""
    if text == "this":
        return True
    try:
        ComputeCapability.parse(text)
    except ValueError:
        return False
    return True
