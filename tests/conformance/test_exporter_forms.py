"""What comes of the forms that exporters write is what their lines say."""

from __future__ import annotations

import importlib.util
from collections import Counter

import pytest

from tests.conformance.exporter_forms import forms
from tests.conformance.sweep_exporters import outcomes, wrong

NEWEST = "1.7.1.116"
BUILT, REFUSED = {"stage": "built", "reason": "", "op": ""}, {"stage": "parse", "reason": "no", "op": "Det"}
SAMPLE = """elementwise_mod of floats;rnn, LSTM;scatter, not overwritten;fft_r2c;ResizeNearestNeighbor, half pixels
FakeQuantWithMinMaxVars;split to a sequence;multiclass_nms3;scaled_dot_product_attention;argmax, flattened"""
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="no tensorrt_rtx wheel here"
)


def outcome(refused, made, raw=REFUSED, *, word=""):
    form = next(forms())._replace(refused=word)
    return {"form": form, "precision": "fp32", "refused": refused, "made": made, "raw": raw}


def test_every_line_is_a_model_and_no_name_comes_twice():
    names = Counter((one.exporter, one.name) for one in forms())

    assert len(names) >= 300 and set(names.values()) == {1}
    assert {exporter for exporter, _ in names} == {"paddle", "tensorflow", "torch"}


@pytest.mark.parametrize(
    ("refused", "made", "raw", "word", "said"),
    [
        ([], BUILT, BUILT, "", ""),
        (["TP630 no DFT"], REFUSED, REFUSED, "DFT", ""),
        (["TP630 no DFT"], None, REFUSED, "DFT", ""),
        ([], REFUSED, BUILT, "", "does not build"),
        (["TP630 no DFT"], BUILT, BUILT, "", "is refused: TP630 no DFT"),
        (["TP630 no Det"], REFUSED, REFUSED, "DFT", "is refused for something else"),
        (["TP630 no DFT"], BUILT, BUILT, "DFT", "builds, and is refused"),
        ([], BUILT, BUILT, "DFT", "is not refused"),
    ],
)
def test_an_outcome_that_is_not_as_said_is_told(refused, made, raw, word, said):
    told = wrong(outcome(refused, made, raw, word=word))

    assert said in told if said else told == ""


@pytest.mark.engine
@needs_rtx
def test_a_sample_of_the_forms_comes_out_as_their_lines_say(tmp_path):
    wanted = [name.strip() for name in SAMPLE.replace("\n", ";").split(";")]
    chosen = [one for one in forms() if one.name in wanted]

    found = outcomes(chosen, tmp_path, 1, (NEWEST, ""))

    assert len(chosen) == len(wanted)
    assert [f"{one['form'].name}: {why}" for one in found if (why := wrong(one))] == []
