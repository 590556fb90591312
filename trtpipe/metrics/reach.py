"""How far a cell has been verified along the chain source → canonical → typed → network → engine.

The chain is the same for every cell: a model is imported, its types are chosen, TensorRT's parser makes a network of
it, and an engine is built. Each link records whether its two sides were compared by running both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trtpipe.json_values import Json, JsonObject, Malformed, text_in
from trtpipe.spec.pipeline import PipelineSpec

Part: TypeAlias = Literal["canonical", "typed", "network", "engine"]
Outcome: TypeAlias = Literal["proved", "not proved", "failed"]

PARTS: Mapping[str, str] = {
    "canonical": "source to canonical ONNX",
    "typed": "canonical to typed ONNX",
    "network": "typed ONNX to TensorRT's network",
    "engine": "TensorRT's network to the engine on a GPU",
}
"""Each link in words, by what it leads to."""


@dataclass(frozen=True, slots=True)
class Link:
    """One step of the chain, named by its result."""

    part: Part
    outcome: Outcome
    why: str = ""
    """Why it is not proved, or on what it was; may be empty."""

    def to_json(self) -> dict[str, Json]:
        """Plain data for a manifest and a report."""
        return {"part": self.part, "outcome": self.outcome, "why": self.why}

    def words(self) -> str:
        """`proved`, or `not proved: why`."""
        return f"{self.outcome}: {self.why}" if self.why else self.outcome

    @classmethod
    def from_json(cls, record: JsonObject) -> Link:
        """The link read back. Raises Malformed."""
        part, outcome = text_in(record, "part"), text_in(record, "outcome")
        if part not in PARTS or outcome not in ("proved", "not proved", "failed"):
            raise Malformed(f"{part!r} is not part of the chain, or {outcome!r} no outcome")
        return cls(part, outcome, text_in(record, "why"))  # type: ignore[arg-type]


def words_of(links: Sequence[Link]) -> str:
    """`validated on the CPU up to TensorRT's network`, or how far else, and why not further."""
    by_part = {link.part: link for link in links}
    typed, network = by_part["typed"], by_part["network"]
    if typed.outcome == "failed" or network.outcome == "failed":
        return "validation failed"
    if typed.outcome != "proved":
        return "not validated"
    if network.outcome == "proved":
        return "validated on the CPU up to TensorRT's network"
    return f"validated on the CPU up to the typed model (TensorRT's network is not proved: {network.why})"


def source_links(spec: PipelineSpec, variant: str, outcome: str) -> Iterator[Link]:
    """The links up to the typed model, for a variant whose validation ended with `outcome`."""
    why = _outside_the_comparison(spec, variant)
    if outcome == "passed":
        yield Link("canonical", "not proved" if why else "proved", why)
        yield Link("typed", "proved")
        return
    said: Outcome = "failed" if outcome == "failed" else "not proved"
    lacking = "" if said == "failed" else _nothing_measured(spec)
    yield Link("canonical", "not proved", why or lacking or "the validation failed")
    yield Link("typed", said, lacking)


def _outside_the_comparison(spec: PipelineSpec, variant: str) -> str:
    """Why a passing typed model does not verify the import: the reference is not the source."""
    asked = spec.validate_
    if asked is None or asked.golden is not None:
        return ""
    other = asked.reference_of(variant)
    if other is not None:
        return f"the reference is variant '{other}', not the source"
    if spec.transform is not None and spec.transform.graft is not None:
        return "the reference is the grafted model: the source has no such layers"
    if spec.model.parser != "onnx":
        return f"the reference is the imported model: ONNX Runtime cannot run a source of parser '{spec.model.parser}'"
    return ""


def _nothing_measured(spec: PipelineSpec) -> str:
    return "the spec has no `validate`" if spec.validate_ is None else "nothing was measured"
