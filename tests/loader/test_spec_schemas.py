"""The JSON Schemas describe the spec language as the loader reads it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.loader.spec_corpus import HEAD, REFUSED, TAKEN, TARGETS
from tests.loader.spec_workspace import KNOWN, Workspace
from tests.schemas import whole_schema
from trtpipe.loader import schema
from trtpipe.loader.examples import EXAMPLES
from trtpipe.loader.grammar import keys_of
from trtpipe.loader.project import CALIBRATION, PIPELINES, PROJECT_FILE
from trtpipe.loader.schema import (
    bundle_schema,
    dataset_schema,
    field_docs,
    fleet_schema,
    pipeline_schema,
    project_schema,
)
from trtpipe.loader.yaml_reader import document_from_text, read_document
from trtpipe.spec import bundle, dataset, fleet, packaging, pipeline, project
from trtpipe.spec.fields import SpecModel

ROOT = Path(__file__).parents[2]
SCHEMAS = ("pipeline", "bundle", "dataset", "project", "fleet")
MODELS = [
    one
    for module in (pipeline, bundle, packaging, dataset, project, fleet)
    for one in vars(module).values()
    if isinstance(one, type) and issubclass(one, SpecModel) and one.__module__ == module.__name__
]


@cache
def schema_of(name: str) -> dict[str, Any]:
    make = {
        "pipeline": lambda: pipeline_schema(KNOWN),
        "bundle": bundle_schema,
        "dataset": dataset_schema,
        "project": project_schema,
        "fleet": fleet_schema,
    }
    return make[name]()


def accepts(schema: str, text: str) -> bool:
    return Draft202012Validator(schema_of(schema)).is_valid(document_from_text(text, "f.yaml").data)


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_is_a_schema_of_its_dialect_with_an_identity(name: str) -> None:
    schema = schema_of(name)

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:trtpipe:schema:{name}:1"
    assert schema["title"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_takes_its_own_example(name: str) -> None:
    validator = Draft202012Validator(schema_of(name))

    assert [list(validator.iter_errors(example)) for example in schema_of(name)["examples"]] == [[]]


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_property_is_described_and_every_mapping_closed(name: str) -> None:
    schema = schema_of(name)
    mappings = [one for one in [schema, *schema["$defs"].values()] if "properties" in one]

    undescribed = [
        (mapping["title"], key)
        for mapping in mappings
        for key, value in mapping["properties"].items()
        if not value.get("description")
    ]

    assert undescribed == []
    assert {mapping["additionalProperties"] for mapping in mappings} == {False}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_has_a_docstring_that_is_its_description(model: type[SpecModel]) -> None:
    assert list(field_docs(model)) == list(model.model_fields)


def test_a_module_is_parsed_once_for_the_docstrings_of_all_its_models(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[str] = []
    parse = schema.ast.parse
    monkeypatch.setattr(schema.ast, "parse", lambda source: parsed.append(source) or parse(source))
    schema._docs_in_module.cache_clear()

    whole_schema.__wrapped__()

    assert len(parsed) == len(set(parsed)) > 5


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_examples_name_real_keys_and_cover_the_needed_ones(model: type[SpecModel]) -> None:
    needed = {info.alias or name for name, info in model.model_fields.items() if info.is_required()}

    assert needed <= set(EXAMPLES[model.__name__]) <= set(keys_of(model))


@pytest.mark.parametrize("lines", TAKEN.values(), ids=TAKEN)
def test_what_the_loader_takes_the_schema_takes(workspace: Workspace, lines: str) -> None:
    workspace.write("calibration/digits.yaml", "schema: 1\n")
    text = HEAD + TARGETS + lines

    assert workspace.load(text).spec.pipeline == "net"
    assert accepts("pipeline", text)


@pytest.mark.parametrize("lines", [lines for lines, _ in REFUSED.values()], ids=REFUSED)
def test_what_the_loader_refuses_the_schema_refuses(lines: str) -> None:
    assert not accepts("pipeline", HEAD + TARGETS + lines)


@pytest.mark.parametrize("key", ["schema", "pipeline", "model"])
def test_needed_keys_are_needed(key: str) -> None:
    lines = [line for line in (HEAD + TARGETS).splitlines() if not line.startswith(key)]

    assert not accepts("pipeline", "\n".join(lines))


def test_targets_may_be_left_to_the_project() -> None:
    assert accepts("pipeline", HEAD)
    assert accepts("pipeline", HEAD + "targets:\n  ada:\n  l4: {gpu: [sm86, 8.9]}\n")
    assert not accepts("project", "schema: 1\ntargets:\n  ada:\n")


def test_names_of_plug_ins_are_listed() -> None:
    models = schema_of("pipeline")["$defs"]

    assert models["ModelSpec"]["properties"]["parser"]["enum"] == ["onnx"]
    assert models["VariantSpec"]["properties"]["precision"]["enum"] == ["fp32", "fp16", "bf16", "auto"]


@pytest.mark.parametrize(
    ("schema", "text", "taken"),
    [
        ("dataset", "schema: 1\nnpz: a.npz\n", True),
        ("dataset", "schema: 1\nnpz: a.npz\nnpy: {x: a.npy}\n", True),
        ("dataset", "schema: 1\nnpz: a.npz\nrandom: {shapes: {x: 1}}\n", False),
        ("dataset", "schema: 1\nimages: photos\n", True),
        ("dataset", "schema: 1\nimages: [a/*.png, b.jpg]\nlabels: a.csv\n", True),
        ("dataset", "schema: 1\nimages: {left: photos/left, right: [photos/right]}\n", True),
        ("dataset", "schema: 1\nimages: a\ninputs: {x: {resize: 224, center_crop: 200x100}}\n", True),
        ("dataset", "schema: 1\nimages: a\ninputs: {x: {resize: {size: 224, mode: crop}}}\n", False),
        ("dataset", "schema: 1\nimages: a\ninputs: {x: {pad_value: 256}}\n", False),
        ("dataset", "schema: 1\nimages: a\ninputs: {x: {colour: grey}}\n", False),
        ("dataset", "schema: 1\n", False),
        ("dataset", "schema: 1\nrandom: {shapes: {x: 1x3}}\ninputs: {x: {mean: 0.5, std: [1, 2]}}\n", True),
        ("dataset", "schema: 1\nrandom: {shapes: {x: -1x3}}\n", False),
        ("dataset", "schema: 1\nnpz: a.npz\ninputs: {x: {layout: hwc}}\n", False),
        ("project", "schema: 1\n", True),
        ("project", "schema: 1\nreach: [/data]\nbuilder: {workspace: 1GB}\nstore: {path: /x}\n", True),
        ("project", "schema: 1\nreach: /data\n", False),
        ("project", "schema: 1\npipelines: {}\n", False),
        ("fleet", "schema: 1\nscheduler: {address: desk}\nhosts: {gpu1: {}}\n", True),
        (
            "fleet",
            "schema: 1\nhosts: {gpu1: {command: [docker, run, -i, agent], gpus: [], env: [TOKEN]}}\n",
            True,
        ),
        ("fleet", "schema: 1\nhosts: {}\n", False),
        ("fleet", "schema: 1\nhosts: {gpu1: {port: 0}}\n", False),
        ("fleet", "schema: 1\nhosts: {gpu1: {password: x}}\n", False),
    ],
)
def test_data_sets_and_projects_are_judged_as_the_models_judge(schema: str, text: str, taken: bool) -> None:
    models = {"dataset": dataset.DatasetSpec, "project": project.ProjectSpec, "fleet": fleet.FleetSpec}
    model: Any = models[schema]

    assert accepts(schema, text) is taken
    if taken:
        model.model_validate(document_from_text(text, "f.yaml").data)
    else:
        with pytest.raises(ValueError, match="validation error"):
            model.model_validate(document_from_text(text, "f.yaml").data)


@pytest.mark.parametrize(("directory", "schema"), [(PIPELINES, "pipeline"), (CALIBRATION, "dataset")])
def test_the_projects_own_files_are_taken(directory: str, schema: str) -> None:
    files = sorted((ROOT / directory).glob("*.y*ml"))
    if not files:
        pytest.skip(f"{directory}/ holds no files")
    whole = whole_schema() if schema == "pipeline" else schema_of(schema)
    validator = Draft202012Validator(whole)

    for file in files:
        errors = [error.message for error in validator.iter_errors(read_document(file).data)]
        assert (file.name, errors) == (file.name, [])


def test_the_projects_own_defaults_are_taken() -> None:
    file = ROOT / PROJECT_FILE
    if not file.exists():
        pytest.skip(f"this project has no {PROJECT_FILE}")

    assert Draft202012Validator(schema_of("project")).is_valid(read_document(file).data)


def test_patterns_mean_the_same_in_every_dialect_of_regular_expressions() -> None:
    patterns = re.findall(r"'pattern': '([^']*)'", str([schema_of(name) for name in SCHEMAS]))

    assert patterns
    assert [one for one in patterns if not re.fullmatch(r"\^.*\$", one)] == []
