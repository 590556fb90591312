"""Gives every version of every blob a tensor name, because Caffe's layers may overwrite the blob that they read.

The last version of a blob keeps its name; earlier ones are called BLOB/LAYER after the layer that makes them. Also
finds the net's outputs and the layers that they need. Independent of shapes and ONNX.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from trtpipe.canonical.names import FreshNames
from trtpipe.errors import Problem, SpecPath
from trtpipe.frontends.caffe_format.layer_types import needs_weights
from trtpipe.frontends.caffe_format.net import MOST_PROBLEMS, Net, NetInput, NetLayer, stop_at
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code

OUTPUTS: SpecPath = ("model", "options", "outputs")
_LOOKED_AT = 1000  # a similar name is searched only among this many of the latest blobs


@dataclass(frozen=True)
class WiredLayer:
    """A layer with the tensors that it reads and makes."""

    layer: NetLayer
    inputs: tuple[str, ...]
    tops: tuple[str, ...]

    def reads(self) -> Iterator[tuple[str, str]]:
        """The tensors that it reads, each with its blob's name."""
        return zip(self.inputs, _bottoms(self.layer), strict=True)


@dataclass(frozen=True)
class Cut:
    """Layers before which a net can end, and the blobs that become its outputs; no blobs if it cannot end there."""

    layers: list[NetLayer]
    outputs: list[str]


@dataclass
class Wiring:
    """What is to be lowered: inputs, layers in order, and outputs as blob → tensor."""

    inputs: list[NetInput] = field(default_factory=list)
    layers: list[WiredLayer] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Names that are taken: those of blobs and of their versions."""

    def cut_before(self, refused: Callable[[NetLayer], bool]) -> Cut:
        """How the net ends before its refused layers: what is left out, and the blobs that become outputs.

        No blobs are given where that would leave out layers with weights, or where a blob is written again later.
        """
        lost: set[str] = set()
        left_out = []
        for wired in self.layers:
            if refused(wired.layer) or lost & set(wired.inputs):
                lost.update(wired.tops)
                left_out.append(wired)
        made = {top for wired in self.layers for top in wired.tops} - lost
        read = [(name, blob) for wired in left_out for name, blob in wired.reads() if name in made]
        ends = [(name, blob) for blob, name in self.outputs.items() if name in made]
        whole = all(name == blob for name, blob in read + ends)
        heavy = any(needs_weights(one.layer.type, len(one.inputs)) for one in left_out)
        blobs = dict.fromkeys(blob for _, blob in read + ends) if whole and not heavy and read else {}
        return Cut([one.layer for one in left_out if refused(one.layer)], list(blobs))


def wire_net(net: Net, outputs: Sequence[str] = ()) -> Wiring:
    """Resolves blobs to tensors. Raises ModelError with every blob that is missing or made twice.

    `outputs` are blobs; when none is given, those that no layer reads.
    """
    wirer = _Wirer(net)
    for layer in net.layers:
        wirer.add(layer)
    found = wirer.chosen(outputs) if outputs else wirer.unread()
    if not found and not wirer.problems:
        wirer.problems.append(
            Problem(Code.CAFFE_NET, "the net has no outputs: every blob is read by a layer")
        )
    stop_at(wirer.problems)
    return wirer.needed(found)


class _Wirer:
    def __init__(self, net: Net) -> None:
        self.net = net
        self.problems: list[Problem] = []
        self.layers: list[WiredLayer] = []
        self.writes = Counter(top for layer in net.layers for top in set(_tops(layer)))
        self.unique = FreshNames({*net.inputs, *self.writes})
        self.current = {name: name for name in net.inputs}
        self.maker: dict[str, NetLayer] = {}
        self.read: set[str] = set()

    def add(self, layer: NetLayer) -> None:
        inputs = tuple(self.reading(layer, blob) for blob in _bottoms(layer))
        self.read.update(inputs)
        self.layers.append(WiredLayer(layer, inputs, tuple(self.writing(layer, top) for top in _tops(layer))))

    def reading(self, layer: NetLayer, blob: str) -> str:
        if blob not in self.current and len(self.problems) < MOST_PROBLEMS:
            made_later = blob in self.writes
            fact = f"{layer}: no earlier layer makes its bottom {blob!r}"
            remedy = (
                "layers must be in the order in which they run"
                if made_later
                else choose_from(blob, list(self.current)[-_LOOKED_AT:], "blobs")
            )
            self.problems.append(Problem(Code.CAFFE_NET, fact, remedy, layer.params.where("bottom")))
        return self.current.get(blob, blob)

    def writing(self, layer: NetLayer, top: str) -> str:
        if top in self.current and top not in layer.bottoms and len(self.problems) < MOST_PROBLEMS:
            other = self.maker.get(top)
            fact = f"{layer}: its top {top!r} is made already, by {other or 'an input'}"
            self.problems.append(
                Problem(Code.CAFFE_NET, fact, "give one of them another name", layer.params.where("top"))
            )
        self.writes[top] -= 1
        last = self.writes[top] == 0 and top not in self.net.inputs
        name = top if last else self.unique(f"{top}/{layer.called}")
        self.current[top] = name
        self.maker[top] = layer
        return name

    def unread(self) -> dict[str, str]:
        return {
            blob: name
            for blob, name in self.current.items()
            if name not in self.read and name not in self.net.inputs
        }

    def chosen(self, outputs: Sequence[str]) -> dict[str, str]:
        found = {}
        for index, blob in enumerate(outputs):
            name = self.current.get(blob)
            if name is None or name in self.net.inputs:
                fact = f"no layer makes the output {blob!r}"
                remedy = choose_from(blob, list(self.maker)[-_LOOKED_AT:], "blobs")
                self.problems.append(Problem(Code.UNKNOWN_TENSOR, fact, remedy, path=(*OUTPUTS, index)))
            else:
                found[blob] = name
        return found

    def needed(self, outputs: dict[str, str]) -> Wiring:
        wanted = set(outputs.values())
        layers = []
        for wired in reversed(self.layers):
            if wanted & set(wired.tops):
                wanted.update(wired.inputs)
                layers.append(wired)
        inputs = [one for name, one in self.net.inputs.items() if name in wanted]
        return Wiring(inputs, layers[::-1], outputs, self.unique.taken)


def _bottoms(layer: NetLayer) -> tuple[str, ...]:
    """What it reads; a loss that becomes a softmax does not read its label."""
    return layer.bottoms[:1] if layer.type == "SoftmaxWithLoss" else layer.bottoms


def _tops(layer: NetLayer) -> tuple[str, ...]:
    """What it makes; Caffe gives a loss without a top one."""
    if layer.type == "SoftmaxWithLoss":
        return layer.tops[:1] or (layer.name,)
    return layer.tops
