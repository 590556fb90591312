"""Every kind of event as the JSON line of `--json`, key by key in order, and as what a person reads of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from trtpipe.errors import Location, Problem
from trtpipe.plan.build_end import BuildEnded, FailedItem
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.plan.decisions import Run, UpToDate
from trtpipe.plan.events import (
    CalibrationProgress,
    CellDelivered,
    CheckStarted,
    ComparisonProgress,
    EngineNotProved,
    EngineProved,
    Event,
    FetchProgress,
    MeasuredOtherwise,
    PlanMade,
    ProgressEvent,
    RebuildGraded,
    ReductionProgress,
    SameDespite,
    SearchProgress,
    StepBlocked,
    StepFailure,
    StepFinished,
    StepPlaced,
    StepStarted,
    StepWaiting,
    ToolchainProgress,
    Warned,
    WorkerProgress,
)
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import Plan
from trtpipe.plan.reasons import Changed, First
from trtpipe.plan.worker_messages import (
    WorkerEngine,
    WorkerError,
    WorkerLog,
    WorkerMemory,
    WorkerMessage,
    WorkerNetwork,
    WorkerPhase,
    WorkerResult,
    WorkerStart,
)
from trtpipe.problem_codes import Code
from trtpipe.text.events import event_json, event_lines, phase_words
from trtpipe.toolchains.engine_worker.messages import message_from

STEP, ENGINE, SEARCH = "p:import", "p/a@x:build_engine", "p/a:search"
FIRST = {"decision": "run", "key": "k", "reason": {"cause": "first", "changes": [], "detail": ""}}
LEVEL = Change("options.level", 3, 5)
NOWHERE = {"severity": "error", "code": "TP904", "fact": "it broke", "remedy": "", "where": None}
MIB = 1 << 20

EVENTS = [
    (
        StepStarted(STEP, Run("k", First())),
        {"event": "start", "address": STEP, **FIRST},
        ["start    p:import"],
    ),
    (
        StepStarted(STEP, Run("k", Changed((LEVEL,)))),
        {
            "event": "start",
            "address": STEP,
            "decision": "run",
            "key": "k",
            "reason": {"cause": "changed", "changes": [LEVEL.to_json()], "detail": ""},
        },
        ["start    p:import: changed options.level"],
    ),
    (
        StepWaiting(STEP),
        {"event": "waiting", "address": STEP},
        ["wait     p:import: the same work is under way already"],
    ),
    (
        StepFinished(STEP, "k", True, 1.25, {"nodes": 3}),
        {"event": "done", "address": STEP, "key": "k", "ran": True, "seconds": 1.25, "summary": {"nodes": 3}},
        ["done     p:import in 1.2 s"],
    ),
    (
        StepFinished(STEP, "k", ran=False),
        {"event": "done", "address": STEP, "key": "k", "ran": False, "seconds": 0.0, "summary": {}},
        [],
    ),
    (
        StepFailure(
            STEP, (Problem(Code.STEP_CRASHED, "it broke", "mend it"), Problem(Code.STEP_CRASHED, "twice"))
        ),
        {"event": "failed", "address": STEP, "problems": ["it broke", "twice"]},
        ["FAILED   p:import"],
    ),
    (StepBlocked(ENGINE, STEP), {"event": "blocked", "address": ENGINE, "by": STEP}, []),
    (
        StepBlocked(ENGINE, None),
        {"event": "blocked", "address": ENGINE, "by": "the build was stopped"},
        [],
    ),
    (
        ToolchainProgress(ENGINE, "installing TensorRT-RTX 1.7"),
        {"event": "provision", "address": ENGINE, "text": "installing TensorRT-RTX 1.7"},
        [],
    ),
    (
        FetchProgress("p:fetch", Download("begin", "https://a.b/net.onnx", MIB, 4 * MIB)),
        {
            "event": "fetch",
            "state": "begin",
            "file": "https://a.b/net.onnx",
            "bytes": MIB,
            "total": 4 * MIB,
            "address": "p:fetch",
        },
        ["fetch    https://a.b/net.onnx (1.0 MiB of 4.0 MiB)"],
    ),
    (
        FetchProgress("p:fetch", Download("retry", "https://a.b/net.onnx", 0, None, "it broke off")),
        {
            "event": "fetch",
            "state": "retry",
            "file": "https://a.b/net.onnx",
            "bytes": 0,
            "total": None,
            "text": "it broke off",
            "address": "p:fetch",
        },
        ["retry    https://a.b/net.onnx: it broke off"],
    ),
    (
        CalibrationProgress("p/a:calibrate", SampleCount(2, 8, 2)),
        {"event": "calibrate", "done": 2, "total": 8, "resumed": 2, "address": "p/a:calibrate"},
        ["resume   p/a:calibrate: 2 of 8 samples are done"],
    ),
    (
        CalibrationProgress("p/a:calibrate", SampleCount(3, 8, 2)),
        {"event": "calibrate", "done": 3, "total": 8, "resumed": 2, "address": "p/a:calibrate"},
        [],
    ),
    (
        SearchProgress(SEARCH, "ranking", 1, 0, True),
        {"event": "evaluated", "address": SEARCH, "phase": "ranking", "asked": 1, "ran": 0, "begins": True},
        ["search   p/a:search: ranking"],
    ),
    (
        SearchProgress(SEARCH, "ranking", 2, 1, False),
        {"event": "evaluated", "address": SEARCH, "phase": "ranking", "asked": 2, "ran": 1, "begins": False},
        [],
    ),
    (
        ReductionProgress("p/a@x", "nodes", 1, True),
        {
            "event": "evaluated",
            "address": "p/a@x",
            "phase": "nodes",
            "asked": 1,
            "what": "reduce",
            "ran": 1,
            "begins": True,
        },
        ["reduce   p/a@x: nodes"],
    ),
    (
        ComparisonProgress("p/a@x", 1),
        {
            "event": "evaluated",
            "address": "p/a@x",
            "asked": 1,
            "what": "compare",
            "phase": "tensors",
            "ran": 1,
            "begins": True,
        },
        ["compare  p/a@x: tensors"],
    ),
    (
        WorkerProgress(ENGINE, WorkerLog("WARNING", "slow")),
        {"event": "worker_log", "severity": "WARNING", "message": "slow", "address": ENGINE},
        [],
    ),
    (
        PlanMade(Plan({}, ()), {STEP: UpToDate("k", {})}),
        {"event": "plan", "schema": 1, "steps": [], "cells": []},
        [],
    ),
    (
        CellDelivered(
            "p/a@x",
            True,
            "2 MiB, sm89",
            Path("/b/p/a@x"),
            {"outcome": "passed"},
            {},
            {},
            ({"part": "typed"},),
            ("gpu",),
        ),
        {
            "event": "delivered",
            "built": True,
            "cell": "p/a@x",
            "about": "2 MiB, sm89",
            "directory": str(Path("/b/p/a@x")),
            "validation": {"outcome": "passed"},
            "audit": {},
            "typed": {},
            "reach": [{"part": "typed"}],
            "not_run": ["gpu"],
        },
        ["built    p/a@x (2 MiB, sm89)"],
    ),
    (
        SameDespite("pillow", "13.0.0", "12.3.0"),
        {"event": "same_despite", "name": "pillow", "lockfile": "13.0.0", "here": "12.3.0"},
        ["note: pillow 13.0.0 in the lockfile, 12.3.0 here: same results"],
    ),
    (
        MeasuredOtherwise(
            "digits/fp16@ada", "y cosine", "0.9998 (at least 0.999)", "0.9995 (at least 0.999)"
        ),
        {
            "event": "measured_otherwise",
            "cell": "digits/fp16@ada",
            "measure": "y cosine",
            "lockfile": "0.9998 (at least 0.999)",
            "here": "0.9995 (at least 0.999)",
        },
        [
            "note: digits/fp16@ada: y cosine 0.9998 (at least 0.999) in the lockfile, 0.9995 (at least 0.999) here, "
            "with other packages or processor"
        ],
    ),
    (
        StepPlaced(STEP, "box gpu 0"),
        {"event": "placed", "address": STEP, "lane": "box gpu 0"},
        [f"send     {STEP} to box gpu 0"],
    ),
    (
        EngineProved("p/a@x", "NVIDIA L4", "box", "passed"),
        {"event": "proved", "cell": "p/a@x", "gpu": "NVIDIA L4", "agent": "box", "outcome": "passed"},
        ["proved   p/a@x on NVIDIA L4 (agent box)"],
    ),
    (
        EngineProved("p/a@x", "NVIDIA L4", "box", "failed"),
        {"event": "proved", "cell": "p/a@x", "gpu": "NVIDIA L4", "agent": "box", "outcome": "failed"},
        ["FAILED   p/a@x on NVIDIA L4 (agent box)"],
    ),
    (
        EngineNotProved("p/a@x", "needs sm89"),
        {"event": "not_proved", "cell": "p/a@x", "why": "needs sm89"},
        ["not run  p/a@x: the engine needs sm89"],
    ),
    (Warned("mind it"), {"event": "warning", "text": "mind it"}, ["warning: mind it"]),
    (
        Warned("mind it", SEARCH),
        {"event": "warning", "address": SEARCH, "text": "mind it"},
        ["warning: mind it"],
    ),
    (CheckStarted(STEP), {"event": "check", "address": STEP, "state": "begin"}, []),
    (
        RebuildGraded("p/a@x", None, False, ("a: 1 -> 2",), ("no GPU",), 1.23456),
        {
            "event": "graded",
            "name": "p/a@x",
            "grade": None,
            "passed": False,
            "details": ["a: 1 -> 2"],
            "not_run": ["no GPU"],
            "seconds": 1.235,
        },
        ["checked  p/a@x: not run"],
    ),
    (
        BuildEnded(
            built=("p/a@x",),
            restored=("p/b@x",),
            up_to_date=("p/c@x",),
            failed=(FailedItem(STEP, (Problem(Code.STEP_CRASHED, "it broke"),), "its log"),),
            not_built=("p/d@x",),
            lock_changed=True,
            interrupted=False,
            problems=(Problem(Code.NO_MATCH, "no such cell", "take another", Location("p.yaml", 3, 1)),),
            closing="built 1 engine",
        ),
        {
            "event": "end",
            "built": ["p/a@x"],
            "restored": ["p/b@x"],
            "up_to_date": ["p/c@x"],
            "failed": [{"step": STEP, "problems": [NOWHERE], "log": "its log"}],
            "not_built": ["p/d@x"],
            "lock_changed": True,
            "interrupted": False,
            "problems": [
                {
                    "severity": "error",
                    "code": "TP823",
                    "fact": "no such cell",
                    "remedy": "take another",
                    "where": {"file": "p.yaml", "line": 3, "column": 1},
                }
            ],
            "closing": "built 1 engine",
        },
        [],
    ),
]

MESSAGES = [
    (WorkerStart("build", 7, 1), {"event": "start", "action": "build", "pid": 7, "schema": 1}),
    (
        WorkerPhase("build", None, 0, 0, "start"),
        {"event": "phase", "name": "build", "parent": None, "steps": 0, "step": 0, "state": "start"},
    ),
    (WorkerLog("ERROR", "no"), {"event": "log", "severity": "ERROR", "message": "no"}),
    (WorkerMemory(5, None), {"event": "memory", "rss": 5, "peak": None}),
    (
        WorkerNetwork("net", 2, [{"name": "x"}]),
        {"event": "network", "name": "net", "layers": 2, "io": [{"name": "x"}]},
    ),
    (
        WorkerEngine("model.engine", 9, {"scratch_memory": 1}),
        {"event": "engine", "file": "model.engine", "size": 9, "scratch_memory": 1},
    ),
    (
        WorkerError("parse", "refused", "", [{"node": 1}]),
        {"event": "error", "kind": "parse", "message": "refused", "remedy": "", "details": [{"node": 1}]},
    ),
    (WorkerResult(True, {"python": "3.12"}), {"event": "result", "ok": True, "python": "3.12"}),
]


@pytest.mark.parametrize(("event", "record", "lines"), EVENTS, ids=lambda one: type(one).__name__)
def test_an_event_as_json_and_in_lines(event, record, lines):
    assert json.dumps(event_json(event)) == json.dumps(record)
    assert event_lines(event) == lines


def test_no_kind_of_event_is_forgotten_above():
    assert {type(event) for event, *_ in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize(("message", "record"), MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_of_the_worker_as_json_and_read_back(message, record):
    told = event_json(WorkerProgress(ENGINE, message))

    assert json.dumps(told) == json.dumps({**record, "event": f"worker_{record['event']}", "address": ENGINE})
    assert message_from(record) == message


def test_no_message_of_the_worker_is_forgotten_above():
    assert {type(message) for message, _ in MESSAGES} == set(get_args(WorkerMessage))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            FetchProgress("p:fetch", Download("progress", "https://a.b/net.onnx", MIB, None)),
            "net.onnx (1.0 MiB)",
        ),
        (CalibrationProgress("p/a:calibrate", SampleCount(3, 8, 2)), "3 of 8 samples"),
        (SearchProgress(SEARCH, "ranking", 2, 1, False), "ranking, 2 evaluations"),
        (ReductionProgress("p/a@x", "nodes", 4, False), "nodes, 4 evaluations"),
        (ComparisonProgress("p/a@x", 3), "tensors, 3 evaluations"),
        (WorkerProgress(ENGINE, WorkerPhase("parse", None, 0, 0, "start")), "parse"),
        (WorkerProgress(ENGINE, WorkerMemory(5, 6)), ""),
        (ToolchainProgress(ENGINE, "installing"), ""),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_a_live_view_shows_beside_a_step(event, words):
    assert phase_words(event) == words


def test_a_live_view_has_words_or_silence_for_all_that_goes_on():
    shown = {type(event) for event, *_ in EVENTS if isinstance(event, ProgressEvent)}

    assert shown == set(get_args(ProgressEvent))
