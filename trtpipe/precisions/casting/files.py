"""A typed model from file to file, in memory that does not grow with the weights.

Weights that were cast are computed one at a time and spilled to a file beside the result; the model then refers to
them like to any other external weight, and `canonical.writing` lays them out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import onnx_ir as ir

from trtpipe.canonical.reading import ir_model, read_skeleton
from trtpipe.canonical.writing import write_model
from trtpipe.errors import ModelError
from trtpipe.precisions import Precision
from trtpipe.precisions.audit.typed import typed_audit
from trtpipe.precisions.casting.constants import chunks_of, release, shape_of
from trtpipe.precisions.casting.element_types import graphs_of

_SMALL = 1024  # bytes; below this a weight stays in the graph
_ALIGNMENT = 4096


def rewrite_file(
    precision: Precision, source: Path, out: Path, *, keep: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Write the typed form of the canonical model at `source` to `out`; what reports say of it.

    Raises ModelError when `keep` does not fit the model.
    """
    model = ir_model(read_skeleton(source))
    plan = precision.plan_types(model, keep)
    if plan.problems:
        raise ModelError(plan.problems)
    report = precision.rewrite(model, plan)
    audit = typed_audit(model)
    with tempfile.TemporaryDirectory(prefix=".typed-", dir=out.parent) as folder:
        with (Path(folder) / "weights").open("wb") as file:
            _spill(model, file)
        write_model(ir.to_proto(model), out)
    return {
        "types": report.plan.counts(),
        "kept": report.plan.why_not(),
        "casts": len(report.casts),
        "weights_cast": report.weights_cast,
        "warnings": [str(problem) for problem in report.warnings],
        "typed": audit,
    }


def _spill(model: ir.Model, file: IO[bytes]) -> None:
    """Move every large weight that is not in a file yet into `file`."""
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or isinstance(tensor, ir.ExternalTensor) or tensor.nbytes <= _SMALL:
                continue
            if tensor.dtype == ir.DataType.STRING:
                continue
            value.const_value = _written(tensor, value.name, file)
            release(tensor)


def _written(tensor: ir.TensorProtocol, name: str | None, file: IO[bytes]) -> ir.ExternalTensor:
    file.write(b"\0" * (-file.tell() % _ALIGNMENT))
    offset = file.tell()
    for chunk in chunks_of(tensor):
        file.write(chunk.tobytes())
    file.flush()
    length = file.tell() - offset
    return ir.ExternalTensor(
        Path(file.name).absolute().as_posix(),
        offset,
        length,
        tensor.dtype,
        shape=shape_of(tensor),
        name=name or "",
    )
