"""How far a cell is verified and what is known of its network, as records read from an untrusted manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trtpipe.metrics.reach import PARTS
from trtpipe.reports.part_models import (
    Link,
    LinkOutcome,
    Network,
    NetworkOutput,
    NetworkWarning,
    WarningKind,
)
from trtpipe.reports.values import (
    count_of,
    mapping_of,
    number_of,
    objects_of,
    reading_of,
    text_of,
    texts_of,
)
from trtpipe.reports.words import NONE

_MOST = 200


def reach_of(value: object) -> tuple[Link, ...]:
    """The links of a manifest's `reach`; unexpected entries are left out."""
    return tuple(
        Link(part=part, outcome=_outcome(one.get("outcome")), why=text_of(one.get("why")))
        for one in objects_of(value, len(PARTS))
        if (part := text_of(one.get("part"))) in PARTS
    )


def _outcome(value: object) -> LinkOutcome:
    """The outcome of a link; unknown texts count as not proved."""
    match value:
        case "proved" | "failed":
            return value
    return "not proved"


def network_of(value: object) -> Network | None:
    """A manifest's facts about the network that TensorRT's parser created."""
    found = mapping_of(value)
    if not found:
        return None
    unread = {text_of(name): count_of(one) for name, one in mapping_of(found.get("unread_by_type")).items()}
    return Network(
        outcome=_outcome(found.get("outcome")),
        why=text_of(found.get("why")),
        layers=count_of(found.get("layers")),
        layers_read=count_of(found.get("layers_read")),
        unread_by_type={name: count for name, count in unread.items() if count is not None},
        warnings=tuple(_warning(one) for one in objects_of(found.get("warnings"), _MOST)),
        outputs=tuple(_output(one) for one in objects_of(found.get("outputs"), _MOST)),
        notes=texts_of(found.get("notes"), _MOST),
    )


def _warning(one: Mapping[str, object]) -> NetworkWarning:
    kind: WarningKind = "unknown"
    match one.get("kind"):
        case "harmless" | "dangerous" as known:
            kind = known
    return NetworkWarning(
        message=text_of(one.get("message")),
        name=text_of(one.get("name")),
        kind=kind,
        count=count_of(one.get("count")),
        accepted=one.get("accepted") is True,
    )


def _output(one: Mapping[str, object]) -> NetworkOutput:
    return NetworkOutput(
        output=text_of(one.get("output")),
        place=text_of(one.get("place")),
        error=reading_of(one.get("error")),
        bound=number_of(one.get("bound")),
        by_thresholds=one.get("by_thresholds") is True,
        departs=one.get("departs") is True,
    )


def with_network(reaches: Iterable[Sequence[Link]]) -> int:
    """How many cells are proved to compute in TensorRT's network what their typed models do."""
    return sum(
        any(link.part == "network" and link.outcome == "proved" for link in reach) for reach in reaches
    )


def proved_words(reach: Sequence[Link]) -> str:
    """The last part to which every link before it is proved: `network`, or `nothing`."""
    if not reach:
        return NONE
    proved = "nothing"
    for link in reach:
        if link.outcome != "proved":
            break
        proved = link.part
    return proved
