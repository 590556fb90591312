"""Rewrites the text of a pipeline that imports a model into one that declares the model layer by layer.

Everything else stays as it was written, comments included, except the model, its transform and, where given, the
variants. Independent of ONNX and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.loader.marks import Document
from trtpipe.loader.scalars import flow_yaml

_APPLIED = ("transform",)
"""Sections that are no longer needed: what they ask for has been done."""


@dataclass(frozen=True, slots=True)
class DeclaredModel:
    """A model as a spec declares it."""

    inputs: Mapping[str, Mapping[str, object]]
    layers: Iterable[Mapping[str, object]]
    outputs: Sequence[str]
    weights: str | None
    """The file's name in the spec."""
    origin: str = "the model as it was imported"
    """What was declared."""


def network_spec(
    document: Document,
    name: str,
    model: DeclaredModel,
    variants: Mapping[str, Mapping[str, object]] | None = None,
) -> str:
    """The text of the new pipeline; `variants` come in the place of those that are there."""
    sections = _sections(document)
    applied = [key for key in _APPLIED if key in sections]
    written = {
        "pipeline": [f"pipeline: {flow_yaml(name)}"],
        "model": list(_model(model, applied)),
    }
    if variants is not None:
        own = [f"  {flow_yaml(one)}: {flow_yaml(dict(given))}" for one, given in variants.items()]
        written["variants"] = ["variants:", *own]
    lines: list[str] = []
    for key, (own, trailing) in sections.items():
        if key in applied:
            lines = _without_its_comment(lines)
            while trailing and not trailing[0].strip() and lines and not lines[-1].strip():
                lines.pop()
        else:
            lines += written.get(key, own)
        lines += trailing
    return "\n".join(lines).rstrip("\n") + "\n"


def _without_its_comment(lines: list[str]) -> list[str]:
    """Lines without the comment at their end, which belongs to a section that is removed."""
    kept = len(lines)
    while kept and lines[kept - 1].startswith("#"):
        kept -= 1
    return lines[:kept]


def _model(model: DeclaredModel, applied: Sequence[str]) -> Iterator[str]:
    yield f"# Declared layer by layer from {model.origin}: edit it by hand."
    if applied:
        yield f"# What the section {' and '.join(applied)} specified has already been applied to it."
    yield from ("model:", "  parser: network", "  options:")
    if model.weights is not None:
        yield f"    weights: {flow_yaml(model.weights)}"
    yield "    inputs:"
    yield from (f"      {flow_yaml(name)}: {flow_yaml(one)}" for name, one in model.inputs.items())
    yield "    layers:"
    yield from (f"      - {flow_yaml(layer)}" for layer in model.layers)
    yield f"    outputs: {flow_yaml(model.outputs)}"


def _sections(document: Document) -> dict[str, tuple[list[str], list[str]]]:
    """Each top-level key with its lines and the blank and comment lines after it. The key '' has the lines before."""
    places, keys = document.places, document.places.keys
    if places.flow or any(mark.column != 0 for mark in keys.values()):
        return {key: ([f"{flow_yaml(key)}: {flow_yaml(value)}"], []) for key, value in document.data.items()}
    lines = document.source.text.splitlines()
    starts = sorted((mark.line, key) for key, mark in keys.items())
    ends = [line for line, _ in starts[1:]] + [len(lines)]
    found = {"": (lines[: starts[0][0]], list[str]())}
    for (begin, key), end in zip(starts, ends, strict=True):
        last = end
        while last > begin + 1 and _says_nothing(lines[last - 1]):
            last -= 1
        found[key] = (lines[begin:last], lines[last:end])
    return found


def _says_nothing(line: str) -> bool:
    return not line.strip() or line.startswith("#") or line.strip() == "..."
