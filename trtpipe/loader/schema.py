"""JSON Schemas (draft 2020-12) of the spec language, for editors and for other programs.

An editor with a YAML language server completes and checks a spec whose first line names the schema's file:

    # yaml-language-server: $schema=../pipeline.schema.json

Generated from the models and their docstrings, so a new field is described automatically. A schema checks form only:
what depends on other files or other parts of the spec is checked when the spec is loaded.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from trtpipe.loader.examples import EXAMPLES
from trtpipe.loader.grammar import KnownNames, examples_of, models_in
from trtpipe.spec.budget import AUTO
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.spec.fleet import FleetSpec
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.project import ProjectSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OPTIONAL_IN_PIPELINES = "targets"
_CONSTANT = {
    "title": "Constant",
    "description": "A number, a boolean or a (nested) list of them.",
    "type": ["number", "boolean", "array"],
    "items": {"$ref": "#/$defs/Constant"},
}


def pipeline_schema(known: KnownNames) -> dict[str, Any]:
    """The JSON Schema of a pipeline file, with the names of parsers and precisions that are known here."""
    schema = _schema_of(PipelineSpec, "pipeline", "Pipeline: a model, its variants, its targets, its checks")
    properties = schema["properties"]
    schema["required"].remove(_OPTIONAL_IN_PIPELINES)
    shared = {"type": "null", "description": "the target of this name in trtpipe.yaml"}
    patterns = properties["targets"]["patternProperties"]
    for name, target in patterns.items():
        patterns[name] = {"anyOf": [target, shared]}
    models = schema["$defs"]
    models["Constant"] = _CONSTANT
    models["TransformSpec"]["properties"]["bind"]["additionalProperties"] = {"$ref": "#/$defs/Constant"}
    _add_parsers(models, known)
    _add_graft(models)
    _add_package(schema)
    variant = models["VariantSpec"]["properties"]
    variant["precision"]["enum"] = [*known.precisions, AUTO]
    variant["try"]["items"] = {"enum": list(known.precisions)}
    models["CalibrationSpec"]["properties"]["backend"]["enum"] = list(known.calibrators)
    variant["keep"]["propertyNames"] = {"enum": list(known.precisions)}
    return schema


def _add_parsers(models: dict[str, Any], known: KnownNames) -> None:
    """Each parser's own options, and whether it needs a source: selected by `parser`, which defaults to onnx."""
    model = models["ModelSpec"]
    model["properties"]["parser"]["enum"] = list(known.parsers)
    default = model["properties"]["parser"]["default"]
    model["allOf"] = []
    for name in known.parsers:
        parser = known.parser(name)
        options = parser.options.model_json_schema(ref_template=f"#/$defs/{name}/$defs/{{model}}")
        models[name] = _described(options, parser.options)
        chosen: dict[str, Any] = {"properties": {"parser": {"const": name}}}
        if name != default:
            chosen["required"] = ["parser"]
        wanted: dict[str, Any] = {"properties": {"options": {"$ref": f"#/$defs/{name}"}}}
        wanted |= (
            {"required": ["source"]}
            if parser.needs_source
            else {"properties": {**wanted["properties"], "source": {"type": "null"}}}
        )
        if models[name].get("required"):
            wanted["required"] = [*wanted.get("required", ()), "options"]
        model["allOf"].append({"if": chosen, "then": wanted})


def _add_graft(models: dict[str, Any]) -> None:
    from trtpipe.spec.network.network import GraftSpec

    graft = GraftSpec.model_json_schema(ref_template="#/$defs/graft/$defs/{model}")
    models["graft"] = _described(graft, GraftSpec)
    field = models["TransformSpec"]["properties"]["graft"]
    field["anyOf"] = [{"$ref": "#/$defs/graft"}, {"type": "null"}]


def _add_package(schema: dict[str, Any]) -> None:
    from trtpipe.spec.packaging import PackageSpec

    package = PackageSpec.model_json_schema(ref_template="#/$defs/{model}")
    schema["$defs"] |= package.pop("$defs")
    described = _described({**package, "$defs": schema["$defs"]}, PackageSpec)
    schema["$defs"]["PackageSpec"] = {name: one for name, one in described.items() if name != "$defs"}
    schema["properties"]["package"]["anyOf"] = [{"$ref": "#/$defs/PackageSpec"}, {"type": "null"}]


def bundle_schema() -> dict[str, Any]:
    """The JSON Schema of a bundle file."""
    from trtpipe.spec.bundle import BundleSpec

    return _schema_of(
        BundleSpec, "bundle", "Bundle: models that are checked, built, locked and shipped as one"
    )


def dataset_schema() -> dict[str, Any]:
    """The JSON Schema of a data set file."""
    return _schema_of(DatasetSpec, "dataset", "Data set: where samples are and how they become inputs")


def project_schema() -> dict[str, Any]:
    """The JSON Schema of `trtpipe.yaml`."""
    return _schema_of(ProjectSpec, "project", "Project: what a project's pipelines share")


def fleet_schema() -> dict[str, Any]:
    """The JSON Schema of `fleet.yaml`."""
    return _schema_of(FleetSpec, "fleet", "Fleet: the machines that `trtpipe fleet start` starts agents on")


def _schema_of(model: type[BaseModel], name: str, title: str) -> dict[str, Any]:
    schema = _described(model.model_json_schema(), model)
    head = {"$schema": DIALECT, "$id": f"urn:trtpipe:schema:{name}:1", "title": title}
    whole = _whole_example(model)
    return head | {key: value for key, value in schema.items() if key != "title"} | {"examples": [whole]}


def _described(schema: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema, changed in place: every field's docstring and example in it."""
    for one in _models_in(model):
        part = schema if one is model else schema.get("$defs", {}).get(one.__name__)
        if part is not None:
            _describe(part, one)
    for part in _parts(schema):
        if "patternProperties" in part:
            part["additionalProperties"] = False
    return schema


def _whole_example(model: type[BaseModel]) -> dict[str, Any]:
    example = EXAMPLES[model.__name__]
    alternatives = (
        ("npy", "safetensors", "parquet", "python", "files", "random") if model is DatasetSpec else ()
    )
    return {key: value for key, value in example.items() if key not in alternatives}


def _models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and all models that it holds, each once."""
    found: dict[type[BaseModel], None] = {}
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            waiting += [inner for info in one.model_fields.values() for inner in models_in(info.annotation)]
    yield from found


def _describe(part: dict[str, Any], model: type[BaseModel]) -> None:
    """Give each property of a mapping its docstring and its example."""
    docs = field_docs(model)
    examples = examples_of(model)
    for name, info in model.model_fields.items():
        key = info.alias or name
        described = part["properties"][key]
        if name in docs:
            described["description"] = docs[name]
        if key in examples:
            described["examples"] = [examples[key]]


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Field → the docstring that follows it in the source, its own or an ancestor's, in the fields' order.

    Empty where the source is not installed.
    """
    docs: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one.__module__.startswith("trtpipe."):
            docs |= _docs_in_module(one.__module__).get(one.__qualname__, {})
    return {name: docs[name] for name in model.model_fields if name in docs}


@cache
def _docs_in_module(name: str) -> dict[str, dict[str, str]]:
    """The fields' docstrings of a module's classes; the module is parsed once for all of them."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError, KeyError):
        return {}
    return {one.name: dict(_documented(one.body)) for one in tree.body if isinstance(one, ast.ClassDef)}


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, doc in pairwise(body):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            yield field.target.id, inspect.cleandoc(str(doc.value.value))


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    """Every mapping within a schema."""
    if isinstance(schema, dict):
        yield schema
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in inner:
        yield from _parts(part)
