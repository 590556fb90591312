"""What may be expected of a model that rounds as it runs: it is held against itself with floats rounded otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.rounding import own_rounding
from trtpipe.runners.rounding.own_rounding import NothingToExpect, expected_cosine
from trtpipe.runners.rounding.perturbations import noise_of, perturbed, perturbed_apart


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


TWO_SIZES = {
    "opt": {"x": np.ones((4, 64), np.float32)},
    "min": {"x": np.ones((1, 64), np.float32)},
}
ROUNDED = model("y = Round (x)")


def tried(monkeypatch: pytest.MonkeyPatch, changes: dict[tuple[str, int], float]) -> Counter[str]:
    """How often a model is tried at each place, whose output is turned by so much at each trial."""
    seen: Counter[str] = Counter()
    places = {len(feed["x"]): place for place, feed in TWO_SIZES.items()}

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        def infer(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            place = places[len(feed["x"])]
            seen[place] += 1
            turned = np.ones((len(feed["x"]), 64), np.float32)
            turned[:, ::2] += changes.get((place, seen[place]), 0.0)
            return {"y": turned}

        yield SimpleNamespace(infer=infer)

    monkeypatch.setattr(own_rounding, "open_runner", opened)
    expected_cosine(ROUNDED, TWO_SIZES, {place: {"y": feed["x"]} for place, feed in TWO_SIZES.items()})
    return seen


def test_where_most_values_are_rounded_one_trial_says_as_much_as_three(monkeypatch: pytest.MonkeyPatch):
    assert tried(monkeypatch, {("opt", 1): 0.01, ("min", 1): 0.01}) == {"opt": 1, "min": 3}


def test_where_the_first_trial_changes_nothing_others_follow(monkeypatch: pytest.MonkeyPatch):
    """A few values near a step move in one trial and not in another: chance must not write a threshold."""
    assert tried(monkeypatch, {("min", 1): 0.01}) == {"opt": 3, "min": 3}


def test_what_only_a_later_trial_shows_is_room_as_well(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NothingToExpect):
        tried(monkeypatch, {("opt", 3): 1.0})


def test_at_one_place_all_trials_are_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(TWO_SIZES, "min")

    assert tried(monkeypatch, {("opt", 1): 0.01}) == {"opt": 3}


def test_trials_in_one_session_draw_other_numbers_and_the_same_ones_each_time():
    noise = noise_of("fp32", "fp32")
    feed = {"x": np.random.default_rng(0).normal(0, 1, (4, 64)).astype(np.float32)}

    def trials() -> list[np.ndarray]:
        with open_runner(perturbed(model("y = Tanh (x)"), noise, 0)) as runner:
            return [runner.infer(feed)["y"] for _ in range(3)]

    first, again = trials(), trials()

    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[1], first[2])
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))


def weighted() -> RunnableModel:
    """Two products by one weight, one of them in an If, and a weight that is only transposed."""
    branch = "(float[4,64] t) {t = MatMul (h, w)}"
    made = model(
        f"h = MatMul (x, w) k = Transpose (v) s = MatMul (h, k) c = Constant <value = bool[1] {{1}}> () "
        f"b = If (c) <then_branch = one () => {branch}, else_branch = two () => {branch}> y = Add (s, b)"
    )
    rng = np.random.default_rng(1)
    for name in ("w", "v"):
        value = rng.normal(size=(64, 64)).astype(np.float32)
        made.proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return made


def test_kept_apart_the_errors_of_weights_are_those_of_one_copy():
    noise = noise_of("fp32", "fp32")
    feed = {"x": np.random.default_rng(0).normal(0, 1, (4, 64)).astype(np.float32)}
    making, taking = perturbed_apart(weighted(), noise, 0)
    with open_runner(perturbed(weighted(), noise, 0)) as runner:
        whole = runner.infer(feed)["y"]

    with open_runner(making) as runner:
        weights = runner.infer({})
    with open_runner(taking) as runner:
        first, second = (runner.infer({**feed, **weights})["y"] for _ in range(2))

    assert weights.keys() == {"w/rounded"}
    assert np.array_equal(first, whole) and not np.array_equal(second, whole)
    assert {one.name for one in taking.proto.graph.initializer} == {"v", "w"}  # the branches read w itself
    assert {one.name for one in making.proto.graph.initializer} == {"w"}


def test_large_weights_are_not_held_between_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(own_rounding, "_LARGE", 1000)
    monkeypatch.setattr(own_rounding, "perturbed_apart", None)
    rounding = weighted()
    rounding.proto.graph.node[-1].output[0] = "z"
    rounding.proto.graph.node.append(onnx.helper.make_node("Round", ["z"], ["y"]))

    assert expected(rounding) is not None
