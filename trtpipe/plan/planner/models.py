"""The steps that all variants of a pipeline share: fetch, import and transform. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.errors import SpecPath
from trtpipe.plan.address import address
from trtpipe.plan.graph import FromStep, Step
from trtpipe.plan.options import FetchOptions, ImportOptions
from trtpipe.plan.origins import PLUGIN, InSpec, Parts
from trtpipe.plan.planner.facts import MODEL_FILES, FetchFacts, ModelFacts, PipelineFacts
from trtpipe.plan.planner.spec_values import transform_options
from trtpipe.plan.requirements import NOTHING_REQUIRED, FetchRequirements, ImportRequirements
from trtpipe.spec.pipeline import PipelineSpec

_MODEL = InSpec(("model",))
_SOURCE = _MODEL.at("source")


def shared_steps(spec: PipelineSpec, facts: PipelineFacts) -> Iterator[Step]:
    """The first steps of every variant."""
    if facts.model.fetch is not None:
        yield fetch_step(spec.pipeline, facts.model.fetch)
    yield import_step(spec, facts.model)
    transform = transform_options(spec.transform)
    if transform.record():
        inputs = {"model": (FromStep(address("import", spec.pipeline), MODEL_FILES),), **facts.graft}
        yield Step(address("transform", spec.pipeline), transform, facts.tools["transform"], inputs)


def fetch_step(pipeline: str, fetch: FetchFacts) -> Step:
    """The step that fetches remote files. Its key holds addresses and pins, but no credentials."""
    options = FetchOptions(
        files={
            name: {**file.identity(), "sha256": file.sha256 or None} for name, file in fetch.files.items()
        },
        beside=fetch.beside,
        pins={name: pin.lower() for name, pin in sorted(fetch.pins.items())},
        origins={
            "files": Parts(_MODEL, {name: _fetched_from(path) for name, path in fetch.places.items()}),
            "beside": _MODEL.at("parser"),
            "pins": _MODEL.at("files"),
        },
    )
    asked = FetchRequirements(fetch.files, fetch.places)
    return Step(address("fetch", pipeline), options, {}, {}, asked)


def _fetched_from(path: SpecPath) -> Parts:
    """Where the spec names a remote file and its pin; the source's pin is next to the source."""
    named = InSpec(path)
    return Parts(named, {"sha256": _MODEL.at("sha256") if named == _SOURCE else named.at("sha256")})


def import_step(spec: PipelineSpec, model: ModelFacts) -> Step:
    """The step that makes the canonical model."""
    options = ImportOptions(
        parser=spec.model.parser,
        parser_version=model.parser_version,
        options=dict(model.options),
        directory=model.directory,
        origins={
            **_MODEL.each("parser", "options"),
            "parser_version": PLUGIN,
            "directory": _SOURCE,
        },
    )
    asked = ImportRequirements(model.file_names) if model.file_names else NOTHING_REQUIRED
    return Step(address("import", spec.pipeline), options, model.tools, model.inputs, asked)
