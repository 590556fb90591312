"""What TensorRT's parser misreads, in many variations: the network is equal to the model, or it is told that it is not.

What the import makes of the same variations is equal to them in ONNX Runtime, and the parser reads it rightly.

A variation that is not in the table must be equal. `parser`: its network computes something else, or is of other types
and sizes, and that is found. `reference`: the network is right and ONNX Runtime is not. `refused`: by the parser.
`not compared`: ONNX Runtime does not run the model, so that nothing is claimed.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conformance.backend_cases import Case
from tests.conformance.run_readback import one_import, read_back
from tests.networks.misread_models import KINDS, models, plainer
from tests.networks.parsed_models import needs_rtx, random_feed
from trtpipe.errors import TrtpipeError
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

pytestmark = [needs_rtx, pytest.mark.engine]

RENAMED = "Required inputs"
"""What is said where the parser gives a network's input another name."""
EXPECTED = {
    "quantized": {
        "parser": """uint8, zero point none, tensor; uint8, zero point none, channels; uint8, zero point 0, tensor;
            uint8, zero point 0, channels; uint8, halves; uint8 output; uint8 output without zero point;
            uint8 where int8 would do""",
        "refused": """uint8, zero point none, weights; uint8, zero point none, weights' channels;
            uint8, zero point 0, weights; uint8, zero point 0, weights' channels; uint8, zero point 128, tensor;
            uint8, zero point 128, channels; uint8, zero point 128, weights; uint8, zero point 128, weights' channels;
            uint8, zero point 3, tensor; uint8, zero point 3, channels; uint8, zero point 3, weights;
            uint8, zero point 3, weights' channels; int8, zero point 3, tensor; int8, zero point 3, channels;
            int8, zero point 3, weights; int8, zero point 3, weights' channels; uint8 by attribute; uint8 input;
            uint8 input without zero point; computed""",
    },
    "transposed": {
        "parser": """output_shape, one less; output_shape and pads; no kernel_shape; groups; volume by output_shape;
            SAME_UPPER and output_padding; VALID and output_padding""",
        "refused": "line by output_shape",
    },
    "convolved": {},
    "pooled": {
        "parser": """MaxPool, rounded up, starts in padding; MaxPool, rounded up, starts behind;
            AveragePool, counting, rounded up, starts in padding; AveragePool, counting, rounded up, starts behind;
            GlobalLpPool, p=1; GlobalLpPool, p=3""",
        "refused": """AveragePool, rounded up, starts in padding; AveragePool, rounded up, starts behind;
            MaxPool, dilations; AveragePool, dilations; LpPool, p=3; LpPool, p=3, pads; MaxPool, indices""",
    },
    "reduced": {
        "parser": """L1, nothing, gone, axes left out; L1, nothing, kept, axes left out;
            L2, nothing, gone, axes left out; L2, nothing, kept, axes left out; LogSum, nothing, gone, axes left out;
            LogSum, nothing, kept, axes left out; SumSquare, nothing, gone, axes left out;
            SumSquare, nothing, kept, axes left out""",
    },
    "recurrent": {
        "parser": """RNN, forward, layout 1; RNN, reverse, layout 1; RNN, bidirectional, layout 1;
            GRU, forward, layout 1; GRU, reverse, layout 1; GRU, bidirectional, layout 1; LSTM, forward, layout 1;
            LSTM, reverse, layout 1; LSTM, bidirectional, layout 1""",
        # ONNX clips what goes into an activation; ONNX Runtime leaves out the cell's state before the last one.
        "reference": "LSTM, forward, clip; LSTM, reverse, clip; LSTM, bidirectional, clip",
        "refused": "LSTM, input_forget; RNN, two activations; RNN, Affine",
    },
    "resized": {
        "refused": "; ".join(
            [
                *(f"{mode}, {way}, {name}" for mode in ("nearest", "linear", "cubic")
                  for way in ("half_pixel_symmetric", "tf_crop_and_resize") for name in ("up", "down")),
                *(f"{mode}, {way}" for mode in ("nearest", "linear", "cubic")
                  for way in ("not_larger", "not_smaller", "antialias")),
                "linear, a part",
            ]
        ),
        "not compared": "linear, exclude_outside, down",
    },
    "looped": {
        "parser": """both, collected; both, false, collected; a truth that is an input;
            a count and a truth that is an input""",
        "refused": """a truth, collected; a truth that is false, collected; the largest count and a truth, collected;
            the round's number under a truth; Scan, output along the last axis""",
    },
}  # fmt: skip


LEFT = {
    "quantized": {},
    "transposed": {},
    "convolved": {},
    "pooled": {"refused": "MaxPool, dilations; AveragePool, dilations; MaxPool, indices"},
    "reduced": {},
    "recurrent": {name: EXPECTED["recurrent"][name] for name in ("reference", "refused")},
    "resized": {
        "refused": "; ".join(
            [
                *(f"{mode}, tf_crop_and_resize, {name}" for mode in ("nearest", "linear", "cubic")
                  for name in ("up", "down")),
                *(f"{mode}, {way}" for mode in ("nearest", "linear", "cubic") for way in ("not_larger", "not_smaller")),
                *(f"nearest, half_pixel_symmetric, {name}" for name in ("up", "down")),
                "nearest, antialias",
                "linear, a part",
            ]
        ),
        "not compared": "linear, exclude_outside, down",
    },
    "looped": {
        "parser": "both, collected; both, false, collected; a count and a truth that is an input",
        "refused": EXPECTED["looped"]["refused"],
    },
}  # fmt: skip
"""The same after the import; kinds that it leaves as they are stand above only."""


def expected_of(kind, table=EXPECTED):
    """Name → verdict, of those that are not equal."""
    given = table[kind].items()
    return {" ".join(name.split()): verdict for verdict, text in given for name in text.split(";")}


def case_of(name, made):
    """A model with its inputs; what must come out where ONNX Runtime understands a plainer model only."""
    feed, plain = random_feed(made, 6), plainer(made)
    outputs = {}
    if plain is not None:
        with open_runner(RunnableModel(plain, Path(), Path("plain.onnx")), threads=1) as runner:
            outputs = runner.infer(feed)
    return Case(name, "variation", made.SerializeToString(), feed, outputs, 1e-4, 1e-6)


DEPARTS = {"parser": "mismatch", "reference": "mismatch"}


def read_all(folder, cases):
    """What is found of each case."""
    for number, case in enumerate(cases):
        (folder / f"{number}.case").write_bytes(pickle.dumps(case))
    return read_back(folder, [str(number) for number in range(len(cases))], jobs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_variation_is_equal_or_its_difference_is_found(tmp_path, kind):
    made, known = models(kind), expected_of(kind)

    results = read_all(tmp_path, [case_of(name, one) for name, one in made.items()])

    assert set(known) <= set(made), "the table names a variation that there is not"
    found = dict(zip(made, results, strict=True))
    wanted = {name: known.get(name, "equal") for name in made}
    assert {name: one["verdict"] for name, one in found.items()} == {
        name: DEPARTS.get(verdict, verdict) for name, verdict in wanted.items()
    }
    for name, one in found.items():
        if one["verdict"] == "mismatch" and RENAMED not in one["why"]:
            assert "cannot run" not in one["why"], (name, one["why"])
        assert one["verdict"] != "equal" or one["model"] == "fits"


@pytest.mark.parametrize("kind", LEFT)
def test_what_the_import_makes_of_a_variation_is_read_rightly(tmp_path, kind):
    made, left = models(kind), expected_of(kind, LEFT)

    with one_import() as imported:
        cases = [imported(case_of(name, one)) for name, one in made.items()]
    results = read_all(tmp_path, cases)

    assert {name: one["verdict"] for name, one in zip(made, results, strict=True)} == {
        name: DEPARTS.get(left.get(name), left.get(name, "equal")) for name in made
    }


@pytest.mark.parametrize("kind", LEFT)
def test_what_the_import_makes_of_a_variation_computes_the_same(kind):
    with one_import() as imported:
        cases = {
            name: (one, case, imported(case))
            for name, one in models(kind).items()
            for case in [case_of(name, one)]
        }
    for name, (one, case, made) in cases.items():
        again = onnx.load_from_string(made.model)
        expected = dict(case.outputs) or outputs_of(one, case.inputs)

        found = outputs_of(again, case.inputs) if expected else {}

        for output, values in expected.items() if found else ():
            assert (found[output].dtype, found[output].shape) == (values.dtype, values.shape), name
            np.testing.assert_allclose(found[output], values, rtol=2e-6, atol=2e-5, err_msg=name)


def outputs_of(made, feed):
    """What ONNX Runtime computes; nothing where it does not take the model."""
    try:
        with open_runner(RunnableModel(made, Path(), Path("made.onnx")), threads=1) as runner:
            return runner.infer(feed)
    except TrtpipeError:
        return {}
