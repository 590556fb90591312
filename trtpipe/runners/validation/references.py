"""The references for a typed model: the source model in ONNX Runtime (in float64 if requested), or recorded outputs.

Both provide `expected(feed)`, which returns outputs by name. Inputs that the transform bound to constants are fed to
the source as those constants. The source is cut where the typed model ends, so that the parts which the
transform removed need not run: models are often cut because of plugins, which ONNX Runtime cannot run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.errors import ModelError, StepFailed
from trtpipe.problem_codes import Code
from trtpipe.runners.cpu.float64 import open_lifted
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import OnnxRuntimeRunner, open_runner
from trtpipe.runners.validation.recordings import RecordedRun, read_recording

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import JsonObject


@dataclass(frozen=True)
class SourceReference:
    """The source model, running."""

    model: RunnableModel
    runner: OnnxRuntimeRunner
    inputs: tuple[TensorInfo, ...]
    bound: JsonObject
    lacking: tuple[str, ...]
    """Outputs of the typed model that the source has no tensor for."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Output → the runner's name for it, if that is different."""
    narrow: tuple[str, ...] = ()
    """For a source in float64: the operators that still computed in float32."""
    not_lifted: str = ""
    """Why the source is not in float64 although that was requested."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs, by the source's names."""
        known = {other: name for name, other in self.names.items()}
        return tuple(known.get(name, name) for name in self.runner.outputs)

    def feed(self, typed: Mapping[str, Array]) -> dict[str, Array]:
        """The source's inputs for the typed model's."""
        made = {}
        for info in self.inputs:
            value = typed.get(info.name, self.bound.get(info.name))
            if value is None:  # an unused input, which the typed model does not have
                value = np.zeros([dim if isinstance(dim, int) else 1 for dim in info.dims or ()])
            # An engine has no string inputs, so only nodes that the transform cut off read them.
            array = np.asarray(value).astype(np.dtype(_IN_NUMPY.get(info.dtype, info.dtype)), copy=False)
            static = info.dims is not None and all(isinstance(dim, int) for dim in info.dims)
            if info.name in self.bound and static and array.size == 1:
                array = array.reshape([dim for dim in info.dims or () if isinstance(dim, int)])
            made[info.name] = array
        return made

    def expected(self, typed: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. Raises StepFailed."""
        found = self.runner.infer(self.feed(typed))
        return dict(zip(self.outputs, found.values(), strict=True))


_IN_NUMPY = {"string": "str"}


@contextmanager
def open_source(
    path: Path,
    outputs: Sequence[str],
    bound: JsonObject,
    *,
    threads: int,
    reshaped: Iterable[str] = (),
    wide: bool = False,
) -> Iterator[SourceReference]:
    """The source model at `path`, with those of `outputs` that it has; `wide` requests float64. Raises ModelError.

    `reshaped` names the inputs whose shapes the transform has set: the source must accept the new ones. If the source
    cannot be run in float64, it is run unchanged, and the reference says why.
    """
    model = runnable_model(path).with_free_shapes(reshaped)
    known = {*model.outputs(), *model.tensors()}
    wanted = [name for name in outputs if name in known]
    if not wanted:
        have = ", ".join(repr(name) for name in model.outputs())
        raise ModelError(
            Code.REFERENCE, f"the reference has none of the outputs of the typed model; its own are {have}"
        )
    inputs = summarize(model.proto).inputs
    lacking = tuple(name for name in outputs if name not in known)
    model = model.upto(wanted)
    with ExitStack() as stack:
        why, reference = "", None
        if wide:
            try:
                runner, lifted = stack.enter_context(open_lifted(model, wanted, threads=threads))
                names, narrow = lifted.names, lifted.narrow
                reference = SourceReference(model, runner, inputs, bound, lacking, names, narrow)
            except ModelError as error:
                why = error.problems[0].fact
        if reference is None:
            runner = stack.enter_context(open_runner(model, threads=threads))
            reference = SourceReference(model, runner, inputs, bound, lacking, not_lifted=why)
        yield reference


def read_golden(path: Path, wanted: Sequence[str]) -> tuple[RecordedRun, ...]:
    """The recorded runs, with the inputs of these names. Raises StepFailed when something is missing."""
    try:
        runs = read_recording(path)
    except ModelError as error:
        problem = error.problems[0]
        raise StepFailed(
            problem.code, f"cannot read the recorded outputs '{path.name}': {problem.fact}", problem.remedy
        ) from error
    if not runs:
        raise _lacking(path, [f"'in:{name}'" for name in wanted], "nothing")
    for number, run in enumerate(runs):
        missing = [f"'in:{name}'" for name in wanted if name not in run.inputs]
        if missing or not run.outputs:
            have = ", ".join(repr(name) for name, _ in run.arrays()) or "nothing"
            about = f"run {number} " if len(runs) > 1 else ""
            raise _lacking(path, missing or ["any 'out:NAME'"], have, about)
    return tuple(replace(run, inputs={name: run.inputs[name] for name in wanted}) for run in runs)


def _lacking(path: Path, what: Sequence[str], have: str, about: str = "") -> StepFailed:
    return StepFailed(
        Code.REFERENCE,
        f"the recorded outputs lack {', '.join(what)}",
        f"{about}'{path.name}' holds {have}".strip(),
    )
