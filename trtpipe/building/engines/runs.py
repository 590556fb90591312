"""Runs a delivered engine once on a GPU of a fleet: inputs are sent, outputs come back as files.

What comes back are the events of the process that ran the engine, and they are read as those of a process of this
machine are. A file that they name must be one that came with the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtpipe.building.engines.jobs import EngineJobs, EngineWork, JobDone, RanOn
from trtpipe.fleet.answers import unusable
from trtpipe.fleet.placement import Need
from trtpipe.fleet.protocol import PLUGINS
from trtpipe.json_values import Json, Malformed, objects_in
from trtpipe.runners.inference.delivered import ENGINE, MANIFEST, DeliveredEngine
from trtpipe.runners.inference.requests import EngineRun
from trtpipe.runners.inference.results import Inference, read_inference

JOB = "run"


def run_on_fleet(
    jobs: EngineJobs,
    delivered: DeliveredEngine,
    need: Need,
    runs: Sequence[EngineRun],
    folder: Path,
    plugins: Sequence[Path] = (),
) -> tuple[Inference, RanOn]:
    """The outputs, as files in `folder`, and where the engine ran; without runs it is only described.

    Raises what running it on this machine raises, and FleetError.
    """
    files = {ENGINE: delivered.engine.path} | {f"{PLUGINS}{path.name}": path for path in plugins}
    manifest = delivered.engine.path.with_name(MANIFEST)
    if delivered.manifest is not None and manifest.is_file():
        files[MANIFEST] = manifest
    asked: list[Json] = []
    for number, run in enumerate(runs):
        inputs: dict[str, Json] = {}
        for index, (name, tensor) in enumerate(run.inputs.items()):
            file = f"inputs/{number}-{index}{tensor.path.suffix}"
            files[file] = tensor.path
            inputs[name] = {"file": file, "dtype": tensor.dtype, "shape": list(tensor.shape)}
        asked.append({"inputs": inputs, "profile": run.profile})
    options: dict[str, Json] = {"trust": [delivered.engine.digest.hex], "runs": asked}
    done = jobs.do(EngineWork(JOB, delivered.engine.path.parent.name, need, files, options))
    for name, digest in done.files.items():
        jobs.fetch(digest, folder / Path(name).name)
    return _inference(done, folder), done.on


def _inference(done: JobDone, folder: Path) -> Inference:
    """What ran, read back. Raises FleetError when it cannot be read or names a file that did not come."""
    try:
        found = read_inference(objects_in(done.result, "events"), folder)
        named = [tensor.path for run in found.runs for tensor in run.outputs.values()]
        if found.layers is not None:
            named.append(found.layers)
        came = {folder / Path(name).name for name in done.files}
        for path in named:
            if path not in came:
                raise Malformed(f"it names {path.name}, which it did not send")
    except (KeyError, TypeError, ValueError) as error:
        raise unusable(done.lane, str(error)) from error
    return found
