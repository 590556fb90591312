"""Error messages for layers whose type is not supported: why, if known, and what can be done.

The types are Caffe's own and those of its forks for detection (SSD, YOLO, Faster R-CNN) and segmentation (SegNet).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trtpipe.errors import ModelError
from trtpipe.frontends.caffe_format.net import NetLayer
from trtpipe.loader.grammar import choose_from, listed

_BOXES = "it selects boxes by non-maximum suppression, which is not supported"
_REGIONS = "it pools regions given by another blob, which is not supported"
_RECURRENT = "recurrent layers of Caffe are not supported"
_DECODED = "it decodes YOLO boxes, which is not supported"

REASONS: dict[str, str] = {
    "BoxOutput": _BOXES,
    "DetectionOutput": _BOXES,
    "LSTM": _RECURRENT,
    "Lstm": _RECURRENT,
    "MaxUnpooling": "it restores values by the mask of a pooling, which is not supported",
    "PSROIPooling": _REGIONS,
    "Proposal": _BOXES,
    "RNN": _RECURRENT,
    "RPNProposal": _BOXES,
    "ROIAlign": _REGIONS,
    "ROIPooling": _REGIONS,
    "Recurrent": _RECURRENT,
    "Region": _DECODED,
    "RegionOutput": _DECODED,
    "Unpooling": "it restores values by the mask of a pooling, which is not supported",
    "Yolo": _DECODED,
    "YoloDetectionOutput": _BOXES,
    "YoloV3DetectionOutput": _BOXES,
    "Yolov3": _DECODED,
    "Yolov3DetectionOutput": _BOXES,
}
"""Layer type → why it is not lowered."""

_HOW = (
    "model.options.layers: {{{0}: {{plugin: {{name: …}}}}}}, or a function for it in the file that "
    "model.options.lowering names"
)


def unknown_layer(layer: NetLayer, cut: Sequence[str], known: Iterable[str]) -> ModelError:
    """The error about a layer that is not lowered; `cut` has the blobs that become outputs if the net ends before."""
    kind = layer.type
    before = f"end the net before it: model.options.outputs: [{', '.join(cut)}]" if cut else ""
    if kind == "Python":
        inner = layer.params.message("python_param").text("layer")
        remedy = f"map it to a plugin, or lower it yourself: {_HOW.format('Python')}"
        return layer.params.refuse("type", f"a layer in Python, {inner!r}, cannot be built", remedy)
    if kind in REASONS:
        remedy = before or _HOW.format(kind)
        return layer.params.refuse("type", REASONS[kind], remedy)
    near = choose_from(kind, sorted(known), "types")
    remedy = "\n".join(line for line in (_HOW.format(kind), before, near) if line)
    return layer.params.refuse("type", f"no layer type {kind!r} is known", remedy)


def shown_cut(layers: Sequence[NetLayer]) -> str:
    """Which layers the engine leaves out, for the comment in a spec."""
    return listed([f"{layer.called} ({layer.type})" for layer in layers])
