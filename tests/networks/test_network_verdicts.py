"""What a parsed network is judged by: warnings, misfits, outputs beside their bounds, and what was not compared."""

from __future__ import annotations

import numpy as np
import pytest

from trtpipe.json_values import Malformed
from trtpipe.metrics.metrics import Accumulator
from trtpipe.networks.verdicts import judge_network, unknown_accepted, worth_telling
from trtpipe.networks.warnings import NAMES, names_of_dangerous
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import ReadbackSpec, Threshold

PLAIN = ReadbackSpec()
LACKING = "there are no data"


def parsed(**more):
    """What a parse step says of a network that was read in full."""
    whole = {"layers": 4, "layers_read": 4, "unread": [], "unread_by_type": {}, "cut": [], "notes": []}
    return {**whole, "misfits": [], "contradictions": [], "warnings": [], "unreadable": "", **more}


def output(error=0.0, bound=1e-4, **more):
    """What a readback measured of one output at one place."""
    metrics = Accumulator()
    r = np.linspace(1, 2, 10, dtype=np.float32)
    metrics.add(r, (r * (1 + float(error))).astype(np.float32), None)
    told = {"tensor": "y", "node": "last", "error": error, "bound": bound, "unequal": 0, "misfit": ""}
    return {**told, "departs": float(error) > bound, "metrics": metrics.result().as_json(), **more}


def measured(*outputs, **more):
    """A readback's report with one place for each of these outputs."""
    places = [
        {"place": f"place {number}", "kind": "data", "samples": 1, "outputs": {"y": one}, "quantized": []}
        for number, one in enumerate(outputs)
    ]
    return {"outputs": ["y"], "twins": {}, "places": places, "first": None, "not_run": [], **more}


def warning(kind="dangerous", name="uint8-quantization"):
    return {"message": "it says so", "name": name, "kind": kind, "meaning": "it means that", "count": 2}


def misfit(name="t", what="tensor"):
    return {"what": what, "name": name, "node": "n", "why": "is int8 instead of uint8"}


def facts(verdict):
    return [problem.fact for problem in verdict.problems]


def test_outputs_within_their_bounds_prove_a_network_that_was_read_in_full():
    verdict = judge_network(parsed(), measured(output(1e-5), output(2e-5)), PLAIN, "")

    assert (verdict.outcome, verdict.why, verdict.problems) == ("proved", "", ())
    (worst,) = verdict.record["outputs"]
    assert (worst["output"], worst["place"], worst["error"]) == ("y", "place 1", 2e-5)


def test_without_data_nothing_is_proved():
    verdict = judge_network(parsed(), None, PLAIN, LACKING)

    assert (verdict.outcome, verdict.why) == ("not proved", LACKING)
    assert verdict.record["outputs"] == []


def test_a_departing_output_fails_whatever_agrees_elsewhere():
    first = {"tensor": "t", "node": "conv", "op": "Conv"}

    found = measured(output(), output(0.1), first=first)
    verdict = judge_network(parsed(), found, PLAIN, "", lambda name: f"node '{name}' (Conv)")

    assert verdict.outcome == "failed"
    told = "output 'y' departs from the typed model's by 0.1, where rounding allows 0.0001 (place 1)"
    assert told in facts(verdict)[0]

    assert "'t' (node 'conv', Conv)" in verdict.problems[0].remedy
    assert verdict.problems[0].code is Code.NETWORK_DIFFERS


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (output("inf", departs=True), "where it is not finite"),
        (output("inf", departs=True, unequal=3), "in 3 elements"),
        (output(0.0, departs=True, unequal=7), "in 7 elements"),
        (output(departs=True, misfit="is 2x2 instead of 2x3", metrics=None), "is 2x2 instead of 2x3"),
    ],
    ids=["not finite", "some not finite", "whole numbers", "shape"],
)
def test_a_departure_says_in_what(found, told):
    assert told in facts(judge_network(parsed(), measured(found), PLAIN, ""))[0]


@pytest.mark.parametrize(
    ("more", "told"),
    [({}, "by up to 18 steps"), ({"misfit": True}, "of another shape than 'x'")],
    ids=["steps", "shape"],
)
def test_a_tensor_that_is_quantized_otherwise_fails_though_outputs_agree(more, told):
    inner = {"tensor": "x", "node": "q", "steps": 18.0, "share": 0.1, "allowed": 0.02, "misfit": False}
    data = measured(output())
    data["places"][0]["quantized"] = [{**inner, "departs": True, **more}, {**inner, "departs": False}]

    verdict = judge_network(parsed(), data, PLAIN, "")

    assert verdict.outcome == "failed"
    assert told in facts(verdict)[0]
    assert "more" not in facts(verdict)[0]


@pytest.mark.parametrize(
    ("threshold", "outcome"),
    [(Threshold(metric="cosine", min=0.9), "proved"), (Threshold(metric="max_rel", max=0.01), "failed")],
    ids=["reached", "missed"],
)
def test_thresholds_of_the_spec_stand_in_place_of_the_bound(threshold, outcome):
    verdict = judge_network(parsed(), measured(output(0.1)), ReadbackSpec(thresholds=(threshold,)), "")

    assert verdict.outcome == outcome
    assert verdict.record["outputs"][0]["by_thresholds"] is True


def test_a_threshold_for_another_output_leaves_the_bound_in_place():
    other = Threshold(output="z*", metric="cosine", min=0.1)

    assert (
        judge_network(parsed(), measured(output(0.1)), ReadbackSpec(thresholds=(other,)), "").outcome
        == "failed"
    )


@pytest.mark.parametrize("data", [None, measured(output())], ids=["without data", "with data"])
def test_a_dangerous_warning_ends_a_build_unless_it_is_accepted(data):
    said = parsed(warnings=[warning()])

    verdict = judge_network(said, data, PLAIN, LACKING)
    accepted = judge_network(said, data, ReadbackSpec(accept=("uint8-quantization",)), LACKING)

    assert verdict.outcome == "failed"
    assert verdict.problems[0].code is Code.PARSER_WARNING
    assert "accept: [uint8-quantization]" in verdict.problems[0].remedy
    assert not accepted.problems
    assert accepted.record["warnings"][0]["accepted"] is True


@pytest.mark.parametrize(("kind", "name"), [("harmless", "int64-binding"), ("unknown", "")])
def test_other_warnings_are_recorded_and_end_nothing(kind, name):
    verdict = judge_network(parsed(warnings=[warning(kind, name)]), measured(output()), PLAIN, "")

    assert verdict.outcome == "proved"
    assert verdict.record["warnings"][0]["count"] == 2


def test_what_is_not_known_to_be_harmless_is_told_with_its_count():
    said = parsed(warnings=[warning("harmless", "int64-binding"), warning("unknown", ""), warning()])

    assert list(worth_telling(said)) == [
        ("", "it says so (2 times)"),
        ("uint8-quantization", "it says so (2 times)"),
    ]


def test_tensors_that_do_not_fit_end_a_build_unless_they_are_accepted_by_name():
    said = parsed(
        misfits=[misfit("a"), misfit("b", "weights"), misfit("c", "output"), misfit("d"), misfit("e")]
    )

    verdict = judge_network(said, None, PLAIN, LACKING)
    some = judge_network(said, None, ReadbackSpec(accept=("tensor:[a-d]",)), LACKING)

    assert len(verdict.problems) == 4
    assert facts(verdict)[0].endswith("parser makes, tensor 'a' (node 'n') is int8 instead of uint8")

    assert "the weights 'b'" in facts(verdict)[1]
    assert facts(verdict)[3] == "2 more tensors of TensorRT's network differ from the model"
    assert ["tensor 'e'" in fact for fact in facts(some)] == [True]


UNPROVED = {
    "unread": (
        parsed(layers_read=3, unread_by_type={"NMS": 1}, cut=["y"]),
        measured(not_run=[{"name": "output 'y'", "why": "it was not read"}]),
        "layers of these types cannot be read: NMS 1",
    ),
    "not run": (
        parsed(),
        measured(not_run=[{"name": "the network", "why": "it does not run"}]),
        "output 'y' could not be compared: it does not run",
    ),
    "contradiction": (
        parsed(contradictions=["'t' is 1x2 instead of 1x3", "another"]),
        measured(output()),
        "what was read of it is not what TensorRT says: 't' is 1x2 instead of 1x3 and 1 more",
    ),
    "unreadable": (parsed(unreadable="TensorRT died", layers=0, layers_read=0), measured(), "TensorRT died"),
}


@pytest.mark.parametrize("case", UNPROVED)
def test_what_was_not_compared_in_full_is_not_proved_and_says_why(case):
    said, data, why = UNPROVED[case]

    verdict = judge_network(said, data, PLAIN, LACKING)

    assert (verdict.outcome, verdict.why, verdict.problems) == ("not proved", why, ())


def test_what_was_not_run_is_named_as_the_network_s():
    data = measured(output(), not_run=[{"name": "profile 0 at max", "why": "it takes too much"}])

    verdict = judge_network(parsed(), data, PLAIN, "")

    assert verdict.outcome == "proved"
    assert verdict.not_run == ("TensorRT's network, profile 0 at max: it takes too much",)


@pytest.mark.parametrize("missing", ["warnings", "misfits", "contradictions", "layers"])
def test_a_damaged_report_is_refused(missing):
    said = parsed()
    del said[missing]

    with pytest.raises(Malformed):
        judge_network(said, measured(output()), PLAIN, "")


def test_accepted_names_must_be_those_of_warnings():
    assert not list(unknown_accepted(ReadbackSpec(accept=(*NAMES, "tensor:*"))))
    (problem,) = unknown_accepted(ReadbackSpec(accept=("uint8-quantized",)))

    assert problem.path == ("validate", "readback", "accept", 0)
    assert "did you mean 'uint8-quantization'" in problem.remedy
    assert set(names_of_dangerous()) <= set(NAMES)


CAST = "the cast of 'h' before node '/head/softmax'"


def test_a_node_of_trtpipes_that_departs_is_told_by_the_users():
    first = {"tensor": "h_fp32", "node": "cast_h_fp32", "op": "Cast"}
    misfit = {
        "what": "tensor",
        "name": "h_fp32",
        "node": "cast_h_fp32",
        "why": "is float16 instead of float32",
    }
    inner = {
        "tensor": "h",
        "node": "cast_h_fp32",
        "steps": 18.0,
        "share": 0.1,
        "allowed": 0.02,
        "misfit": False,
    }
    quantized = measured(output())
    quantized["places"][0]["quantized"] = [{**inner, "departs": True}]

    for report, network in (
        (measured(output(0.1), first=first), parsed()),
        (measured(output()), {**parsed(), "misfits": [misfit]}),
        (quantized, parsed()),
    ):
        (problem,) = judge_network(network, report, PLAIN, "", {"cast_h_fp32": CAST}.__getitem__).problems
        assert f"({CAST})" in f"{problem.fact}\n{problem.remedy}"
        assert "cast_h_fp32" not in f"{problem.fact}\n{problem.remedy}"
