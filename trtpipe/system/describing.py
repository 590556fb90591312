"""The model of a pipeline, described: what `inspect` shows of a spec."""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.describing.inspect_pipeline import LayerLine, PipelineDescription, describe_pipeline
from trtpipe.errors import ModelError, SpecError
from trtpipe.loading.specs import LoadedPipeline
from trtpipe.system.importing import readable_model
from trtpipe.system.workspace import open_workspace


def describe_spec(spec: str) -> PipelineDescription:
    """The description of the pipeline in a file; its model is imported unless the store has it.

    Raises SpecError, and ModelError with places in the spec where they are known.
    """
    workspace = open_workspace([spec])
    (pipeline,) = workspace.pipelines
    try:
        layers = tuple(_layers(pipeline))
        with readable_model(pipeline, workspace.store, workspace.state) as proto:
            described = describe_pipeline(
                spec, pipeline.spec.pipeline, pipeline.spec.model.parser, proto, layers
            )
    except ModelError as error:
        raise SpecError([pipeline.locate(problem) for problem in error.problems]) from error
    workspace.state.save()
    return described


def _layers(pipeline: LoadedPipeline) -> Iterator[LayerLine]:
    """The declared layers, each with what it yields."""
    if pipeline.spec.model.parser != "network":
        return
    from trtpipe.layering.network import describe_layers, weight_files
    from trtpipe.spec.network.network import NetworkOptions

    options = pipeline.options
    assert isinstance(options, NetworkOptions), "the loader has read them"
    files = weight_files(pipeline.option_files())
    for one in describe_layers(options, files, root=pipeline.project.root):
        yield LayerLine(one.name, one.kind, one.outputs, one.parameters)
