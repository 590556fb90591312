"""Makes `parser-warnings.md` of the table of known warnings: `python docs/parser_warnings.py` from the root."""

from __future__ import annotations

from pathlib import Path

from trtpipe.networks.warnings import KNOWN, KnownWarning

PAGE = Path(__file__).with_name("parser-warnings.md")
INTRODUCTION = """\
# What TensorRT's parser warns about

TensorRT's parser interprets some models differently from ONNX and only says so in a warning, among many warnings
without consequences. trtpipe knows these warnings by name. A *harmless* one does not change what the engine computes.
After a *dangerous* one the engine may compute something else: types are read differently, an attribute is ignored,
values are clamped, a loop does not stop. Whether it does depends on the model and on the data, and validation can miss
it. `trtpipe debug compare CELL --network` compares the parsed network with the model ([debugging.md](debugging.md)). A
warning that is not in the table is *unknown* and shown unchanged.

NAME and similar words replace what differs from one model to the next. The warnings are those of TensorRT-RTX 1.7 and
of the parser's published source up to TensorRT 10; older or newer versions may word some of them differently, which
makes them unknown.

This page is generated from `trtpipe/networks/warnings.py` by `python docs/parser_warnings.py`.

"""
SAYS = {
    "int64-binding": "Make sure input NAME has Int64 binding.",
    "duplicate-node-name": (
        "A node named NAME already exists, the output tensors of this new instance will not be queryable."
    ),
    "empty-initializer": "Empty initializer NAME was provided with non-empty data. Overriding data to nullptr",
    "allowzero-before-opset-14": "NODE: Using attribute allowzero with opset < 14 is a TensorRT extension.",
    "host-location-ignored": (
        "TensorRT-RTX does not support TensorLocation::kHOST. Tensor 'NAME' is configured as TensorLocation::kHOST "
        "but will be treated as TensorLocation::kDEVICE."
    ),
    "plugin-shape-input-twice": "Node NODE has duplicate shape input index: 0",
    "initializer-replaced": "Initializer NAME was previously provided. Overwriting previous data.",
    "weights-transposed": (
        "Weights NAME has been transposed with permutation of (1, 0)! If you plan on overwriting the weights with the "
        "Refitter API, the new weights must be pre-transposed."
    ),
    "uint8-quantization": (
        "TensorRT supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA (version >= 3.16). "
        "Defaulting to INT8 instead. To import as UINT8, set the kIMPORT_UINT8_QUANTIZATION flag."
    ),
    "zero-point-type": "For zero_point with type int32 TensorRT will use INT8 instead.",
    "uint8-constant": "UINT8 data NAME is being converted to INT32.",
    "loop-stops-early": (
        "For loop node NODE both a trip limit and a loop termination condition was set! If the number of iterations "
        "of the loop is less than the trip limit during runtime, scan output NAME may have the wrong shape. For "
        "consistent results it's recommended to export loops with only a trip limit."
    ),
    "seed-ignored": (
        'TensorRT currently ignores the "seed" field in RandomUniform or RandomNormal op. Random seeds will be used.'
    ),
    "opset-before-7": (
        "TensorRT supports ONNX graphs generated with at least opset 7. Models using older opsets are not guaranteed "
        "to work."
    ),
    "weights-clamped": "Weight at index 0: -inf is out of range. Clamping to: -3.40282e+38",
    "int64-narrowed": (
        "Your ONNX model has been generated with INT64 weights, while TensorRT does not natively support INT64. "
        "Attempting to cast down to INT32."
    ),
    "mixed-types": (
        "IElementWiseLayer with inputs NAME and NAME: first input has type Half but second input has type Float."
    ),
    "plugin-attribute-missing": (
        "Attribute NAME not found in plugin node! Ensure that the plugin creator has a default value defined or the "
        "engine may fail to build."
    ),
    "plugin-shape-inputs-ignored": (
        "Node NODE has shape input indices defined, but plugin creator is for an IPluginV2-derivative plugin. Ignoring "
        "shape input indices."
    ),
}
"""What TensorRT says, by the warning's name: one sentence each, which the tests hold against the pattern."""


def page() -> str:
    """The whole page."""
    head = [
        "| name | class | what TensorRT says | what it means | what to do |",
        "| --- | --- | --- | --- | --- |",
    ]
    return INTRODUCTION + "\n".join([*head, *map(_row, KNOWN), ""])


def _row(row: KnownWarning) -> str:
    means, do = row.meaning.removesuffix(".").split("; ")
    return f"| `{row.name}` | {row.kind} | {SAYS[row.name]} | {means} | {do} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
