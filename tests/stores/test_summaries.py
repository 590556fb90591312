"""What a summary says in any place is refused, or its readers can read it."""

from __future__ import annotations

import json

import pytest

from tests.damage import damages
from trtpipe.digests import digest_bytes
from trtpipe.json_values import Malformed, read_object
from trtpipe.lockfile.cell_facts import origin_facts, tactic_facts, typed_facts
from trtpipe.lockfile.choices import agrees
from trtpipe.metrics.metrics import METRICS
from trtpipe.metrics.verdicts import judge_report
from trtpipe.networks.verdicts import judge_network, worth_telling
from trtpipe.plan.address import STAGE_VERSIONS
from trtpipe.plan.trace import Trace
from trtpipe.provenance.materials import materials_of
from trtpipe.spec.pipeline import ReadbackSpec
from trtpipe.stores.summaries import misfit

MEASURED = {
    "metrics": dict.fromkeys(METRICS, 0.5) | {"psnr": "inf", "accuracy": None},
    "not_applicable": {"accuracy": "there are no labels"},
    "elements": 10,
    "differing": 1,
    "nonfinite": dict.fromkeys(("nan", "inf", "reference_nan", "reference_inf", "differing"), 0),
    "reference_accuracy": None,
    "largest": 2.0,
    "where_max_abs": [0, 1],
}
ONSET = {"tensor": "t", "op": "Exp", "node": "n", "what": "inf", "place": "data", "reference_max": 1e5}
AT = {"place": "data", "kind": "data", "samples": 4, "outputs": {"y": MEASURED}}
READ = {
    "tensor": "y", "node": "n", "error": 0.5, "bound": 1.0, "unequal": 0, "misfit": "", "departs": False,
    "metrics": MEASURED,
}  # fmt: skip
QUANTIZED = {"tensor": "t", "node": "n", "steps": 2.0, "misfit": False, "departs": True}
GOOD = {
    "fetch": {"files": {"source/a.onnx": {"url": "https://h/a.onnx", "pinned": True, "sha256": "ab", "commit": "c"}}},
    "import": {
        "claims": {"producer": "p"},
        "changes": {"counts": {}},
        "summary": {"weights": [{"dtype": "float32", "elements": 3}], "opsets": [["", 17]]},
    },
    "calibrate": {"dead": 1},
    "search": {"from": "a search", "choice": {"precision": "int8", "base": "fp16", "keep": {"fp16": ["/a"]}}},
    "evaluate": {"answer": {}},
    "quantize": {"audit": {}, "why_not": {"a": "b"}, "planned": {"float16": 2}, "wide": {"overflow": {"a": 1}}},
    "parse": {
        "layers": 3, "layers_read": 2, "unread": ["x"], "unread_by_type": {"PLUGIN": 1}, "cut": [], "notes": ["n"],
        "misfits": [{"what": "input", "name": "t", "why": "w", "node": None}], "contradictions": ["c"],
        "warnings": [{"kind": "dangerous", "name": "n", "message": "m", "count": 2, "meaning": "x"}], "unreadable": "",
    },
    "build_engine": {
        "normalised": "ab", "version": "10.1", "layer_counts": {}, "tactics": {"k": "t"}, "header": {"size": 1},
        "io": [{"name": "x", "mode": "input", "dtype": "float32", "shape": [-1, 4], "dimension_names": ["b", None]}],
        "wheels": [{"name": "a_b", "version": "1", "sha256": "ab"}], "seconds": {"build": 0.5},
    },
    "validate": {"places": [AT], "twins": {"a": "b"}, "recorded": 2, "nonfinite": [ONSET],
                 "not_run": [{"name": "n", "why": "w"}]},
    "readback": {"places": [{**AT, "outputs": {"y": READ}, "quantized": [QUANTIZED]}], "twins": {}, "outputs": ["y"],
                 "first": {"tensor": "t", "node": "", "op": "Add"}, "not_run": [{"name": "n", "why": "w"}]},
}  # fmt: skip


def traces_with(stage: str, summary: dict) -> dict[str, Trace]:
    made = {}
    for one, good in GOOD.items():
        record = {"stage": one, "inputs": {"source": {"a.onnx": "ab" * 32 + "/1"}}, "options": {}}
        outputs = {"model.engine": digest_bytes(b"x"), "model.onnx": digest_bytes(b"y")}
        made[one] = Trace("ab" * 32, f"net:{one}", record, outputs, summary if one == stage else good)
    return made


def read_by_all(stage: str, summary: dict) -> None:
    """Everything that a delivery asks of a stage's summary."""
    traces = traces_with(stage, summary)
    materials_of(traces, {})
    told = [origin_facts(traces["fetch"].summary), typed_facts(traces["quantize"].summary)]
    told += [tactic_facts(traces["build_engine"].summary), agrees(traces["search"], {})]
    told += [agrees(traces["search"], {"ab" * 32: {"precision": "int8", "base": "fp16", "keep": {}}})]
    told += [list(worth_telling(traces["parse"].summary))]
    asked = ReadbackSpec()
    told += [dict(judge_network(traces["parse"].summary, traces["readback"].summary, asked, "").record)]
    told += [judge_report(traces["validate"].summary, ()).as_json()]
    json.dumps(told)


@pytest.mark.parametrize("stage", GOOD)
def test_a_summary_is_refused_or_its_readers_can_read_it(stage):
    assert misfit(stage, GOOD[stage]) == ""
    read_by_all(stage, GOOD[stage])
    refused = 0
    for damage in damages(GOOD[stage]):
        try:
            summary = read_object(damage.text)
        except Malformed:
            continue
        if misfit(stage, summary):
            refused += 1
            continue
        with damage.assert_raises_only(Malformed):  # which a delivery says in one sentence
            read_by_all(stage, summary)
    assert refused or stage == "calibrate"


def test_what_is_wrong_is_named_by_its_place():
    summary = {**GOOD["search"], "choice": {"precision": "int8", "base": None, "keep": {"fp16": [3]}}}

    assert misfit("search", summary) == "choice.keep.fp16[0]"
    assert misfit("import", {"summary": {"opsets": [["", 17, 3]]}}) == "summary.opsets[0]"
    assert misfit("validate", {"twins": {}}) == "places"


def test_every_stage_of_today_has_a_shape():
    assert GOOD.keys() | {"transform"} == STAGE_VERSIONS.keys()
