"""What each job does in its process: the same as the command of that name on a machine with the job's GPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtpipe.agent.jobs import inside
from trtpipe.app.engines.bench import measured
from trtpipe.app.engines.bench_request import BenchRequest
from trtpipe.app.engines.choice import Where, choose
from trtpipe.app.engines.machine import this_machine
from trtpipe.app.engines.places import one_place
from trtpipe.app.prove.engine_places import EnginePlace
from trtpipe.app.prove.validate import HowToValidate, toolchain_for, validate_places
from trtpipe.errors import ToolchainError
from trtpipe.fleet.protocol import PLUGINS
from trtpipe.json_values import (
    Json,
    JsonObject,
    integer_in,
    integers_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import ENGINE, delivered_engine
from trtpipe.runners.inference.requests import EngineRun, HowToRun
from trtpipe.runners.inference.run import run_engine
from trtpipe.runners.inference.tensors import StoredTensor
from trtpipe.toolchains.engine_worker.watch import Supervision


@dataclass(frozen=True, slots=True)
class Made:
    """What a job yields: facts, and the names of files that it left in its output directory."""

    result: Mapping[str, Json]
    files: Sequence[str] = ()


_OWN = frozenset({"request.json", "run.log"})
"""What the process that runs an engine has in its directory besides outputs."""
Body = Callable[[Path, Path, JsonObject], Made]
"""Does a job: the directory of its files, that of its output, its options. Raises TrtpipeError."""


def validate(folder: Path, out: Path, options: JsonObject) -> Made:
    """Run an engine and measure it; its failing inputs are the files."""
    how = HowToValidate(
        trust=tuple(texts_in(options, "trust")), plugins=tuple(sorted((folder / PLUGINS).glob("*")))
    )
    (found,) = validate_places([EnginePlace("the engine", folder)], how)
    if found.error is not None:
        raise found.error
    if not found.report:
        raise ToolchainError(Code.CANNOT_RUN_HERE, found.why)
    for path in found.kept:
        shutil.copyfile(path, out / path.name)
    notes: list[Json] = list(found.notes)
    return Made({"report": dict(found.report), "notes": notes}, [path.name for path in found.kept])


def bench(folder: Path, out: Path, options: JsonObject) -> Made:
    """Measure an engine; there are no files."""
    where = Where(require_gpu=True, trust=texts_in(options, "trust"))
    asked = BenchRequest.from_json(str(folder), where, options)
    chosen = choose(one_place(str(folder), folder), this_machine(), where, folder)
    return Made({"record": measured(asked, lambda text: None, chosen)})


def run(folder: Path, out: Path, options: JsonObject) -> Made:
    """Run an engine once on inputs; without runs, describe it. Its outputs are the files."""
    delivered = delivered_engine(folder / ENGINE, vouched=texts_in(options, "trust"))
    plugins = sorted((folder / PLUGINS).glob("*"))
    runs = [_engine_run(one, folder) for one in objects_in(options, "runs")]
    how = HowToRun(plugins=plugins, built_for=delivered.built_for)
    events: list[JsonObject] = []
    toolchain = toolchain_for(delivered, HowToValidate())
    run_engine(toolchain, delivered.engine, runs, how, out, Supervision(events.append))
    told: list[Json] = [dict(one) for one in events if one["event"] != "log"]
    return Made({"events": told}, [path.name for path in sorted(out.iterdir()) if path.name not in _OWN])


def _engine_run(record: JsonObject, folder: Path) -> EngineRun:
    inputs = object_in(record, "inputs")
    tensors = {name: object_in(inputs, name) for name in inputs}
    stored = {
        name: StoredTensor(
            folder / inside(text_in(one, "file")), text_in(one, "dtype"), tuple(integers_in(one, "shape"))
        )
        for name, one in tensors.items()
    }
    return EngineRun(stored, None if record.get("profile") is None else integer_in(record, "profile"))


BODIES: Mapping[str, Body] = {"validate": validate, "bench": bench, "run": run}
