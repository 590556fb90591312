"""Operators that TensorRT does not accept in a narrow type, so that they stay in float32 regardless of the spec.

What was tested systematically over types and versions is in a table (`targets/operator_types.py`). Here are the
restrictions that such a table cannot express, found by experiments with TensorRT-RTX 1.7. All toolchains share one
typed model, which is made for the newest of them; `check` reports what only an older one rejects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casts.kept_nodes import SPEC_NAMES
from trtpipe.problem_codes import Code
from trtpipe.targets.operator_types import newest_refuses

_REFUSED = {
    "Celu": "TensorRT's parser mixes it with float32 constants",
    "MeanVarianceNormalization": "TensorRT's parser mixes it with float32 constants",
    "BlackmanWindow": "TensorRT makes it in float32 only",
    "HammingWindow": "TensorRT makes it in float32 only",
    "HannWindow": "TensorRT makes it in float32 only",
    "TensorScatter": "TensorRT updates a network input in place, and inputs keep their type",
}
"""Operators that ONNX allows in a narrow type and TensorRT does not take in it, for reasons beyond their types."""


def tensorrt_refuses(node: ir.Node, variable: str, dtype: str) -> str:
    """Why TensorRT does not accept a node in a narrow type; empty when it does, as far as was tested.

    `variable` is the type variable of the operator that decides what the node computes in.
    """
    if node.op_type in _REFUSED:
        return _REFUSED[node.op_type]
    mixed = _mixed_by_the_parser(node, dtype)
    if mixed:
        return f"TensorRT's parser mixes {mixed} with float32 constants"
    found = newest_refuses(node.op_type, variable, dtype)
    return f"TensorRT's {found.by} does not take {node.op_type} in {dtype}" if found else ""


def _mixed_by_the_parser(node: ir.Node, dtype: str) -> str:
    """The parts of a recurrent node that TensorRT's parser does not accept in a narrow type (TensorRT-RTX 1.7)."""
    if node.op_type not in ("GRU", "LSTM", "RNN"):
        return ""
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        return "what its lengths of sequences choose"
    if len(node.inputs) > 7 and node.inputs[7] is not None:
        return "an LSTM's peepholes"
    return "a GRU's gates" if node.op_type == "GRU" and dtype == "bfloat16" else ""


def refused_keeps(
    refused: Mapping[str, str],
    reasons: Mapping[str, str],
    keep: Mapping[str, Sequence[str]],
    dtype: str,
    path: SpecPath,
) -> list[Problem]:
    """A problem for each glob that asks for exactly one such node in the narrow type `dtype`.

    `refused` maps each node that TensorRT does not accept to the reason, `reasons` maps each kept node to its glob. A
    glob with a wildcard means whatever nodes support the type, so it is never a problem.
    """
    precision = next(name for name, called in SPEC_NAMES.items() if called == dtype)
    globs = {kept_because(glob): (index, glob) for index, glob in enumerate(keep.get(precision, ()))}
    problems = []
    for name, why in refused.items():
        index, glob = globs.get(reasons.get(name, ""), (0, ""))
        if not glob or any(sign in glob for sign in "*?[") or glob.startswith("between:"):
            continue
        fact = f"node '{name}' cannot be kept in {precision}: {why}"
        remedy = f"leave out '{glob}': it computes in float32 then"
        problems.append(Problem(Code.CANNOT_KEEP, fact, remedy, path=(*path, precision, index)))
    return problems


def kept_because(glob: str) -> str:
    """The reason shown in a plan for a node that a glob keeps in a type."""
    return f"kept by '{glob}'"
