"""The section of a cell's page on how far it is verified, and on the network that TensorRT's parser created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtpipe.metrics.reach import PARTS
from trtpipe.reports.html import Content, code, el, status, table
from trtpipe.reports.part_models import Link, Network, NetworkOutput, NetworkWarning
from trtpipe.reports.words import NONE, number_words, plural, shortened

_MOST_ROWS = 200


def proof_part(reach: Sequence[Link], network: Network | None) -> Iterator[Content]:
    """The chain link by link, then the network: layers that were read, warnings, outputs with errors and bounds."""
    rows: list[list[Content]] = [
        [PARTS[link.part], status(link.outcome), shortened(link.why, 400) or NONE] for link in reach
    ]
    yield table(("from, to", "outcome", "why"), rows, caption="The chain of proofs")
    if network is None:
        yield el("p", "Nothing is recorded of the network that TensorRT's parser made.", class_="soft")
        return
    yield el("h3", "TensorRT's network")
    yield el("p", _layers(network))
    yield from (el("p", shortened(note, 400), class_="soft") for note in network.notes)
    if network.outputs:
        header = ("output", "on", "error", "allowed")
        outputs = [_output(one) for one in network.outputs[:_MOST_ROWS]]
        yield table(header, outputs, caption="Outputs beside the typed model's", numeric=(2, 3))
    if network.warnings:
        warnings = [_warning(one) for one in network.warnings[:_MOST_ROWS]]
        columns = ("warning", "kind", "times", "TensorRT says")
        yield table(columns, warnings, caption="Warnings of the parser", numeric=(2,))


def _layers(network: Network) -> str:
    if network.layers is None or network.layers_read is None:
        return "How many of its layers were read is not recorded."
    read = f"{network.layers_read} of {plural(network.layers, 'layer')} were read"
    unread = ", ".join(f"{shortened(name, 60)} {count}" for name, count in network.unread_by_type.items())
    return f"{read}; without a reader: {unread}." if unread else f"{read}."


def _output(one: NetworkOutput) -> list[Content]:
    allowed = "the spec's thresholds" if one.by_thresholds else number_words(one.bound, 3)
    return [code(shortened(one.output)), shortened(one.place, 60), number_words(one.error, 3), allowed]


def _warning(one: NetworkWarning) -> list[Content]:
    kind = f"{one.kind}, accepted" if one.accepted else one.kind
    return [
        code(shortened(one.name)) if one.name else NONE,
        kind,
        str(one.count),
        shortened(one.message, 400),
    ]
