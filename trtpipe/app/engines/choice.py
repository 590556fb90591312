"""Chooses between an engine and its typed model on the CPU, and runs an engine once it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.app.engines.machine import Machine
from trtpipe.app.engines.places import Place
from trtpipe.errors import ModelError, SpecError, ToolchainError
from trtpipe.json_values import JsonObject
from trtpipe.loader.project import LOCK_FILE, find_root
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import DeliveredEngine, delivered_engine
from trtpipe.runners.inference.trust import vouched_by_lock

if TYPE_CHECKING:
    from trtpipe.runners.feeds.signature import Signature
    from trtpipe.runners.inference.requests import EngineRun, HowToRun
    from trtpipe.runners.inference.results import Inference

ENGINE, ON_CPU = "engine", "typed model on the CPU"
"""What a result may be of."""
_DIGEST = 64


@dataclass(frozen=True)
class Where:
    """The device on which something should run."""

    cpu: bool = False
    """Whether to run on the CPU on purpose."""
    require_gpu: bool = False
    """Whether an engine that cannot run is an error."""
    device: int = 0
    trust: Sequence[str] = ()
    threads: int = 0
    """On the CPU; 0 means one a core."""

    def __post_init__(self) -> None:
        if self.cpu and self.require_gpu:
            raise SpecError(
                Code.OPTIONS_EXCLUDE, "--cpu and --require-gpu exclude each other", "leave one out"
            )
        for digest in self.trust:
            if len(digest) != _DIGEST or set(digest) - set("0123456789abcdef"):
                remedy = "give the BLAKE3 of the engine, 64 hex digits"
                raise SpecError(Code.BAD_ARGUMENT, f"--trust {digest!r} is not a digest", remedy)


@dataclass(frozen=True)
class Chosen:
    """A place, and why its engine is not run; `why_not` is empty when it is."""

    place: Place
    machine: Machine
    where: Where
    lockfile: Path
    why_not: str

    def instead(self, error: ToolchainError) -> Chosen:
        """The typed model, after the engine turned out not to run here. Raises the error where that is not wanted."""
        if self.where.require_gpu or self.place.model is None:
            raise error
        return replace(self, why_not=error.problems[0].fact)

    def model_files(self) -> dict[str, Path]:
        """The typed model, as a task's input."""
        assert self.place.model is not None, "choosing has looked"
        model = self.place.model.absolute()
        return {model.name: model}

    def signature(self, folder: Path) -> Signature:
        """What is to be fed; for an engine without a manifest, the engine is read in `folder`. Raises TrtpipeError."""
        from trtpipe.runners.feeds.signature import signature_of_engine
        from trtpipe.runners.inference.requests import HowToRun

        told = self.place.signature()
        if told is not None:
            return told
        assert not self.why_not, "what runs on the CPU has a typed model"
        asking = folder / "asking"
        asking.mkdir()
        return signature_of_engine(self.run_engine([], HowToRun(), asking)[1].engine)

    def run_engine(
        self,
        runs: Sequence[EngineRun],
        how: HowToRun,
        folder: Path,
        on_event: Callable[[JsonObject], None] = lambda event: None,
    ) -> tuple[DeliveredEngine, Inference]:
        """Run the engine, if it is trusted; without runs it is only described. Raises what `run_engine` raises."""
        engine = self.trusted()
        placed = replace(how, device=self.where.device, built_for=engine.built_for)
        return engine, self.machine.run_engine(engine, runs, placed, folder, on_event)

    def trusted(self) -> DeliveredEngine:
        """The engine, if its digest is in its manifest, on the command line or in the lockfile. Raises TrtpipeError."""
        assert self.place.engine is not None, "choosing has looked"
        path, trust = self.place.engine, self.where.trust
        try:
            return delivered_engine(path, vouched=trust)
        except ModelError:
            locked = vouched_by_lock(self.lockfile)
            if not locked:
                raise
            return delivered_engine(path, vouched={*trust, *locked})


def choose(place: Place, machine: Machine, where: Where, cwd: Path) -> Chosen:
    """Chooses what to run here. Raises ToolchainError when nothing can run, or not what was required."""
    why_not = "--cpu requests the typed model" if where.cpu else machine.why_not(place)
    if why_not and where.require_gpu:
        raise ToolchainError(
            Code.CANNOT_RUN_HERE,
            f"{place.name}: {why_not}",
            "run it on a machine that can, or leave out --require-gpu",
        )
    if why_not and place.model is None:
        remedy = "name the directory with its model.onnx, or use a machine that can run the engine"
        raise ToolchainError(
            Code.CANNOT_RUN_HERE,
            f"{place.name}: {why_not}, and there is no typed model beside it to run",
            remedy,
        )
    return Chosen(place, machine, where, find_root(cwd) / LOCK_FILE, why_not)
