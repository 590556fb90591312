"""ONNX's backend suite read back: a sample has no mismatch but those whose fault is known, and the table is whole."""

from __future__ import annotations

import importlib.util
import warnings

import pytest

from tests.conformance.children import sample
from tests.conformance.run_readback import BAD, counts_of, judged, read_back, read_faults

RESULTS = [
    {"name": "a", "verdict": "equal", "why": "", "layers": {"CAST": 2}, "unread": {}},
    {"name": "b", "verdict": "mismatch", "why": "'y' 0.5", "layers": {"FILL": 1, "CAST": 1}, "unread": {"FILL": 1}},
    {"name": "c", "verdict": "crashed", "why": "the process died in parse", "layers": {}, "unread": {}},
    {"name": "d", "verdict": "refused", "why": "no", "layers": {}, "unread": {}},
]  # fmt: skip
ROW = {"fault": "parser", "why": "It errs."}


def results():
    return [dict(one) for one in RESULTS]


def test_a_mismatch_or_a_crash_without_a_row_is_wrong():
    judging = results()

    wrong = judged(judging, {"b": ROW})

    assert wrong == ["c has no row in readback_faults.json: crashed, the process died in parse"]
    assert judging[1]["fault"] == ROW
    assert judging[2]["fault"] is None


def test_a_row_of_a_case_that_no_longer_departs_is_wrong_in_its_form_alone():
    table = {"a": ROW, "b": ROW, "c": ROW, "d": ROW | {"form": "dynamic"}}

    assert judged(results(), table) == ["a has a row in readback_faults.json and is now: equal"]
    assert judged(results(), table, "dynamic") == ["d has a row in readback_faults.json and is now: refused"]


def test_layers_are_counted_over_all_cases_and_by_type():
    counts = counts_of(RESULTS)

    assert (counts["cases"], counts["parsed"], counts["equal"], counts["mismatch"]) == (4, 2, 1, 1)
    assert (counts["layers"], counts["layers_read"], counts["share_read"]) == (4, 3, 0.75)
    assert counts["share_read_by_type"] == {"CAST": 1.0, "FILL": 0.0}


@pytest.mark.engine
@pytest.mark.slow
def test_a_sample_of_the_backend_suite_departs_where_it_is_known_to(tmp_path):
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("no tensorrt_rtx wheel here")
    table = read_faults()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite's own arithmetic overflows on purpose
        from tests.conformance.backend_cases import store_cases

        names = store_cases(tmp_path)
    known = {name for name, row in table.items() if "form" not in row}
    chosen = sorted({*sample(names, 100), *known})
    made = read_back(tmp_path, chosen, jobs=1)

    assert judged(made, table) == []
    assert {one["name"] for one in made if one["verdict"] in BAD} == known
    assert sum(one["verdict"] == "equal" for one in made) >= 50
