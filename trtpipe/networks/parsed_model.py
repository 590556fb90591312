"""The outputs of the parse step: the network as an ONNX model, and a record of what can be checked without data.

The record says how much of the network was read, where it contradicts the typed model (`matches`) or itself, and
TensorRT's warnings. It is written for every network, including one with layers that have no reader, and one that could
not be read at all: then it gives the reason, and the ONNX model has no outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import external_entries, is_external, tensors_of
from trtpipe.files import write_whole
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.matches import misfits
from trtpipe.networks.reader import NETWORK, WEIGHTS, read_network_files
from trtpipe.networks.warnings import classed

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json
    from trtpipe.networks.lowering.result import Lowered
    from trtpipe.networks.network import ParsedNetwork


def keep_parsed(typed: onnx.ModelProto, folder: Path, out: Path) -> dict[str, Json]:
    """Reads the network in `folder`, writes it as ONNX to `out`, and returns the record. Raises ModelError."""
    network = read_network_files(folder / NETWORK, folder / WEIGHTS)
    lowered = onnx_of(network)
    write_whole(out, _beside(lowered.model).SerializeToString(deterministic=True))
    return record_of(typed, network, lowered)


def record_of(typed: onnx.ModelProto, network: ParsedNetwork, lowered: Lowered) -> dict[str, Json]:
    """The facts about a network that need no data, as plain JSON values."""
    return {
        "layers": lowered.layers,
        "layers_read": lowered.layers - len(lowered.unread),
        "unread": [asdict(one) for one in lowered.unread],
        "unread_by_type": dict(sorted(lowered.unread_by_type.items())),
        "cut": list(lowered.cut),
        "notes": list(lowered.notes),
        "misfits": [one.to_json() for one in misfits(typed, network)],
        "contradictions": list(lowered.contradictions),
        "warnings": [one.to_json() for one in classed(network.warnings)],
        "unreadable": "",
    }


def keep_unreadable(why: str, out: Path) -> dict[str, Json]:
    """Like `keep_parsed`, for a network that could not be read at all."""
    import onnx

    graph = onnx.helper.make_graph([], "network", [], [])
    write_whole(out, onnx.helper.make_model(graph).SerializeToString(deterministic=True))
    empty: Mapping[str, Json] = {"unread": [], "unread_by_type": {}, "cut": [], "notes": [], "misfits": []}
    found: Mapping[str, Json] = {"contradictions": [], "warnings": [], "unreadable": why}
    return {"layers": 0, "layers_read": 0, **empty, **found}


def _beside(model: onnx.ModelProto) -> onnx.ModelProto:
    """Writes the model with its large weights in a file beside it."""
    copy = type(model)()
    copy.CopyFrom(model)
    for tensor in tensors_of(copy):
        if is_external(tensor):
            assert Path(external_entries(tensor)["location"]).name == WEIGHTS, "they lie in one file"
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = WEIGHTS
    return copy
