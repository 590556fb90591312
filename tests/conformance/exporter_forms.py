"""The forms in which exporters write what TensorRT's users export: Paddle2ONNX, tf2onnx, torch.onnx; made by hand.

Paddle2ONNX: its mappers' source, 1.0 to 2.1. tf2onnx: its handlers, 1.17. torch.onnx: torchlib of onnxscript 0.7,
and the former exporter's symbolics. What is written as one ONNX operator of floats, a form that ONNX's own suite has,
is left out.

A line of `exporters/` is `operator | opset | nodes | inputs | constants` (`form_models.py`). Behind `!` stands what
`check` refuses of it, a word of the reason; without, TensorRT-RTX 1.7 builds it in fp32 and fp16.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx

from tests.conformance.form_models import small_model

_FOLDER = Path(__file__).with_name("exporters")


class Form(NamedTuple):
    """One form: of which exporter, its name there, the model, and what `check` refuses of it, a word, or nothing."""

    exporter: str
    name: str
    model: onnx.ModelProto
    refused: str


def forms() -> Iterator[Form]:
    """All of them."""
    for path in sorted(_FOLDER.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            called, opset, model = line.split("|", 2)
            name, _, refused = called.partition("!")
            yield Form(path.stem, name.strip(), small_model(model, int(opset)), refused.strip())
