"""The plot of a search: what it shows, that equal points give equal bytes, and that it may be missing."""

from __future__ import annotations

import importlib.util
from xml.etree import ElementTree

from trtpipe.delivery.search_plot import pareto_svg


def point(cost, noise, inside, precision="int8", **kept):
    return {"cost": cost, "noise": noise, "inside": inside, "precision": precision, "kept": kept}


POINTS = [
    point(0.25, 0.9, False),
    point(0.32, 9e-5, True, fp16=1),
    point(0.4, 2e-4, True, fp16=2),
    point(1.0, 0.0, True, "fp32"),
    point(0.2, None, False, "int4"),
]
SEARCH = {"points": POINTS, "front": [POINTS[0], POINTS[1], POINTS[3]], "cost": 0.32}


def texts_of(svg):
    return {element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def test_it_names_the_front_and_shows_what_was_taken():
    texts = texts_of(pareto_svg(SEARCH))

    assert {"int8", "int8 +1", "fp32", "within the limits", "outside", "taken"} <= texts
    assert "int4" not in texts and "int8 +2" not in texts


def test_equal_points_give_equal_bytes():
    assert pareto_svg(SEARCH) == pareto_svg(SEARCH)


def test_nothing_finite_is_nothing_to_draw():
    assert pareto_svg({**SEARCH, "points": POINTS[-1:], "front": []}) is None


def test_without_matplotlib_there_is_none(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    assert pareto_svg(SEARCH) is None
