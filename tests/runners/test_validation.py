"""Validation: data and corners measured, what was not run named, overflow traced to its tensor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from trtpipe.errors import StepFailed
from trtpipe.metrics.verdicts import judge_report
from trtpipe.plan.task import Task
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.files import rewrite_file
from trtpipe.problem_codes import Code
from trtpipe.runners.validation.validate import run_validation
from trtpipe.spec.pipeline import Threshold

ROOT = Path(__file__).parents[2]
COSINE = Threshold(metric="cosine", min=0.999)
CHAIN = "g (float[N,4] x) => (float[N,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = MatMul(b, w) }"
W = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
PROFILE = {"x": {"min": [1, 4], "opt": [3, 4], "max": [8, 4]}}


def saved(path, text, **weights):
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]>\n{text}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{index}"
    path.write_bytes(proto.SerializeToString())
    return path


def npz_data(tmp_path, batch=2, **arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    spec = {"schema": 1, "npz": "data.npz", "batch": batch}
    spec |= {"labels": "label"} if "label" in arrays else {}
    return {"spec": spec}


def validated(tmp_path, source, typed, **options):
    files = {"typed": {"model.onnx": typed}, "reference": {"model.onnx": source}}
    files["data"] = {"data.npz": tmp_path / "data.npz"}
    task = Task("validate", {"reference": "onnxruntime", **options}, files, tmp_path)
    return run_validation(task, tmp_path / "validation.json")


@pytest.fixture
def chain(tmp_path):
    source = saved(tmp_path / "source.onnx", CHAIN, w=W)
    rewrite_file(find_precision("fp16"), source, tmp_path / "typed.onnx")
    return source, tmp_path / "typed.onnx"


@pytest.fixture
def data(tmp_path):
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    return npz_data(tmp_path, x=x, label=np.arange(5) % 4)


def places(report):
    return [(place["place"], place["samples"]) for place in report["places"]]


def test_data_and_every_corner_are_measured(tmp_path, chain, data):
    report = validated(tmp_path, *chain, data=data, profiles=[PROFILE])

    assert places(report) == [
        ("data", 5),
        ("profile 0 at min", None),
        ("profile 0 at opt", None),
        ("profile 0 at max", None),
    ]
    assert [place["shapes"]["x"] for place in report["places"]] == [[2, 4], [1, 4], [3, 4], [8, 4]]
    assert report["places"][0]["outputs"]["y"]["elements"] == 20
    assert judge_report(report, [COSINE]).outcome == "passed"
    assert report["not_run"] == []


def test_half_differs_from_float_but_a_model_equals_itself(tmp_path, chain, data):
    source, typed = chain

    differs = validated(tmp_path, source, typed, data=data)["places"][0]["outputs"]["y"]
    equals = validated(tmp_path, source, source, data=data)["places"][0]["outputs"]["y"]

    assert 0 < differs["metrics"]["max_abs"] < 1e-2
    assert equals["differing"] == 0


def test_the_written_report_is_the_same_every_time(tmp_path, chain, data):
    written = []
    for _ in range(2):
        validated(tmp_path, *chain, data=data, profiles=[PROFILE])
        written.append((tmp_path / "validation.json").read_bytes())

    assert written[0] == written[1]
    assert json.loads(written[0])["schema"] == 1


def test_equal_corners_are_run_once(tmp_path, chain, data):
    fixed = {"x": {"min": [2, 4], "opt": [2, 4], "max": [2, 4]}}

    report = validated(tmp_path, *chain, data=data, profiles=[fixed])

    assert places(report)[1:] == [("profile 0 at min, opt, max", None)]


def test_a_corner_too_large_to_run_is_said_by_name(tmp_path, chain, data):
    huge = {"x": {"min": [1, 4], "opt": [2, 4], "max": [200_000_000, 4]}}

    report = validated(tmp_path, *chain, data=data, profiles=[huge])

    (skipped,) = report["not_run"]
    assert skipped["name"] == "profile 0 at max"
    assert "more than 2.0 GiB" in skipped["why"]


def test_without_data_nothing_is_invented(tmp_path, chain):
    report = validated(tmp_path, *chain, data=None, profiles=[PROFILE])

    assert report["places"] == []
    assert [one["name"] for one in report["not_run"]] == [
        "data", "profile 0 at min", "profile 0 at opt", "profile 0 at max",
    ]  # fmt: skip


def test_random_inputs_are_used_when_asked_for(tmp_path, chain):
    report = validated(tmp_path, *chain, data={"random": {"seed": 1, "samples": 4}}, profiles=[PROFILE])

    assert places(report)[0] == ("data", 4)
    assert report["places"][0]["shapes"] == {"x": [3, 4]}


def test_bound_inputs_are_fed_to_the_reference_as_their_constant(tmp_path, data):
    text = "g (float[N,4] x, float s) => (float[N,4] y) { y = Mul(x, s) }"
    bound = saved(
        tmp_path / "bound.onnx", "g (float[N,4] x) => (float[N,4] y) { y = Mul(x, s) }", s=np.float32(3)
    )

    report = validated(
        tmp_path, saved(tmp_path / "s.onnx", text), bound, data=data, transform={"bind": {"s": 3}}
    )

    assert report["places"][0]["outputs"]["y"]["differing"] == 0


def test_outputs_that_the_transform_cut_are_exposed_on_the_reference(tmp_path, data):
    source = saved(tmp_path / "s.onnx", "g (float[N,4] x) => (float[N,4] y) { a = Exp(x)  y = Neg(a) }")
    cut = saved(tmp_path / "c.onnx", "g (float[N,4] x) => (float[N,4] a) { a = Exp(x) }")

    report = validated(tmp_path, source, cut, data=data)

    assert report["places"][0]["outputs"]["a"]["differing"] == 0


@pytest.mark.parametrize("reference", ["onnxruntime", "float64"])
def test_what_the_transform_cut_away_need_not_run_in_the_reference(tmp_path, data, reference):
    text = "g (float[N,4] x) => (float[N,4] y, float[N,4] z) { a = Exp(x)  y = d.Plugin(a)  z = Neg(x) }"
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17, "d" : 1]>\n{text}')
    source = tmp_path / "s.onnx"
    source.write_bytes(proto.SerializeToString())
    cut = saved(tmp_path / "c.onnx", "g (float[N,4] x) => (float[N,4] a) { a = Exp(x) }")

    report = validated(tmp_path, source, cut, data=data, reference=reference)

    assert [one for one in report["not_run"] if one["name"] == "the reference"] == []
    assert judge_report(report, [COSINE]).outcome == "passed"


def test_random_indices_stay_within_their_tables(tmp_path):
    text = """g (int64[N,3] i, float[N,3] f) => (float[N,3,2] y) {
        c = Cast<to=7>(f)  a = Gather(one, i)  b = Gather(ten, c)  y = Add(a, b) }"""
    model = saved(
        tmp_path / "m.onnx", text, one=np.ones((1, 2), np.float32), ten=np.ones((10, 2), np.float32)
    )
    np.savez(tmp_path / "data.npz", unused=np.zeros(1))
    profile = {name: {"min": [1, 3], "opt": [2, 3], "max": [5, 3]} for name in "if"}

    report = validated(tmp_path, model, model, data={"random": {"seed": 3, "samples": 6}}, profiles=[profile])

    assert report["not_run"] == []
    assert len(report["places"]) == 4


def test_an_output_that_depends_on_random_numbers_is_not_run_and_no_threshold_on_it_passes(tmp_path, data):
    text = "g (float[N,4] x) => (float[N,4] y, float[N,4] z) { r = RandomNormalLike(x)  y = Add(x, r)  z = Exp(x) }"
    model = saved(tmp_path / "m.onnx", text)

    report = validated(tmp_path, model, model, data=data, profiles=[PROFILE])

    assert [set(place["outputs"]) for place in report["places"]] == [{"z"}] * 4
    why = "it depends on the random numbers of node 'RandomNormalLike_0' (RandomNormalLike), which differ in every run"
    assert report["not_run"] == [{"name": "output y", "why": why}]
    about_y = Threshold(output="y", metric="cosine", min=0.9)
    assert judge_report(report, [about_y]).outcome == "not_run"
    assert judge_report(report, [COSINE]).outcome == "passed"


FIXED = "g (float[N,4] x) => (float[M] y) { s = Shape(x)  r = Neg(x)  y = Reshape(r, k) }"


def test_a_corner_at_which_the_model_cannot_run_fails_in_the_words_of_check(tmp_path):
    model = saved(tmp_path / "m.onnx", FIXED, k=np.array([8]))
    data = npz_data(tmp_path, batch=2, x=np.ones((4, 4), np.float32))
    profile = {"x": {"min": [2, 4], "opt": [2, 4], "max": [8, 4]}}

    with pytest.raises(StepFailed) as failed:
        validated(tmp_path, model, model, data=data, profiles=[profile])

    (problem,) = failed.value.problems
    assert problem.fact.startswith(
        "profile 0 is impossible at max: ONNX Runtime cannot run node 'Reshape_2' (Reshape) of 'm.onnx', "
        "which makes 'y': "
    )
    assert (problem.code, problem.path) == (Code.PROFILE_IMPOSSIBLE, ("profiles", 0))


def test_a_corner_at_which_the_source_alone_cannot_run_is_not_run(tmp_path):
    source = saved(tmp_path / "m.onnx", FIXED, k=np.array([8]))
    typed = saved(tmp_path / "t.onnx", FIXED, k=np.array([-1]))
    data = npz_data(tmp_path, batch=2, x=np.ones((4, 4), np.float32))
    profile = {"x": {"min": [2, 4], "opt": [2, 4], "max": [8, 4]}}

    report = validated(tmp_path, source, typed, data=data, profiles=[profile])

    assert [one["name"] for one in report["not_run"]] == ["profile 0 at max"]
    assert report["not_run"][0]["why"].startswith("the reference does not run there: ")


def test_an_output_that_the_reference_lacks_is_not_run_by_name(tmp_path, data):
    source = saved(tmp_path / "s.onnx", "g (float[N,4] x) => (float[N,4] y) { y = Exp(x) }")
    more = saved(
        tmp_path / "m.onnx", "g (float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Exp(x) z = Neg(x) }"
    )

    report = validated(tmp_path, source, more, data=data)

    assert report["not_run"] == [{"name": "output z", "why": "the reference has no tensor of this name"}]


def test_a_hidden_overflow_is_traced_to_the_tensor_where_it_begins(tmp_path):
    text = "g (float[N,4] x) => (float[N,4] y) { a = Mul(x, w)  b = Mul(a, a)  c = Exp(x)  d = Neg(b)  y = Softmax(d) }"
    source = saved(tmp_path / "s.onnx", text, w=np.float32(1000))
    rewrite_file(find_precision("fp16"), source, tmp_path / "t.onnx")
    data = npz_data(tmp_path, x=np.linspace(0.5, 4, 8, dtype=np.float32).reshape(2, 4))

    report = validated(tmp_path, source, tmp_path / "t.onnx", data=data)

    (found,) = report["nonfinite"]
    assert (found["tensor"], found["op"], found["what"]) == ("b", "Mul", "overflow")
    assert found["reference_max"] == pytest.approx(1.6e7)


def test_a_mask_that_is_infinite_in_the_reference_too_is_no_overflow(tmp_path):
    mask = np.array([0, -np.inf, 0, 0], np.float32)
    source = saved(
        tmp_path / "s.onnx", "g (float[N,4] x) => (float[N,4] y) { a = Add(x, m)  y = Softmax(a) }", m=mask
    )
    rewrite_file(find_precision("fp16"), source, tmp_path / "t.onnx")
    data = npz_data(tmp_path, x=np.ones((2, 4), np.float32))

    report = validated(tmp_path, source, tmp_path / "t.onnx", data=data)

    assert report["nonfinite"] == []
    assert judge_report(report, [COSINE]).outcome == "passed"


def test_nan_in_an_output_fails_whatever_the_thresholds(tmp_path):
    text = "g (float[N,4] x) => (float[N,4] y) { a = Mul(x, w)  y = Sub(a, a) }"
    source = saved(tmp_path / "s.onnx", text, w=np.float32(60000))
    rewrite_file(find_precision("fp16"), source, tmp_path / "t.onnx")
    data = npz_data(tmp_path, x=np.full((2, 4), 2, np.float32))

    judgement = judge_report(validated(tmp_path, source, tmp_path / "t.onnx", data=data), [])

    assert judgement.outcome == "failed"
    assert judgement.problems[0].fact == "output 'y' holds NaN in 8 elements (data)"
    assert (
        "overflow begins in 'a' (Mul, data), where the reference reaches 1.2e+05"
        in judgement.problems[0].remedy
    )


def golden(tmp_path, typed, arrays):
    np.savez(tmp_path / "golden.npz", **arrays)
    files = {"typed": {"model.onnx": typed}, "reference": {"golden.npz": tmp_path / "golden.npz"}}
    task = Task("validate", {"reference": "golden", "profiles": [PROFILE]}, files, tmp_path)
    return run_validation(task, tmp_path / "validation.json")


def test_recorded_outputs_are_compared_on_their_own_inputs(tmp_path):
    typed = saved(tmp_path / "m.onnx", "g (float[N,4] x) => (float[N,4] y) { y = Neg(x) }")
    x = np.ones((3, 4), np.float32)

    report = golden(tmp_path, typed, {"in:x": x, "out:y": -x})

    assert report["places"][0]["outputs"]["y"]["differing"] == 0
    assert [one["why"] for one in report["not_run"]] == ["recorded outputs are of their own inputs only"] * 3


def test_a_recording_without_an_input_is_refused(tmp_path):
    typed = saved(tmp_path / "m.onnx", "g (float[N,4] x) => (float[N,4] y) { y = Neg(x) }")

    with pytest.raises(StepFailed, match="the recorded outputs lack 'in:x'"):
        golden(tmp_path, typed, {"in:z": np.ones(1), "out:y": np.ones(1)})


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_digits_demo_keeps_its_accuracy(tmp_path, precision):
    source = ROOT / "pipelines/models/digits_cnn.onnx"
    rewrite_file(find_precision(precision), source, tmp_path / "typed.onnx")
    spec = {"schema": 1, "npz": "val.npz", "inputs": {"image": {}}, "labels": "label", "batch": 50}
    files = {"typed": {"model.onnx": tmp_path / "typed.onnx"}, "reference": {"model.onnx": source}}
    files["data"] = {"val.npz": ROOT / "calibration/digits/val.npz"}
    task = Task("validate", {"reference": "onnxruntime", "data": {"spec": spec}}, files, tmp_path)

    judgement = judge_report(
        run_validation(task, tmp_path / "v.json"), [Threshold(metric="accuracy", min=0.98)]
    )

    assert (judgement.outcome, judgement.accuracy, judgement.reference_accuracy) == ("passed", 0.988, 0.988)


def test_recorded_float32_is_fed_to_half_inputs_and_compared_with_half_outputs(tmp_path):
    folder = ROOT.parent / "shared/testdata/onnx/real"
    if not (folder / "mtcnn_rnet.onnx").exists():
        pytest.skip("mtcnn_rnet.onnx is not beside this checkout")
    half, choices = find_precision("fp16"), Choices(io={"*": "convert"})
    rewrite_file(half, folder / "mtcnn_rnet.onnx", tmp_path / "typed.onnx", choices=choices)
    files = {
        "typed": {"model.onnx": tmp_path / "typed.onnx"},
        "reference": {"g.npz": folder / "mtcnn_rnet.npz"},
    }

    report = run_validation(Task("validate", {"reference": "golden"}, files, tmp_path), tmp_path / "v.json")

    judgement = judge_report(report, [], half.default_thresholds)
    assert judgement.outcome == "passed", judgement.problems
    assert set(session_types(tmp_path / "typed.onnx")) == {"tensor(float16)"}


def session_types(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [one.type for one in (*session.get_inputs(), *session.get_outputs())]


@pytest.mark.parametrize("name", ["ppocr_cls", "silero_vad_op18_ifless", "magika_v3_3", "mtcnn_rnet"])
def test_real_models_in_fp32_equal_their_recorded_outputs(tmp_path, name):
    folder = ROOT.parent / "shared/testdata/onnx/real"
    if not (folder / f"{name}.onnx").exists():
        pytest.skip(f"{name}.onnx is not beside this checkout")
    rewrite_file(find_precision("fp32"), folder / f"{name}.onnx", tmp_path / "typed.onnx")
    files = {"typed": {"model.onnx": tmp_path / "typed.onnx"}, "reference": {"g.npz": folder / f"{name}.npz"}}
    task = Task("validate", {"reference": "golden"}, files, tmp_path)

    report = run_validation(task, tmp_path / "v.json")

    judgement = judge_report(report, [], find_precision("fp32").default_thresholds)
    assert judgement.outcome == "passed", judgement.problems


def test_corners_can_be_left_out(tmp_path, chain, data):
    report = validated(tmp_path, *chain, data=data, profiles=[PROFILE], corners=False)

    assert places(report) == [("data", 5)]
