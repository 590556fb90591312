"""Whatever a file holds, the loader answers with a spec or with placed problems in the project's own words."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from tests.loader.spec_workspace import KNOWN, Workspace
from trtpipe.errors import Problem, SpecError
from trtpipe.frontends.onnx import OnnxOptions
from trtpipe.loader.project import find_project
from trtpipe.loader.schema import pipeline_schema
from trtpipe.loader.specs import load_pipeline
from trtpipe.loader.yaml_reader import document_from_text, read_document
from trtpipe.spec.pipeline import PipelineSpec

SPEC: dict[str, Any] = {
    "schema": 1,
    "pipeline": "net",
    "model": {"source": "models/net.onnx", "sha256": "ab" * 32, "parser": "onnx", "options": {}},
    "transform": {"bind": {"sr": 1}, "outputs": ["a"], "set_shapes": {"x": "-1x3"}, "simplify": True},
    "variants": {"fp16": {"precision": "fp16", "keep": {"fp32": ["/a/*"]}, "min_low_precision": 0.5}},
    "profiles": [
        {"x": {"min": "1x3", "opt": [2, 3], "max": "4x3"}, "y": "1x3"},
        {"n": {"values": {"min": 1, "opt": [1], "max": 2}}},
    ],
    "targets": {"ada": {"gpu": ["sm86", 8.9], "toolchain": "rtx", "version_compatible": False}},
    "toolchains": {"rtx": {"flavour": "tensorrt_rtx", "version": "1.7.*"}},
    "builder": {"optimization_level": 3, "workspace": "2GiB", "tf32": False, "time_limit": 60},
    "plugins": [{"library": "models/net.onnx"}],
    "validate": {
        "random": {"seed": 0},
        "reference": {"golden": "models/net.onnx"},
        "thresholds": [{"metric": "cosine", "min": 0.9}],
    },
}

YAML_PIECES = [
    *"ab1.0:-,[]{}'\"#&*!|>%@?~<= \n\t\\\0\x85\u2028é",
    "  ",
    "\n- ",
    ": ",
    "- ",
    "\n  ",
    "a: ",
    "*a",
    "&a ",
]
YAML_TEXT = st.lists(st.sampled_from(YAML_PIECES), max_size=40).map("".join)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0.5, -2.5, 8.9, 1e-300])
    | st.sampled_from(
        ["", "fp32", "1x3", "-1x3", "2GiB", "yes", "nan", "1.7", "a b", "/x", "pkg://a/b", "x://y", "\0", "*"]
    )
    | st.text(max_size=8)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
OTHER_READER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
UNHURRIED = settings(max_examples=200, suppress_health_check=list(HealthCheck))


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(inner for key, one in items for inner in paths(one, (*path, key)))]


@st.composite
def mutated_specs(draw: st.DrawFn) -> dict[str, Any]:
    """A right spec with up to three of its values replaced, removed or joined by another key."""
    spec = copy.deepcopy(SPEC)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(spec)[1:] or [("schema",)]))
        holder: Any = spec
        for step in path[:-1]:
            holder = holder[step]
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "replace":
            holder[path[-1]] = draw(VALUES)
        elif kind == "remove":
            holder.pop(path[-1], None) if isinstance(holder, dict) else holder.pop(path[-1])
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(VALUES)
    return spec


def assert_wording(problem: Problem) -> None:
    shown = str(problem)
    assert problem.severity == "note" or problem.where is not None, shown
    assert not problem.fact.endswith("."), shown
    assert problem.fact[:1] == problem.fact[:1].lower(), shown
    assert len(problem.fact) <= 400, shown
    for jargon in (
        "pydantic",
        "Input should",
        "validation error",
        "Value error",
        "literal[",
        "is not valid: ",
    ):
        assert jargon not in shown, shown
    shown.encode()


def assert_placed(act: Any) -> None:
    try:
        act()
    except SpecError as error:
        for problem in error.problems:
            assert_wording(problem)


@UNHURRIED
@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_document_or_placed_problems(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)

    assert_placed(lambda: read_document(path))


@UNHURRIED
@given(text=YAML_TEXT)
def test_any_text_gives_a_document_or_placed_problems(text: str) -> None:
    assert_placed(lambda: document_from_text(text, "f.yaml"))


@UNHURRIED
@given(text=YAML_TEXT)
def test_what_is_taken_is_what_other_readers_of_yaml_see(text: str) -> None:
    try:
        document = document_from_text(text, "f.yaml")
    except SpecError:
        return
    if not document.problems:
        assert shape_of(document.data) == shape_of(yaml.load(text, Loader=OTHER_READER))


def shape_of(value: Any) -> Any:
    """The structure without the types of scalars."""
    if isinstance(value, dict):
        return {key: shape_of(one) for key, one in value.items()}
    return [shape_of(one) for one in value] if isinstance(value, list) else None


@UNHURRIED
@given(spec=mutated_specs())
def test_any_spec_gives_a_pipeline_or_placed_problems(workspace: Workspace, spec: dict[str, Any]) -> None:
    path = workspace.root / "net.yaml"
    path.write_text(yaml.safe_dump(spec, allow_unicode=True, sort_keys=False), encoding="utf-8")

    assert_placed(lambda: load_pipeline(path, find_project(path), KNOWN))


@cache
def schema() -> Draft202012Validator:
    return Draft202012Validator(pipeline_schema(KNOWN))


@UNHURRIED
@given(spec=mutated_specs())
def test_the_schema_and_the_models_judge_alike(spec: dict[str, Any]) -> None:
    try:
        model = PipelineSpec.model_validate(spec).model
        OnnxOptions.model_validate(model.options)
        taken = model.source is not None
    except ValidationError:
        taken = False

    assert schema().is_valid(spec) == taken or _beyond_form(spec), spec


def _beyond_form(spec: dict[str, Any]) -> bool:
    """What the two may judge differently: names of plug-ins, targets of the project, and nulls.

    And whole numbers written as fractions, which JSON Schema takes for integers: none are drawn.
    """
    text = yaml.safe_dump(spec)
    return "null" in text or "targets" not in spec or _unknown_names(spec)


def _unknown_names(spec: dict[str, Any]) -> bool:
    model, variants = spec.get("model"), spec.get("variants")
    names = [one for one in variants.values() if isinstance(one, dict)] if isinstance(variants, dict) else []
    precisions = [one.get("precision", "fp32") for one in names]
    keeps = [key for one in names if isinstance(one.get("keep"), dict) for key in one["keep"]]
    parser = model.get("parser", "onnx") if isinstance(model, dict) else "onnx"
    return parser not in KNOWN.parsers or any(name not in KNOWN.precisions for name in [*precisions, *keeps])
