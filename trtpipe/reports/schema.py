"""The JSON Schema (draft 2020-12) of `report.json`, for the programs that read it: generated from the records."""

from __future__ import annotations

from trtpipe.json_values import Json
from trtpipe.reports.json_types import Definitions
from trtpipe.reports.models import BuildReport, CellReport


def report_schema() -> dict[str, Json]:
    """The schema of both kinds of report: a whole build's, and a cell's."""
    definitions: Definitions = {}
    kinds = [kind.json_type().schema(definitions) for kind in (BuildReport, CellReport)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of trtpipe: a whole build (build/report.json) or a cell (beside its engine)",
        "oneOf": kinds,
        "$defs": definitions,
    }
