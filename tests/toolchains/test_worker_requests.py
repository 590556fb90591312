"""A request is complete or refused: the worker names what is missing, unknown or of another type."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from tests.worker_requests import worker_request
from trtpipe.errors import StepFailed
from trtpipe.spec.pipeline import BuilderSpec, TargetSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu, only_visible
from trtpipe.toolchains.engine_worker import request as request_module
from trtpipe.toolchains.engine_worker import worker
from trtpipe.toolchains.engine_worker.launch import WORKER, run_worker
from trtpipe.toolchains.engine_worker.watch import Supervision

LIMITS = {"time_limit", "memory_limit"}
WRONG = {
    "text": 7,
    "text or null": 7,
    "integer": True,
    "integer or null": 1.5,
    "number or null": "7",
    "flag": 1,
    "object": [],
    "list of texts": [7],
    "list of objects": ["x"],
    "object of texts": {"0xAA": 7},
}
"""For each type a value that is close to it and not of it."""


def complete(**changes):
    return {**worker_request(["/no/such/place"]).to_json(), **changes}


def events_of(folder, text):
    """What the worker says to a request, and nothing else: it has no TensorRT to load."""
    (folder / "request.json").write_text(text)
    command = [sys.executable, "-I", "-S", "-B", str(WORKER), "request.json", "again"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 1
    return [json.loads(line) for line in done.stdout.splitlines()]


def refusal_of(folder, request):
    """The message of the one error event."""
    *_, error, result = events_of(folder, json.dumps(request))
    assert (error["event"], error["kind"], result["event"], result["ok"]) == (
        "error",
        "config",
        "result",
        False,
    )
    return error["message"]


def test_a_complete_request_gets_as_far_as_tensorrt(tmp_path):
    *_, error, _ = events_of(tmp_path, json.dumps(complete()))

    assert (error["kind"], error["message"]) == (
        "environment",
        "cannot import tensorrt_rtx: No module named 'tensorrt_rtx'",
    )


@pytest.mark.parametrize("action", worker.ACTIONS)
@pytest.mark.parametrize("name", sorted(worker.FIELDS.keys() - {"schema", "flavour", "action"}))
def test_a_field_that_is_left_out_is_refused_by_name(tmp_path, name, action):
    request = complete(action=action)
    del request[name]

    assert refusal_of(tmp_path, request) == f"the request lacks the field '{name}'"


@pytest.mark.parametrize("name", sorted(worker.OPTIONS))
def test_an_option_that_is_left_out_is_refused_by_name(tmp_path, name):
    request = complete()
    del request["options"][name]

    assert refusal_of(tmp_path, request) == f"the request lacks the option '{name}'"


@pytest.mark.parametrize("name", sorted(worker.FIELDS.keys() - {"schema", "flavour"}))
def test_a_field_of_another_type_is_refused_by_name(tmp_path, name):
    wanted = worker.FIELDS[name]

    message = refusal_of(tmp_path, complete(**{name: WRONG[wanted]}))

    assert message == f"the field '{name}' must be of type {wanted}"


@pytest.mark.parametrize("name", sorted(worker.OPTIONS))
def test_an_option_of_another_type_is_refused_by_name(tmp_path, name):
    request, wanted = complete(), worker.OPTIONS[name]
    request["options"][name] = WRONG[wanted]

    assert refusal_of(tmp_path, request) == f"the option '{name}' must be of type {wanted}"


def test_what_the_worker_does_not_know_is_refused_by_name(tmp_path):
    request = complete(threads=8)
    request["options"]["fp16"] = True

    assert refusal_of(tmp_path, request) == "unknown field 'threads'; unknown option 'fp16'"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "not a request of schema 1 for one of tensorrt_rtx, tensorrt"),
        ({"flavour": "tensorrt_lite"}, "not a request of schema 1 for one of tensorrt_rtx, tensorrt"),
        ({"action": "run"}, "unknown action 'run': choose from build, parse, describe"),
        ({"model": "../model.onnx"}, "'../model.onnx' is not a plain file name"),
        ({"flavour": "tensorrt"}, "TensorRT builds for the GPU at hand: name no compute capabilities"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, changes, message):
    assert refusal_of(tmp_path, complete(**changes)) == message


def test_every_field_that_is_missing_is_named_at_once(tmp_path):
    message = refusal_of(tmp_path, {"schema": 1, "flavour": "tensorrt"})

    assert [name for name in worker.FIELDS if f"'{name}'" not in message] == ["schema", "flavour"]


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot read the request"), ("[]", "the request is not a JSON object")]
)
def test_what_is_no_request_is_refused(tmp_path, text, message):
    error, _ = events_of(tmp_path, text)

    assert error["kind"] == "config" and error["message"].startswith(message)


@pytest.mark.engine
def test_a_word_that_tensorrt_does_not_know_is_refused(tmp_path, rtx_site):
    from tests import models

    models.small_cnn(tmp_path / "model.onnx")
    request = complete(site=[rtx_site])
    request["options"]["profiling_verbosity"] = "loud"

    assert refusal_of(tmp_path, request) == "unknown ProfilingVerbosity 'loud' in this TensorRT"


# -- both sides know the same fields


def test_what_is_written_is_what_is_read():
    request = complete()

    assert request.keys() == worker.FIELDS.keys()
    assert request["options"].keys() == worker.OPTIONS.keys()
    assert request["schema"] == worker.SCHEMA


def test_the_options_are_those_of_the_spec():
    of_a_target = {"hardware_compatibility", "version_compatible"}

    assert of_a_target < TargetSpec.model_fields.keys()
    assert BuilderSpec.model_fields.keys() - LIMITS | of_a_target == worker.OPTIONS.keys()


def test_nothing_but_the_spec_has_defaults():
    ours = (request_module.WorkerRequest, request_module.Timing, request_module.Compatibility)
    fields = [field for one in ours for field in dataclasses.fields(one)]

    assert all(field.default is field.default_factory is dataclasses.MISSING for field in fields)
    assert complete()["options"] == {
        **BuilderSpec(workspace=1 << 30).model_dump(exclude=LIMITS),
        "hardware_compatibility": TargetSpec.model_fields["hardware_compatibility"].default,
        "version_compatible": TargetSpec.model_fields["version_compatible"].default,
    }


def test_a_worker_sees_the_gpu_that_it_is_given_and_no_other(tmp_path):
    python = ["/bin/sh", "-c", "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER > seen; exit 3", "sh"]
    jetson = DetectedGpu(2, "Orin", ComputeCapability(8, 7))
    supervision = Supervision(environment=only_visible(jetson))

    with pytest.raises(StepFailed, match="ended with code 3"):
        run_worker(python, worker_request(["/no/such/place"]), tmp_path, supervision)

    assert (tmp_path / "seen").read_text() == "2 PCI_BUS_ID\n"
