"""Sizes that a model does not tell are found: that go together, that keep a rank, that an author allows."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from trtpipe.proofs.model import ModelView, prove_model, view_model
from trtpipe.proofs.proposals import Hints, Proposal, propose_profile
from trtpipe.proofs.tied_dims import applied, equal_ties, sum_ties, ties_that_hold
from trtpipe.spec.pipeline import ProfileInput

LSTM = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, t, 4] x, float[2, s, 8] state) => (float[a, b, c, d] y) {
    f = Transpose<perm=[1, 0, 2]>(x)  h, c = Split<axis=0>(state)  y, z, e = LSTM<hidden_size=8>(f, w, r, , , h, c) }"""
WEIGHTS = {"w": np.zeros((1, 32, 4), np.float32), "r": np.zeros((1, 32, 8), np.float32)}

DECODER = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1, t, 8] x, float[1, p, 8] past, float[1, 1, m] mask) => (float[a, b, c] y) {
    k = Concat<axis=1>(past, x)  kt = Transpose<perm=[0, 2, 1]>(k)  s = MatMul(x, kt)  a = Add(s, mask)
    y = MatMul(a, k) }"""

SQUEEZE = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 3, 8, 8] x) => (float[n, c] y) {
    p = GlobalAveragePool(x)  y = Squeeze(p) }"""


def model(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return proto


def proposed(view: ModelView, hints: Hints | None = None) -> Proposal:
    return propose_profile(view.inputs, infer=view.infer, value_inputs=view.value_inputs, hints=hints)


def shapes(proposal: Proposal, name: str) -> list[tuple[int, ...] | None]:
    assert proposal.problems == ()
    entry = proposal.profile[name]
    return [entry.min, entry.opt, entry.max]


def test_a_state_gets_the_batch_of_what_it_is_a_state_of():
    proposal = proposed(view_model(model(LSTM, **WEIGHTS)))

    batches = [shape[0] for shape in shapes(proposal, "x") if shape]
    assert batches == [1, 1, 8]
    assert [shape[1] for shape in shapes(proposal, "state") if shape] == batches


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ((2, 3, 8), "its state 'h' is 1x3x8, and the batch of 'f' is 1"),
        ((2, 1, 8), ""),
    ],
)
def test_check_says_which_state_does_not_fit(state, said):
    profile = {"x": ProfileInput(min=(1, 4, 4), opt=(1, 4, 4), max=(1, 4, 4))}
    profile["state"] = ProfileInput(min=state, opt=state, max=state)

    found = [one for one in prove_model(model(LSTM, **WEIGHTS), (profile,)) if one.severity == "error"]

    assert [one.fact.rpartition("these shapes: ")[2] for one in found] == ([said] if said else [])
    assert all("this profile works" in one.remedy for one in found)


def test_a_mask_is_as_long_as_what_is_cached_and_what_is_new():
    proposal = proposed(view_model(model(DECODER)))

    new, cached, mask = (shapes(proposal, name) for name in ("x", "past", "mask"))
    assert [one[2] for one in mask if one] == [
        a[1] + b[1] for a, b in zip(new, cached, strict=True) if a and b
    ]
    assert new[0] != new[2]


def test_the_batch_of_a_state_is_found_among_many_sizes_that_nobody_named():
    text = DECODER.replace("float[1, t, 8] x, float[1, p, 8] past", "float[?, ?, 8] x, float[?, ?, 8] past")
    proposal = proposed(view_model(model(text.replace("float[1, 1, m] mask", "float[?, 1, ?] mask"))))

    new, cached, mask = (shapes(proposal, name) for name in ("x", "past", "mask"))
    assert [one[0] for one in new if one] == [one[0] for one in cached if one] == [1, 1, 8]
    assert mask[2] is not None and new[2] is not None and cached[2] is not None
    assert mask[2][2] == new[2][1] + cached[2][1]


def test_sizes_stay_above_one_where_a_squeeze_would_take_the_axis_away():
    view = view_model(model(SQUEEZE))

    found = view.infer({"x": (1, 3, 8, 8)}, {}).problems

    assert len(found) == 1
    assert "names no axes, so at size 1 of axis 0 of 'p'" in found[0].fact
    assert shapes(proposed(view), "x") == [(2, 3, 8, 8), (2, 3, 8, 8), (8, 3, 8, 8)]


def test_a_squeeze_whose_axes_are_all_known_takes_any_batch():
    named = SQUEEZE.replace("Squeeze(p)", "Squeeze(p, axes)")
    proto = model(named, axes=np.array([2, 3], np.int64))

    assert shapes(proposed(view_model(proto)), "x") == [(1, 3, 8, 8), (1, 3, 8, 8), (8, 3, 8, 8)]


def test_the_sizes_that_an_author_allows_are_the_ends_of_the_profile():
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n, t, 4] x) => (float[n, t, 4] y) { y = Relu(x) }'
    )
    hints = Hints({"n": (1, 32), "t": (4, 100)})

    assert shapes(proposed(view_model(model(text)), hints), "x") == [(1, 4, 4), (1, 100, 4), (32, 100, 4)]


def test_dimensions_that_one_name_stands_for_are_one_guess():
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1, n, n] x) => (float[1, n, n] y) { y = Relu(x) }'
    )
    same = {"x_1": "n", "x_2": "n"}

    for shape in shapes(proposed(view_model(model(text)), Hints(same=same)), "x"):
        assert shape is not None and shape[1] == shape[2]


def test_where_a_guess_was_seen_to_fail_another_one_is_made():
    view = view_model(model(DECODER))
    first = proposed(view).profile

    second = proposed(view, Hints(failed=(first,))).profile

    assert [second[name].opt for name in second] != [first[name].opt for name in second]


def test_a_branch_that_shapes_decide_is_looked_into():
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[a, b] y) {
        s = Shape(x)  size = Gather(s, zero)  big = Greater(size, zero2)
        y = If(big) <then_branch = t () => (float[a, b] u) { u = MatMul(x, wide) },
                     else_branch = e () => (float[a, b] v) { v = MatMul(x, narrow) }> }"""
    known = {"zero": np.int64(0), "zero2": np.int64(2), "wide": np.zeros((5, 2), np.float32)}
    proto = model(
        text, **{name: np.asarray(value) for name, value in known.items()}, narrow=np.zeros((4, 2), "f")
    )
    view = view_model(proto)

    assert view.infer({"x": (2, 4)}, {}).shape("y") == (2, 2)
    assert (
        "'MatMul_0' (MatMul) does not accept these shapes" in view.infer({"x": (3, 4)}, {}).problems[0].fact
    )


def test_ties_that_hold_are_those_that_a_point_has():
    point = {"a": 2, "b": 3, "c": 5}

    assert list(ties_that_hold(point)) == [{"c": (("a", "b"), 0)}, {"b": (("a",), 1)}]
    assert list(ties_that_hold({"a": 2, "b": 7, "c": 20, "d": 7})) == [{"d": (("b",), 0)}, {"b": (("d",), 0)}]
    tried = [*equal_ties(point), *sum_ties(point)]
    assert {"c": (("a", "b"), 0)} in tried
    assert all(applied(tie, point).keys() == point.keys() for tie in tried)
