"""An action is plain data: it survives JSON, and runs where only the store and nothing of its plan is known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trtpipe.building.planned import make_plan
from trtpipe.building.silent import Unheard
from trtpipe.digests import digest_bytes
from trtpipe.plan.address import STAGE_VERSIONS, STAGES, Address, Place, address
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.graph import Action
from trtpipe.plan.requirements import (
    NOTHING_REQUIRED,
    EngineRequirements,
    FetchRequirements,
    ImportRequirements,
    PlaceRequirements,
)
from trtpipe.spec.remote import RemoteFile
from trtpipe.workspace.workspace import open_workspace

ROOT = Path(__file__).resolve().parents[2]
REMOTE = RemoteFile("https", "example.org", "m.onnx", query="a=1", sha256="0" * 64)


def action(stage="quantize", requirements=NOTHING_REQUIRED):
    options = {"keep": {"fp32": ["op:Softmax"]}, "precision": "fp16", "block_size": None}
    inputs = {"model": {"model.onnx": digest_bytes(b"m"), "model.onnx.data": digest_bytes(b"w")}}
    fingerprint = Fingerprint(stage, STAGE_VERSIONS[stage], options, {"onnx": "1.20.0"}, inputs)
    return Action(address(stage, "digits", "fp16"), fingerprint, requirements)


@pytest.mark.parametrize(
    "made",
    [
        action(),
        action("fetch", FetchRequirements({"source/m.onnx": REMOTE}, {"source/m.onnx": ("model", "source")})),
        action("import", ImportRequirements({"options.weights": "w.npz"})),
        action("search", PlaceRequirements(("variants", "auto", 0, "budget"))),
        action("build_engine", EngineRequirements(60.0, 1 << 30)),
        action("build_engine", EngineRequirements()),
    ],
    ids=lambda made: type(made.requirements).__name__,
)
def test_an_action_survives_json(made):
    back = Action.from_json(json.loads(json.dumps(made.to_json())))

    assert back == made
    assert back.key == made.key


@pytest.mark.parametrize("value", [None, [], {}, "", "x", -1, True, [[[]]]], ids=repr)
def test_a_damaged_action_is_refused(value):
    whole = action(
        "fetch", FetchRequirements({"source/m.onnx": REMOTE}, {"source/m.onnx": ("model",)})
    ).to_json()

    def spoilt(record):
        for name in record:
            yield {**record, name: value}
            if isinstance(record[name], dict):
                yield from ({**record, name: inner} for inner in spoilt(record[name]))

    kept = 0
    for record in spoilt(json.loads(json.dumps(whole))):
        try:
            found = Action.from_json(record)
        except ValueError:
            continue
        kept += 1
        assert json.loads(json.dumps(found.to_json())) == record  # it was a value that may stand there
    assert kept < 14


def test_an_action_of_a_later_stage_is_refused():
    record = action().to_json()
    record["fingerprint"]["version"] = STAGE_VERSIONS["quantize"] + 1

    with pytest.raises(ValueError, match="stage quantize of version 2 is not known here"):
        Action.from_json(record)


@pytest.mark.parametrize("text", ["digits:import", "digits/fp16:quantize", "digits/fp16@ada:build_engine"])
def test_an_address_is_what_it_was_written_as(text):
    found = Address.parse(text)

    assert str(found) == text and found == Address.parse(text)
    assert {found: 1}[address(found.stage, found.pipeline, found.variant, found.target)] == 1


@pytest.mark.parametrize("text", ["digits", "digits:", "digits/fp16:sing", ""])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="not the address of a step"):
        Address.parse(text)


def test_places_are_ordered_and_parsed():
    assert Place.parse("digits/fp16@ada") == Place("digits", "fp16", "ada")
    assert sorted([address("import", "b"), address("import", "a")]) == [
        address("import", "a"),
        address("import", "b"),
    ]
    assert len(set(STAGES)) == len(STAGES)


ELSEWHERE = """
import json, sys
from pathlib import Path
from trtpipe.plan.dispatcher import Dispatcher
from trtpipe.executors.local import LocalExecutor
from trtpipe.plan.graph import Action
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.stores.timing_caches import TimingCaches
from trtpipe.building.performer import PLAIN_TERMS, Performer
from trtpipe.workspace.site import HereOf, Site
from trtpipe.building.silent import Unheard

here = Path.cwd()
store = LocalStore(here / "store")
store.open()
site = Site(store, ProjectState.load(here / "state.json"), here, here / "trtpipe.lock", here / "wheels.lock")
perform = Performer(site, HereOf(here, (), {}, {}), Unheard(), PLAIN_TERMS, TimingCaches(store.root))
jobs = Dispatcher(store, LocalExecutor(store, perform), jobs=1, observer=Unheard())
for line in sys.stdin:
    action = Action.from_json(json.loads(line))
    trace = jobs.submit(action, anew=True).result().trace
    print(json.dumps({name: str(digest) for name, digest in trace.outputs.items()}), flush=True)
jobs.close()
"""


def test_actions_run_elsewhere_with_the_store_alone(tmp_path, monkeypatch):
    """Every step that needs no TensorRT, in a process that has neither the project nor its plan."""
    project = tmp_path / "project"
    for name in ("pipelines", "calibration"):
        shutil.copytree(ROOT / name, project / name)
    monkeypatch.chdir(project)
    monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / "elsewhere" / "store"))
    planned = make_plan(open_workspace(["pipelines/digits.yaml"]))
    wanted = [one for one in planned.plan.steps if one.stage not in ("parse", "build_engine")]
    with planned.steps(Unheard()) as steps:
        steps.bring(wanted)
        for step in planned.plan.steps.values():
            for source in (one for files in step.sources().values() for one in files.values()):
                copy = tmp_path / "copy"
                shutil.copyfile(source.path, copy)
                steps.store.put(copy)
        sent = [json.dumps(steps.action(one).to_json()) for one in wanted]
        expected = [{name: str(one) for name, one in steps.outputs[place].items()} for place in wanted]
    assert str(project) not in "".join(sent)
    shutil.rmtree(project)

    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=tmp_path / "elsewhere",
        input="\n".join(sent),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected
