"""Twins: equivalent float32 models for types that ONNX Runtime's CPU provider has no kernels for.

A validation that used a twin reports it, by the type's name. Each kind of twin is described in its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trtpipe.runners.cpu.bfloat16 import rounding_bfloat16
from trtpipe.runners.cpu.dynamic_blocks import computing_blocks
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.narrow_weights import dequantizing_weights

_TWINS: tuple[tuple[str, str, Callable[[RunnableModel], RunnableModel]], ...] = (
    ("float4 and mxfp8 weights", "a twin that holds such weights in wider types", dequantizing_weights),
    ("nvfp4 and mxfp8 activations", "a float32 twin that rounds activations in blocks", computing_blocks),
    ("bfloat16", "a float32 twin that rounds to bfloat16", rounding_bfloat16),
)
"""Type, words, and what makes the twin; each gives its argument back where there is nothing to do."""


def twin_of(model: RunnableModel) -> RunnableModel:
    """The model in the form that the CPU can run; the same model when it needs no twin."""
    for _, _, made in _TWINS:
        model = made(model)
    return model


def twins_in(model: RunnableModel) -> Mapping[str, str]:
    """Type → what is run on the CPU instead; empty for a model that runs unchanged."""
    return {name: words for name, words, made in _TWINS if made(model) is not model}
