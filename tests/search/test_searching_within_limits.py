"""A search minds everything that a cell is judged by, and says by name what is in its way."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.search.synthetic_models import units
from trtpipe.building.searches.search import perform_search
from trtpipe.building.silent import Unheard
from trtpipe.errors import StepFailed
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.metrics.metrics import Accumulator
from trtpipe.plan.address import address
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.graph import Action
from trtpipe.plan.options import (
    NO_TRANSFORM,
    UNPLACED,
    EvaluateOptions,
    QuantizeOptions,
    SearchOptions,
    ValidateOptions,
)
from trtpipe.plan.requirements import PlaceRequirements
from trtpipe.search.choices import Choice

WANTED = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
NOISE = np.random.default_rng(1).standard_normal(WANTED.shape).astype(np.float32)
LEVELS = {"fp16": 0.05, "fp32": 0.0}


def action(*, corners, thresholds=(), most=1000):
    quantize = QuantizeOptions(
        precision="auto", precision_version={"fp16": 1, "fp32": 1}, keep={}, base=None, block_size=None, io=(),
        overflow=None, origins=UNPLACED,
    )  # fmt: skip
    validate = ValidateOptions(
        data={}, samples=None, profiles=[{}], corners=corners, reference="onnxruntime", transform=NO_TRANSFORM,
        origins=UNPLACED,
    )  # fmt: skip
    options = SearchOptions(
        budget={"metric": "cosine", "output": "*", "min": 0.99}, max_evaluations=most, max_seconds=None,
        try_=["fp16"], compute_capabilities=["sm89"], quantize=quantize, validate=validate, thresholds=thresholds,
        origins=UNPLACED,
    )  # fmt: skip
    here = PlaceRequirements(("variants", "a", "budget"))
    return Action(address("search", "p", "a"), Fingerprint("search", 1, options.record(), {}, {}), here)


class Evaluations:
    """Two units; what is in half there adds its noise to the outputs, more of it at the corner than on the data."""

    def __init__(self, action, scratch, at_corner=4.0, floor=0.0):
        self.action, self.scratch, self.ran = action, scratch, 0
        self.subject = EvaluateOptions.from_record(action.fingerprint.options)
        self.at_corner, self.floor = at_corner, floor

    def units(self, ladder):
        return tuple(replace(unit, flops=1_000_000_000) for unit in units(2))

    def plain(self, precision, base):
        return Choice(precision, base)

    def ahead(self, measure, choices):
        """Nothing is measured before it is asked for."""

    def telling(self, observer):
        return lambda phase, count: None

    def report(self, choice, *, corners=False):
        self.ran += 1
        kept = len(choice.keep.get("fp32", ())) // 2
        noise = LEVELS[choice.precision] * (2 - kept) / 2
        places = [self._place("data", "data", noise)]
        if corners:
            places.append(self._place("profile 0 max", "corner", noise * self.at_corner + self.floor))
        return {"places": places, "not_run": []}

    def _place(self, name, kind, noise):
        accumulator = Accumulator()
        accumulator.add(WANTED, WANTED + np.float32(noise) * NOISE, None)
        return {"place": name, "kind": kind, "outputs": {"y": accumulator.result().as_json()}}


def found(action, tmp_path, **given):
    result = perform_search(Evaluations(action, tmp_path, **given), Unheard(), {})
    return json.loads(result.files["precision.json"].read_text())


TIGHT = [{"output": "*", "metric": "cosine", "min": 0.9945}]


def test_a_threshold_at_a_corner_keeps_what_the_budget_alone_would_not(tmp_path):
    assert found(action(corners=True), tmp_path)["keep"] == {}
    assert found(action(corners=False, thresholds=TIGHT), tmp_path)["keep"] == {}
    assert list(found(action(corners=True, thresholds=TIGHT), tmp_path)["keep"]) == ["fp32"]


def test_a_limit_that_nothing_keeps_is_named_with_its_value_before_anything_is_built(tmp_path):
    with pytest.raises(StepFailed) as caught:
        found(action(corners=True, thresholds=TIGHT), tmp_path, floor=0.3)

    (problem,) = caught.value.problems
    assert problem.path == ("validate", "thresholds")
    assert problem.fact == (
        "no types of fp16 and fp32 that were tried satisfy the thresholds, beside the budget: cosine at least 0.99"
    )
    assert "the best reached is cosine 1, with precision fp32: output 'y' has cosine 0.96" in problem.details
    assert "must be at least 0.9945 (profile 0 max)" in problem.details
    assert "with every node in fp32, so it is not the types" in problem.details


def test_a_budget_that_nothing_keeps_is_told_where_it_stands(tmp_path):
    wide = action(corners=True, thresholds=[{"output": "*", "metric": "cosine", "min": 0.5}])

    class Hopeless(Evaluations):
        def _place(self, name, kind, noise):
            return super()._place(name, kind, noise + 0.3)

    with pytest.raises(StepFailed) as caught:
        perform_search(Hopeless(wide, tmp_path), Unheard(), {})

    assert caught.value.problems[0].path == ("variants", "a", "budget")
    assert "satisfy the budget: cosine at least 0.99" in caught.value.problems[0].fact


def test_a_choice_of_the_lockfile_counts_for_its_own_thresholds_only(tmp_path):
    asked, other = action(corners=True, thresholds=TIGHT), action(corners=True)
    entry = {"precision": "fp16", "base": None, "keep": {}, "reached": "cosine 0.999"}
    locked = {recipe_of(other.fingerprint.record()): entry}

    taken = perform_search(Evaluations(other, tmp_path), Unheard(), locked)
    searched = perform_search(Evaluations(asked, tmp_path), Unheard(), locked)

    assert (taken.summary["from"], searched.summary["from"]) == ("the lockfile", "a search")
    assert asked.key != other.key


def test_what_a_search_must_keep_survives_its_record():
    options = SearchOptions.from_record(action(corners=True, thresholds=TIGHT).fingerprint.options)

    assert list(options.thresholds) == TIGHT
    assert "thresholds" not in action(corners=True).fingerprint.options
