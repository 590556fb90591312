"""What may be expected of a model that rounds as it runs: it is held against itself with floats rounded otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.rounding.own_rounding import NothingToExpect, expected_cosine


def model(body: str) -> RunnableModel:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[n,64] x) => (float[n,64] y) {{ {body} }}'
    return RunnableModel(onnx.parser.parse_model(text), Path(), Path("model.onnx"))


def expected(made: RunnableModel) -> float | None:
    feeds = {"opt": {"x": np.random.default_rng(0).normal(0, 1, (4, 64)).astype(np.float32)}}
    with open_runner(made, threads=1) as runner:
        outputs = {"opt": runner.infer(feeds["opt"])}
    return expected_cosine(made, feeds, outputs)


def test_a_model_that_does_not_round_is_held_to_what_is_usual():
    assert expected(model("y = Tanh (x)")) is None


def test_fine_steps_cost_nothing_that_is_seen():
    fine = "s = Constant <value = float {1000.0}> () a = Mul (x, s) b = Round (a) y = Div (b, s)"
    assert expected(model(fine)) > 0.99999


def test_values_that_lie_between_two_steps_leave_less():
    """All lie on a step, which is a 16th of what they are added to: 1 less the cosine is some thousandths."""
    between = (
        "t = Constant <value = float {0.0}> () h = Constant <value = float {0.5}> () "
        "i = Constant <value = float {16.0}> () o = Mul (x, t) a = Add (o, h) "
        "e = Exp (a) l = Log (e) r = Round (l) d = Div (r, i) y = Add (x, d)"
    )
    found = expected(model(between))
    assert found is not None and 0.98 <= found < 0.99999


def test_chaos_proves_nothing():
    """Only what rounding decides is left."""
    chaos = (
        "t = Constant <value = float {0.0}> () h = Constant <value = float {0.5}> () "
        "o = Mul (x, t) a = Add (o, h) e = Exp (a) l = Log (e) y = Round (l)"
    )
    with pytest.raises(NothingToExpect, match=r"^0\.\d"):
        expected(model(chaos))
