"""`calibration: {cache: …}` in a spec: what may stand there, alike for the loader and for editors."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from tests.schemas import whole_schema
from trtpipe.calibration.caches.step_names import cache_name, cache_reading
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.variant import CalibrationSpec


@pytest.fixture(scope="module")
def schema():
    whole = whole_schema()
    return Draft202012Validator({"$defs": whole["$defs"], "$ref": "#/$defs/CalibrationSpec"})


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"data": "set"}, True),
        ({"data": "set", "samples": 4, "backend": "trtpipe"}, True),
        ({"cache": "a.cache"}, True),
        ({"cache": "a.cache", "format": "tensorrt", "min_coverage": 0.5, "rename": {"a": "b"}}, True),
        ({}, False),
        ({"data": "set", "cache": "a.cache"}, False),
        ({"cache": "a.cache", "samples": 4}, False),
        ({"cache": "a.cache", "backend": "trtpipe"}, False),
        ({"data": "set", "rename": {"a": "b"}}, False),
        ({"data": "set", "format": "auto"}, False),
        ({"cache": "a.cache", "min_coverage": 1.5}, False),
        ({"cache": "a.cache", "format": "caffe"}, False),
        ({"cache": "a.cache", "rename": {"a": 1}}, False),
    ],
)
def test_the_loader_and_the_schema_judge_alike(schema, given, right):
    if right:
        CalibrationSpec.model_validate(given)
        schema.validate(given)
    else:
        with pytest.raises(ValidationError):
            CalibrationSpec.model_validate(given)
        assert not schema.is_valid(given)


def _pipeline(**caches: dict[str, object]) -> PipelineSpec:
    variants = {name: {"precision": "int8", "calibration": given} for name, given in caches.items()}
    return PipelineSpec.model_validate(
        {"schema": 1, "pipeline": "net", "variants": variants, "model": {}, "targets": {"a": {"gpu": "sm89"}}}
    )


def test_steps_are_called_after_the_file_and_numbered_where_that_says_too_little():
    spec = _pipeline(
        a={"cache": "x/net.cache"},
        b={"cache": "y/net.cache"},
        c={"cache": "x/net.cache", "min_coverage": 0.5},
        d={"cache": "x/net.cache"},
        e={"cache": "odd name:1@2.cache"},
    )
    names = {
        name: cache_name(spec, one.calibration) for name, one in spec.variants.items() if one.calibration
    }

    assert names == {
        "a": "net.cache+cache",
        "b": "net.cache+cache+2",
        "c": "net.cache+cache+3",
        "d": "net.cache+cache",
        "e": "odd_name_1_2.cache+cache",
    }


def test_the_order_of_renamings_is_not_in_the_key():
    one, other = (
        {"cache": "a", "rename": dict(rules)}
        for rules in ([("a", "b"), ("c", "d")], [("c", "d"), ("a", "b")])
    )

    assert list(cache_reading(CalibrationSpec.model_validate(one)).rename) == ["a", "c"]
    assert cache_reading(CalibrationSpec.model_validate(one)) == cache_reading(
        CalibrationSpec.model_validate(other)
    )
