"""One ad-hoc inference on given inputs, with the engine if it can run here, else with its typed model.

Every result says which of the two ran, and why not the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.app.engines.choice import ENGINE, ON_CPU, Chosen, Where, choose
from trtpipe.app.engines.inputs import FeedRequest, feeds_of
from trtpipe.app.engines.machine import Machine, this_machine
from trtpipe.app.engines.own_labels import own_labels
from trtpipe.app.engines.places import Place, one_place
from trtpipe.app.engines.results import DEFAULT_TOP, Labels, named_arrays, read_labels, save_arrays, tops
from trtpipe.errors import SpecError, ToolchainError
from trtpipe.files import is_special
from trtpipe.plan.control import Control
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.feeds import Feed, checked_feed, checked_profile
from trtpipe.runners.inference.requests import EngineRun, HowToRun
from trtpipe.runners.inference.tensors import StoredTensor, store_tensors, type_name
from trtpipe.workspace.scratch import scratch_folder


@dataclass(frozen=True)
class InferRequest:
    """The options of `trtpipe run`."""

    what: str
    feed: FeedRequest = field(default_factory=FeedRequest)
    where: Where = field(default_factory=Where)
    labels: Path | None = None
    top_k: int | None = None
    output: Path | None = None


@dataclass(frozen=True)
class _Ran:
    """The outputs of the runs, and what produced them."""

    subject: str
    outputs: Sequence[Mapping[str, StoredTensor]]
    about: Mapping[str, Any]
    why_not: str = ""


def infer(asked: InferRequest, machine: Machine | None = None, cwd: Path | None = None) -> dict[str, Any]:
    """Run it; returns the whole result as plain data.

    Raises SpecError (arguments, inputs), ModelError, ToolchainError when a GPU was required, StepFailed.
    """
    machine, cwd = machine or this_machine(), cwd or Path.cwd()
    labels = read_labels(asked.labels, asked.top_k)
    _refuse_output(asked.output)
    chosen = choose(one_place(asked.what, cwd), machine, asked.where, cwd)
    with scratch_folder("run") as folder:
        signature = chosen.signature(folder)
        feeds = [
            checked_feed(feed, signature, cast=asked.feed.cast)
            for feed in feeds_of(asked.feed, signature, cwd)
        ]
        profiles = [
            checked_profile(feed, signature, asked.feed.profile, can_split=not asked.feed.random)
            for feed in feeds
        ]
        runs = [
            EngineRun(store_tensors(feed.arrays, folder, f"run{number}-input"), asked.feed.profile)
            for number, feed in enumerate(feeds)
        ]
        ran = _run(chosen, runs, folder)
        arrays = named_arrays([{n: one.array() for n, one in run.items()} for run in ran.outputs], feeds)
        best, notes = _classes(asked, labels, arrays, feeds, chosen.place)
        about = {"name": chosen.place.name, "inputs": asked.feed.words(), "runs": _runs(feeds, profiles)}
        return {"schema": 1, **about, **_record(asked, ran, arrays, notes), "top": best}


def _classes(
    asked: InferRequest, labels: Labels | None, arrays: Mapping[str, Any], feeds: Sequence[Feed], place: Place
) -> tuple[list[dict[str, Any]], Sequence[str]]:
    """The best classes by the names that were given, else by the model's own; and why these are not shown."""
    if asked.labels is not None:
        return (tops(arrays, feeds, labels) if labels is not None else []), ()
    own = own_labels(place)
    found, notes = [], list(own.notes)
    for output, array in arrays.items():
        names = own.of(output.partition(".run")[0])
        if names:
            try:
                found += tops({output: array}, feeds, Labels(names, asked.top_k or DEFAULT_TOP))
            except SpecError as error:
                notes.append(f"'{output}' has labels that do not fit: {error.problems[0].fact}")
    if labels is not None and not found:
        return tops(arrays, feeds, labels), notes
    return found, notes


def _runs(feeds: Sequence[Feed], profiles: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"profile": profile, "shapes": {name: list(shape) for name, shape in feed.shapes().items()}}
        for feed, profile in zip(feeds, profiles, strict=True)
    ]


def _refuse_output(output: Path | None) -> None:
    """Raises before anything runs if the output could not be written."""
    if output is None:
        return
    if output.suffix != ".npz":
        raise SpecError(
            Code.WRONG_FILE,
            f"--output {str(output)!r} is not an .npz file",
            "outputs are saved by name: FILE.npz",
        )
    if is_special(output):
        raise SpecError(
            Code.NOT_A_FILE, f"--output {str(output)!r} is not a regular file", "name another place"
        )
    if not output.parent.is_dir():
        raise SpecError(Code.NO_SUCH_FILE, f"there is no directory {str(output.parent)!r} for --output")


def _run(chosen: Chosen, runs: Sequence[EngineRun], folder: Path) -> _Ran:
    if chosen.why_not:
        return _on_cpu(chosen, runs, folder)
    try:
        return _on_gpu(chosen, runs, folder)
    except ToolchainError as error:
        return _on_cpu(chosen.instead(error), runs, folder)


def _on_gpu(chosen: Chosen, runs: Sequence[EngineRun], folder: Path) -> _Ran:
    engine, found = chosen.run_engine(runs, HowToRun(), folder)
    about = {
        "engine": engine.engine.digest.hex,
        "gpu": {"name": found.gpu.name, "compute_capability": found.gpu.compute_capability},
        "tensorrt": found.tensorrt,
        "notes": list(found.notes),
    }
    return _Ran(ENGINE, [run.outputs for run in found.runs], about)


def _on_cpu(chosen: Chosen, runs: Sequence[EngineRun], folder: Path) -> _Ran:
    from trtpipe.processes.stage_runs import run_in_child
    from trtpipe.runners.inference.typed_model import stored

    out = folder / "out"
    out.mkdir()
    options = {
        "runs": [{n: one.to_json() for n, one in run.inputs.items()} for run in runs],
        "threads": chosen.where.threads,
    }
    task = Task("infer", options, {"model": chosen.model_files()}, out)
    summary = run_in_child(task, folder, Control()).summary
    outputs = [{name: stored(one) for name, one in run.items()} for run in summary["runs"]]
    about = {
        "engine": None,
        "gpu": None,
        "tensorrt": None,
        "notes": [f"{kind}: {words}" for kind, words in summary["twins"].items()],
    }
    return _Ran(ON_CPU, outputs, about, chosen.why_not)


def _record(
    asked: InferRequest, ran: _Ran, arrays: Mapping[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    from trtpipe.metrics.tensors import described

    saved = save_arrays(arrays, asked.output) if asked.output is not None else []
    return {
        "subject": ran.subject,
        **ran.about,
        "notes": [*ran.about["notes"], *notes, *saved],
        "why_not_engine": ran.why_not,
        "outputs": [
            {"name": name, "dtype": type_name(array), "shape": list(array.shape), **described(array)}
            for name, array in arrays.items()
        ],
        "saved": str(asked.output) if asked.output is not None else None,
    }
