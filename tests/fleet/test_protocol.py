"""Requests and answers survive JSON; damaged ones and those of other versions are told apart."""

from __future__ import annotations

import json

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.fleet.progress import progress_event, progress_json
from trtpipe.fleet.protocol import Answer, Job, OtherVersion, Request, ToolchainNeed
from trtpipe.plan.address import STAGE_VERSIONS, address
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.plan.events import (
    CalibrationProgress,
    FetchProgress,
    StepWaiting,
    ToolchainProgress,
    Warned,
    WorkerProgress,
)
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.graph import Action
from trtpipe.plan.worker_messages import WorkerLog, WorkerPhase

AT = address("quantize", "digits", "fp16")
FINGERPRINT = Fingerprint(
    "quantize", STAGE_VERSIONS["quantize"], {}, {}, {"model": {"m": digest_bytes(b"m")}}
)
ACTION = Action(AT, FINGERPRINT)
NEED = ToolchainNeed("tensorrt_rtx", "1.7.1.116", {"flavour": "tensorrt_rtx"}, {"a.whl": "0" * 64})
WHOLE = Request(
    "id", "topic", ACTION, NEED, "GPU-1", anew=True, holds_lock=True, through="s3://b", by_rules=True,
    offline=True, tactics={"layer": "0x1"},
)  # fmt: skip
JOB = Request("id", "", Job("validate", {"model.engine": digest_bytes(b"e")}, {"device": 0}))


@pytest.mark.parametrize("request_", [WHOLE, JOB], ids=["action", "job"])
def test_a_request_survives_json(request_: Request):
    assert Request.from_text(request_.to_text()) == request_


def test_an_answer_survives_json():
    answer = Answer(
        {"summary": {}},
        {"m": digest_bytes(b"m")},
        {"kind": "StepFailed"},
        "no",
        False,
        {"a": "b"},
        {"ran": 1.5},
    )

    assert Answer.from_text(answer.to_text()) == answer


@pytest.mark.parametrize("field", ["trtpipe", "protocol"])
def test_another_version_is_told_apart_whatever_the_rest_holds(field: str):
    record = {"protocol": 1, "trtpipe": "9.9", field: "other", "new": {}}

    with pytest.raises(OtherVersion):
        Request.from_text(json.dumps(record))


def test_every_damaged_field_is_refused():
    whole = json.loads(WHOLE.to_text())
    for name in whole:
        for value in (None, -1, [[]], {"x": []}):
            if name == "toolchain" and value is None:
                continue
            with pytest.raises(ValueError):
                Request.from_text(json.dumps({**whole, name: value}))


@pytest.mark.parametrize(
    "event",
    [
        WorkerProgress(AT, WorkerPhase("build", None, 3, 1, "start")),
        WorkerProgress(AT, WorkerLog("WARNING", "hm")),
        CalibrationProgress(AT, SampleCount(1, 2, 0)),
        FetchProgress(AT, Download("progress", "f", 1, None)),
        ToolchainProgress(AT, "installing"),
        Warned("look"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_progress_arrives_as_it_was(event):
    record = progress_json(event)

    assert record is not None
    assert progress_event(json.loads(json.dumps(record)), AT) == event


def test_what_the_client_says_itself_is_not_sent():
    assert progress_json(StepWaiting(AT)) is None
