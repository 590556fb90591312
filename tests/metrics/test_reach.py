"""How far a cell is proved: the links up to the typed model, and the words for a whole chain."""

from __future__ import annotations

import pytest

from trtpipe.json_values import Malformed
from trtpipe.metrics.reach import PARTS, Link, source_links, words_of
from trtpipe.spec.pipeline import PipelineSpec

PLAIN = {
    "schema": 1,
    "pipeline": "p",
    "model": {"source": "net.onnx"},
    "variants": {"a": {"precision": "fp16"}, "b": {}},
    "targets": {"ada": {"gpu": "rtx4090"}},
}


def links(outcome: str, validate: object = None, **spec: object) -> list[tuple[str, str, str]]:
    asked = {} if validate is None else {"validate": validate}
    parsed = PipelineSpec.model_validate({**PLAIN, **spec, **asked})
    return [(one.part, one.outcome, one.why) for one in source_links(parsed, "a", outcome)]


def test_a_validation_that_passes_proves_import_and_types():
    assert links("passed", {"random": {}}) == [("canonical", "proved", ""), ("typed", "proved", "")]


@pytest.mark.parametrize(
    ("spec", "reference", "why"),
    [
        ({}, {"variant": "b"}, "the reference is variant 'b', not the source"),
        (
            {"model": {"parser": "caffe", "source": "net.prototxt"}},
            "onnxruntime",
            "the reference is the imported model: ONNX Runtime cannot run a source of parser 'caffe'",
        ),
    ],
    ids=["another variant", "another format"],
)
def test_a_reference_that_is_not_the_source_proves_the_types_alone(spec, reference, why):
    found = links("passed", {"random": {}, "reference": reference}, **spec)

    assert found == [("canonical", "not proved", why), ("typed", "proved", "")]


def test_recorded_outputs_prove_the_import_of_any_format():
    found = links(
        "passed",
        {"data": "d", "reference": {"golden": "out.npz"}},
        model={"parser": "caffe", "source": "net.prototxt"},
    )

    assert [outcome for _, outcome, _ in found] == ["proved", "proved"]


def test_a_validation_that_fails_is_the_failure_of_the_types():
    assert links("failed", {"random": {}}) == [
        ("canonical", "not proved", "the validation failed"),
        ("typed", "failed", ""),
    ]


@pytest.mark.parametrize(
    ("validate", "why"),
    [(None, "the spec has no `validate`"), ({"random": {}}, "nothing was measured")],
)
def test_what_was_not_validated_says_why(validate, why):
    assert links("not_run", validate) == [("canonical", "not proved", why), ("typed", "not proved", why)]


def chain(typed: str, network: str, why: str = "") -> list[Link]:
    return [
        Link("canonical", "proved"),
        Link("typed", typed),  # type: ignore[arg-type]
        Link("network", network, why),  # type: ignore[arg-type]
        Link("engine", "not proved", "no GPU"),
    ]


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (chain("proved", "proved"), "validated on the CPU up to TensorRT's network"),
        (
            chain("proved", "not proved", "a layer was not read"),
            "validated on the CPU up to the typed model "
            "(TensorRT's network is not proved: a layer was not read)",
        ),
        (chain("not proved", "proved"), "not validated"),
        (chain("failed", "not proved"), "validation failed"),
        (chain("proved", "failed"), "validation failed"),
        (chain("not proved", "failed"), "validation failed"),
    ],
)
def test_a_chain_in_words(links, words):
    assert words_of(links) == words


@pytest.mark.parametrize("part", PARTS)
def test_a_link_survives_json(part):
    link = Link(part, "not proved", "why")

    assert Link.from_json(link.to_json()) == link
    assert (link.words(), Link(part, "proved").words()) == ("not proved: why", "proved")


@pytest.mark.parametrize("damage", [{"part": "source"}, {"outcome": "passed"}, {"why": None}])
def test_a_link_of_another_chain_is_refused(damage):
    with pytest.raises(Malformed):
        Link.from_json({**Link("typed", "proved").to_json(), **damage})
