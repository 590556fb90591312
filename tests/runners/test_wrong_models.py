"""Typed models that are wrong on purpose: each is caught and named by output, place and metric; the right ones pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from trtpipe.errors import StepFailed
from trtpipe.metrics.verdicts import judge_report
from trtpipe.plan.task import Task
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.files import rewrite_file
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.validation.recordings import read_recording
from trtpipe.runners.validation.validate import run_validation

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "pipelines/models/digits_cnn.onnx"
VAL = ROOT / "calibration/digits/val.npz"
SPEC = {
    "schema": 1,
    "npz": "val.npz",
    "inputs": {"image": {}},
    "labels": "label",
    "batch": 50,
    "samples": 100,
}
PROFILE = {"image": {"min": [1, 1, 8, 8], "opt": [3, 1, 8, 8], "max": [64, 1, 8, 8]}}
PLACES = ["data", "profile 0 at min", "profile 0 at opt", "profile 0 at max"]
AMAX = 16.0


def two_outputs(tmp_path):
    """The digits model with its last hidden tensor, which has the shape of its logits, as a second output."""
    model = onnx.load(DIGITS)
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Softmax", [last], ["scores"], name="scores"))
    model.graph.output.append(helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["batch", 10]))
    onnx.save(model, tmp_path / "two.onnx")
    return tmp_path / "two.onnx"


def typed_as(precision, source, out, **more):
    rewrite_file(find_precision(precision), source, out, choices=Choices(**more))
    return out


def changed(path, edit):
    model = onnx.load(path)
    edit(model)
    onnx.save(model, path)
    return path


def measured(tmp_path, source, typed, profile=PROFILE):
    files = {"typed": {"model.onnx": typed}, "reference": {"model.onnx": source}, "data": {"val.npz": VAL}}
    options = {"reference": "onnxruntime", "data": {"spec": SPEC}, "profiles": [profile]}
    return run_validation(Task("validate", options, files, tmp_path), tmp_path / "validation.json")


def judged(tmp_path, source, typed, precision):
    return judge_report(measured(tmp_path, source, typed), [], find_precision(precision).default_thresholds)


def a_weight(model):
    tensor = max(model.graph.initializer, key=lambda one: np.prod(one.dims))
    values = numpy_helper.to_array(tensor).copy()
    values.flat[int(np.abs(values).argmax())] *= -1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def swapped_outputs(model):
    names = [value.name for value in model.graph.output]
    other = dict(zip(names, reversed(names), strict=True))
    for node in model.graph.node:
        node.output[:] = [other.get(name, name) for name in node.output]
        node.input[:] = [other.get(name, name) for name in node.input]


def a_zero_point(model):
    """The zero point of the input's DequantizeLinear, by 24 of 255 steps."""
    node = next(node for node in model.graph.node if node.op_type == "DequantizeLinear")
    zero = numpy_helper.from_array(np.array(24, np.int8), "wrong zero")
    model.graph.initializer.append(zero)
    node.input[2:] = ["wrong zero"]


def largest(source):
    """The largest magnitude of every float tensor on some samples, as a calibration would find it."""
    model = onnx.load(source)
    inferred = onnx.shape_inference.infer_shapes(model)
    names = [
        value.name
        for value in inferred.graph.value_info
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in known)
    exposed = source.with_name("exposed.onnx")
    onnx.save(model, exposed)
    images = np.load(VAL)["image"][:100].astype(np.float32)
    with open_runner(exposed) as runner:
        found = runner.infer({"image": images})
    return {"image": float(images.max()), **{name: float(np.abs(a).max()) for name, a in found.items()}}


def test_right_models_pass(tmp_path):
    source = two_outputs(tmp_path)
    for precision in ("fp32", "fp16", "int8"):
        more = {"amax": largest(source)} if precision == "int8" else {}
        judgement = judged(
            tmp_path, source, typed_as(precision, source, tmp_path / "t.onnx", **more), precision
        )

        assert judgement.outcome == "passed", judgement.problems
        assert {verdict["place"] for verdict in judgement.verdicts} == set(PLACES)


def test_one_changed_weight(tmp_path):
    source = two_outputs(tmp_path)
    typed = changed(typed_as("fp32", source, tmp_path / "t.onnx"), a_weight)

    judgement = judged(tmp_path, source, typed, "fp32")

    assert judgement.outcome == "failed"
    assert judgement.problems[0].fact.startswith("output 'logits' has cosine 0.")
    assert judgement.problems[0].fact.endswith("(data)")


def test_one_swapped_output(tmp_path):
    source = two_outputs(tmp_path)
    typed = changed(typed_as("fp32", source, tmp_path / "t.onnx"), swapped_outputs)

    facts = [problem.fact for problem in judged(tmp_path, source, typed, "fp32").problems]

    for output in ("logits", "scores"):
        for place in PLACES:
            assert any(
                f.startswith(f"output '{output}' has cosine") and f.endswith(f"({place})") for f in facts
            )


def test_one_shifted_zero_point(tmp_path):
    source = two_outputs(tmp_path)
    typed = typed_as("int8", source, tmp_path / "t.onnx", amax=largest(source))

    judgement = judged(tmp_path, source, changed(typed, a_zero_point), "int8")

    assert judgement.outcome == "failed"
    assert judgement.problems[0].fact.startswith("output 'logits' has cosine 0.")


def test_a_corner_at_which_only_the_typed_model_is_wrong(tmp_path):
    """Rows from the 60th on are lost, as by a kernel for a fixed batch; the data come in batches of 50."""
    source = two_outputs(tmp_path)

    def lose_rows(model):
        last = model.graph.node[-1]
        for name, values in {"rows": [60], "zero": [0], "far": [1000]}.items():
            model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        inner, last.output[0] = "all scores", "all scores"
        model.graph.node.extend(
            [
                helper.make_node("Slice", [inner, "zero", "rows", "zero"], ["kept"]),
                helper.make_node("Slice", [inner, "rows", "far", "zero"], ["late"]),
                helper.make_node("Sub", ["late", "late"], ["lost"]),
                helper.make_node("Concat", ["kept", "lost"], ["scores"], axis=0),
            ]
        )

    judgement = judged(
        tmp_path, source, changed(typed_as("fp32", source, tmp_path / "t.onnx"), lose_rows), "fp32"
    )

    (problem,) = judgement.problems
    assert problem.fact.startswith("output 'scores' has cosine 0.9")
    assert problem.fact.endswith("(profile 0 at max)")
    (worst,) = [run for run in read_recording(tmp_path / "worst.npz") if run.place == "profile 0 at max"]
    assert worst.inputs["image"].shape[0] == 64 and not worst.got["scores"][60:].any()


def test_a_corner_at_which_the_typed_model_cannot_run_is_named(tmp_path):
    source = two_outputs(tmp_path)

    def fix_rows(model):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros((50, 10), np.float32), "fifty"))
        last = model.graph.node[-1]
        last.output[0] = "before"
        model.graph.node.append(helper.make_node("Add", ["before", "fifty"], ["scores"], name="broken"))

    typed = changed(typed_as("fp32", source, tmp_path / "t.onnx"), fix_rows)
    profile = {"image": {"min": [50, 1, 8, 8], "opt": [50, 1, 8, 8], "max": [64, 1, 8, 8]}}

    with pytest.raises(StepFailed, match="at profile 0 at max: ONNX Runtime cannot run node 'broken'"):
        measured(tmp_path, source, typed, profile)


def test_what_is_beside_the_report(tmp_path):
    source = two_outputs(tmp_path)
    typed = typed_as("fp16", source, tmp_path / "t.onnx")

    summary = measured(tmp_path, source, typed)
    report = json.loads((tmp_path / "validation.json").read_text())

    runs = read_recording(tmp_path / "golden.npz")
    assert [run.inputs["image"].shape[0] for run in runs] == [50, 50]
    assert len(runs[0].labels) == 50 and report["recorded"] == 100
    record = report["places"][0]["outputs"]["scores"]
    assert sum(record["errors"]["counts"]) == 1000 and len(record["scatter"]) == 200
    assert "errors" not in summary["places"][0]["outputs"]["scores"]
