"""Loads a YAML file that holds one spec: reads and validates it, and reports all its problems at once."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from trtpipe.loader.marks import Document
from trtpipe.loader.refusals import stop_at, validated
from trtpipe.loader.yaml_reader import read_document

M = TypeVar("M", bound=BaseModel)


def whole_file(model: type[M], path: Path) -> tuple[M, Document]:
    """The file as an instance of `model`, and the places of its values. Raises SpecError with all its problems."""
    document = read_document(path)
    problems = list(document.problems)
    spec = None
    if document.complete:
        spec, refused = validated(model, document, document.data)
        problems += refused
    stop_at(problems)
    assert spec is not None, "a spec without problems is valid"
    return spec, document
