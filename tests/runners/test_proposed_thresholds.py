"""Proposed thresholds: those of one seed hold on others and for right models, and wrong models miss them."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import pytest

from tests.runners.test_validation import W, npz_data, saved
from tests.runners.test_wrong_models import (
    PROFILE,
    SPEC,
    VAL,
    a_weight,
    a_zero_point,
    changed,
    largest,
    measured,
    swapped_outputs,
    two_outputs,
    typed_as,
)
from trtpipe.metrics.proposals import proposed_thresholds
from trtpipe.metrics.verdicts import judge_report
from trtpipe.plan.task import Task
from trtpipe.runners.cpu.graphs import runnable_model
from trtpipe.runners.rounding.perturbations import noise_of, perturbed
from trtpipe.runners.rounding.rounding_noise import run_proposing

PRECISIONS = ["fp32", "fp16", "bf16", "int8", "fp8"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return two_outputs(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def noise(source, tmp_path_factory):
    """Reports of a precision's noise over some seeds, each measured once."""

    @functools.cache
    def reports(precision, seeds=(0,)):
        asked = {"precision": precision, "base": "fp16", "seeds": list(seeds)}
        options = {
            "reference": "onnxruntime",
            "data": {"spec": SPEC},
            "profiles": [PROFILE],
            "propose": asked,
        }
        files = {"typed": {"m": source}, "reference": {"m": source}, "data": {"val.npz": VAL}}
        return run_proposing(Task("propose", options, files, tmp_path_factory.mktemp("out")))["reports"]

    return reports


def typed_model(precision, source, out):
    more = {"amax": largest(source)} if precision in ("int8", "fp8") else {}
    return typed_as(precision, source, out, **more)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_one_seed_proposes_holds_on_others(noise, precision):
    thresholds = proposed_thresholds(noise(precision))

    assert {(one.output, one.metric) for one in thresholds} == {
        (output, metric) for output in ("logits", "scores") for metric in ("snr", "max_abs")
    }
    for report in noise(precision, (11, 12, 13)):
        assert judge_report(report, thresholds).problems == ()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_right_models_meet_them(noise, source, tmp_path, precision):
    typed = typed_model(precision, source, tmp_path / "t.onnx")

    judgement = judge_report(measured(tmp_path, source, typed), proposed_thresholds(noise(precision)))

    assert judgement.outcome == "passed", judgement.problems


@pytest.mark.parametrize(
    ("precision", "wrong", "output"),
    [
        ("fp32", a_weight, "logits"),
        ("fp16", a_weight, "logits"),
        ("bf16", a_weight, "logits"),
        ("fp16", swapped_outputs, "scores"),
        ("int8", swapped_outputs, "scores"),
        ("int8", a_zero_point, "logits"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_wrong_models_miss_them_and_are_named(noise, source, tmp_path, precision, wrong, output):
    typed = changed(typed_model(precision, source, tmp_path / "t.onnx"), wrong)

    judgement = judge_report(measured(tmp_path, source, typed), proposed_thresholds(noise(precision)))

    missed = {(one["output"], one["place"]) for one in judgement.verdicts if one["outcome"] == "failed"}
    assert judgement.outcome == "failed"
    assert (output, "data") in missed


def test_the_same_seed_is_the_same_model_and_another_is_not(source):
    model, noise = runnable_model(source), noise_of("int8", "fp16")

    one, same, other = (perturbed(model, noise, seed).proto.SerializeToString() for seed in (1, 1, 2))

    assert one == same
    assert one != other


def test_sizes_are_not_rounded_and_odd_names_are_escaped(tmp_path):
    text = """g (float[N,4] x) => (float[M,4] "y[0]", int64[K] best) {
        s = Shape(x)  f = Cast<to = 1>(s)  h = Mul(f, one)  i = Cast<to = 7>(h)
        a = MatMul(x, w)  "y[0]" = Reshape(a, i)  best = ArgMax<axis = 1, keepdims = 0>(a) }"""
    model = saved(
        tmp_path / "m.onnx", text.replace('"', "").replace("y[0]", "y"), w=W, one=np.ones(2, np.float32)
    )
    proto = onnx.load(model)
    proto.graph.output[0].name = proto.graph.node[5].output[0] = "y[0]"
    onnx.save(proto, model)
    data = npz_data(tmp_path, x=np.eye(4, dtype=np.float32))
    asked = {"precision": "fp16", "base": "fp16", "seeds": [0, 1]}
    files = {"typed": {"m": model}, "reference": {"m": model}, "data": {"data.npz": tmp_path / "data.npz"}}
    task = Task("propose", {"reference": "onnxruntime", "data": data, "propose": asked}, files, tmp_path)

    found = proposed_thresholds(run_proposing(task)["reports"])

    assert {one.output for one in found} == {"y[[]0]", "best"}
    assert [one.max for one in found if one.output == "best" and one.metric == "max_abs"] == [0.0]


def test_a_recording_is_perturbed_on_its_own_inputs(tmp_path):
    model = saved(tmp_path / "m.onnx", "g (float[N,4] x) => (float[N,4] y) { y = MatMul(x, w) }", w=W)
    x = np.eye(4, dtype=np.float32)
    np.savez(tmp_path / "golden.npz", **{"in:x": x, "out:y": x @ W})
    files = {"typed": {"m": model}, "reference": {"golden.npz": tmp_path / "golden.npz"}}
    asked = {"precision": "fp16", "base": "fp16", "seeds": [0]}

    (report,) = run_proposing(Task("propose", {"reference": "golden", "propose": asked}, files, tmp_path))[
        "reports"
    ]

    assert [place["place"] for place in report["places"]] == ["golden"]
    assert 50 < proposed_thresholds([report])[0].min < 70
