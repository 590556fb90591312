"""A sample of what `check` was scored on, built anew; and the figures that the whole came to."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys

import onnx
import pytest

from tests.conformance.backend_cases import Case
from tests.conformance.score_check import OUT, SETS, counted, with_record
from tests.conformance.specimens import by_hand, variants
from tests.conformance.typed_phases import keep
from tests.surroundings import child_environment
from trtpipe.targets.operator_types import tried_versions, type_refusal

BUILT, REFUSED = {"stage": "built", "reason": "", "op": ""}, {"stage": "parse", "reason": "no", "op": "Det"}
SWEPT = [
    ("LpPool", "bfloat16"), ("LpPool", "float16"), ("Conv", "bfloat16"), ("Gemm", "int32"), ("Where", "uint8"),
    ("GlobalLpPool", "bfloat16"), ("Log", "bfloat16"), ("ReduceL2", "int64"), ("DepthToSpace", "bool"),
]  # fmt: skip
ANSWERS = {
    "g (float[2,3,8,8] x) => (float[2,3,8,8] y) { y = LRN<size = 5>(x) }": True,
    "g (float[2,3,8,8] x) => (float[2,3,8,8] y) { y = LRN<size = 4>(x) }": False,
    "g (float[4] x) => (float[4] y) { y = Softmax<axis = 0>(x) }": False,
    "g (int16[4] x) => (float[4] y) { y = Cast<to = 1>(x) }": False,
    "g (float[1,1,4,4] x, float[1,1,2,2] w) => (float[1,1,a,b] y) { y = ConvTranspose<strides = [2, 2], dilations = [2, 2]>(x, w) }": False,  # noqa: E501
    "g (float[2,3] x, float[2,3] z) => (float[2,3] y) { y = Mod<fmod = 1>(x, z) }": True,
    "g (float[2,3] x, float[2,3] z) => (float[2,3] y) { y = Mod<fmod = 0>(x, z) }": False,
}
"""Small models, and whether TensorRT-RTX builds them."""


def row(refused, made, raw=BUILT, case="a"):
    return {"case": case, "of": "plain/fp32", "refused": refused, "made": made, "raw": raw}


def test_a_word_that_was_wrong_is_counted_and_named():
    found = counted([row([], BUILT), row([], REFUSED), row(["no"], REFUSED), row(["why"], BUILT, case="b")])

    assert (found["no-parse"]["builds"], found["no-parse"]["buildable"]) == (1, 2)
    assert (found["no-parse"]["rightly"], found["no-parse"]["refused"]) == (1, 2)
    assert found["no-parse"]["misses"] == [
        "a plain/fp32: parse refuses Det: no",
        "b plain/fp32: refused, and it builds: why",
    ]


def test_with_the_parser_its_refusals_are_checks_own():
    found = counted([row([], REFUSED)])["parse"]

    assert (found["refused"], found["rightly"], found["misses"]) == (1, 1, [])


def test_what_import_refuses_is_judged_by_the_model_as_it_came():
    assert counted([row(["import"], None, raw=REFUSED)])["no-parse"]["rightly"] == 1
    assert counted([row(["import"], None, raw=BUILT)])["no-parse"]["rightly"] == 0


def test_the_score_that_is_kept_is_what_is_promised():
    record = json.loads(OUT.read_text(encoding="utf-8"))

    for name, least in zip(SETS, (0.99, 0.99, 0.95), strict=True):  # of the files there are few
        for one in record["sets"][name].values():
            assert one["builds"] >= least * one["buildable"], name
            assert one["rightly"] >= 0.99 * one["refused"], name
            assert len(one["misses"]) == one["buildable"] - one["builds"] + one["refused"] - one["rightly"]


@pytest.mark.parametrize("version", tried_versions()[:-1])
def test_older_versions_keep_the_promise_too(version):
    record = json.loads(OUT.read_text(encoding="utf-8"))["older"][version]

    assert "suite" in record
    for name, found in record.items():
        for one in (found["no-parse"], found["parse"]):
            assert one["builds"] >= 0.99 * one["buildable"], (name, one["misses"])
            assert one["rightly"] >= 0.99 * one["refused"], (name, one["misses"])
            assert len(one["misses"]) == one["buildable"] - one["builds"] + one["refused"] - one["rightly"]


def test_the_scores_of_an_older_version_are_put_beside_those_that_are_kept():
    newest, older = tried_versions()[-1], tried_versions()[0]
    modes = {"no-parse": {"builds": 1}, "parse": {"builds": 1}}
    record = {
        "tensorrt_rtx": older,
        "date": "d",
        "sample": "all",
        "cases": {"suite": 3},
        "sets": {"suite": modes},
    }
    kept = {"tensorrt_rtx": newest, "older": {older: {"mutants": {"cases": 1}}, "x": {}}}

    made = with_record(kept, record)

    assert made["tensorrt_rtx"] == newest
    assert made["older"]["x"] == {}
    assert made["older"][older] == {
        "mutants": {"cases": 1},
        "suite": {"cases": 3, "sample": "all", "date": "d", **modes},
    }
    assert with_record(made, record | {"tensorrt_rtx": newest})["older"] == made["older"]


def answers(script, folder, names, *more):
    """What a child says of each name."""
    requests = "".join(json.dumps({"name": name, "skip": []}) + "\n" for name in names)
    done = subprocess.run(
        [sys.executable, "-m", f"tests.conformance.{script}", str(folder), *more],
        env=child_environment(), input=requests, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    said = [line.removeprefix("result ") for line in done.stdout.splitlines() if line.startswith("result ")]
    return [json.loads(line) for line in said]


needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="no tensorrt_rtx wheel here"
)


@pytest.mark.engine
@needs_rtx
def test_a_sample_of_the_sweep_builds_as_the_table_says(tmp_path):
    found = {
        (one.op, one.dtype): one
        for model in by_hand()
        for one in variants(model)
        if one.variable.startswith("T")
    }
    chosen = [found[key] for key in SWEPT]
    digests = [keep(tmp_path, one.model.SerializeToString(), {}) for one in chosen]

    made = answers("build_phases", tmp_path, digests)

    for one, result in zip(chosen, made, strict=True):
        known = type_refusal(one.op, one.variable, one.dtype)
        refused = known is not None and tried_versions()[-1] in known.versions
        assert (result["stage"] != "built") == refused, (one.op, one.dtype, result)


@pytest.mark.engine
@needs_rtx
def test_what_check_says_of_small_models_is_what_tensorrt_does(tmp_path):
    names = []
    for number, text in enumerate(ANSWERS):
        model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}')
        case = Case(f"case{number}", "node", model.SerializeToString(), {}, {}, 0.0, 0.0)
        (tmp_path / f"case{number}.case").write_bytes(pickle.dumps(case))
        names.append(case.name)
    typed = answers("typed_phases", tmp_path, names, str(tmp_path), "plain", "fp32")
    (tmp_path / "typed.json").write_text(json.dumps(typed))
    said = answers(
        "check_phases", tmp_path, names, str(tmp_path), str(tmp_path / "typed.json"), tried_versions()[-1]
    )
    digests = [one["models"]["plain/fp32"]["model"] for one in typed]
    made = answers("build_phases", tmp_path, digests)

    assert [not one["verdicts"]["plain/fp32"] for one in said] == list(ANSWERS.values())
    assert [one["stage"] == "built" for one in made] == list(ANSWERS.values())
