"""`trtpipe schema`: the schema of a spec, for its editor."""

from __future__ import annotations

from trtpipe.cli.output import EXIT_DONE, say_json
from trtpipe.errors import SpecError
from trtpipe.loader.schema import bundle_schema, dataset_schema, fleet_schema, pipeline_schema, project_schema
from trtpipe.problem_codes import Code
from trtpipe.workspace.known_names import known_names


def schema_command(kind: str) -> int:
    """Print a JSON Schema."""
    match kind:
        case "pipeline":
            say_json(pipeline_schema(known_names()))
        case "bundle":
            say_json(bundle_schema())
        case "dataset":
            say_json(dataset_schema())
        case "project":
            say_json(project_schema())
        case "fleet":
            say_json(fleet_schema())
        case "report":
            from trtpipe.reports.schema import report_schema

            say_json(report_schema())
        case _:
            raise SpecError(
                Code.UNKNOWN_VALUE,
                f"unknown schema {kind!r}",
                "the schemas are pipeline, bundle, dataset, project, fleet and report",
            )
    return EXIT_DONE
