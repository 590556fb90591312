"""The child process of `evaluation`: evaluates constant graphs with ONNX Runtime, else onnx's reference.

It runs in an interpreter of its own and uses nothing of trtpipe. It reads one JSON request per line from stdin and
writes one JSON answer per line to stdout; tensors are passed as files. A kernel that crashes ends only this process.

A request is a `Request`, an answer an `Answer`. `dtype` is a TensorProto.DataType; results over `limit` bytes are left
out.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_MEMORY = 16 << 30  # bytes of address space: a constant that asks for more is not worth having


class Feed(TypedDict):
    """An input's values, as a place in a file."""

    file: str
    dtype: int
    dims: list[int]
    offset: int


class Request(TypedDict):
    """A model file, its inputs, the size limit of each result, and the file to which results are appended."""

    model: str
    feeds: dict[str, Feed]
    limit: int
    out: str


class Result(TypedDict):
    """An output's values, as a place in the file of results."""

    name: str
    dtype: int
    dims: list[int]
    offset: int
    length: int


class Answer(TypedDict, total=False):
    """The results, or the reason why there are none."""

    values: list[Result]
    error: str


def main() -> None:
    """Answers requests until stdin ends."""
    sys.path[:] = json.loads(sys.stdin.readline())["path"]
    _limit_memory()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            answer = _evaluate(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (_MEMORY if most == resource.RLIM_INFINITY else min(_MEMORY, most), most)
    )


def _evaluate(request: Request) -> Answer:
    import onnx

    with open(request["model"], "rb") as file:  # noqa: PTH123
        encoded = file.read()
    model = onnx.ModelProto.FromString(encoded)
    feeds = {name: _mapped(where) for name, where in request["feeds"].items()}
    try:
        results = _run(encoded, feeds)
    except Exception:
        results = _refer(model, feeds)
    return {"values": _stored(model, results, request["limit"], request["out"])}


def _mapped(where: Feed) -> Array:
    import numpy as np
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(where["dtype"])
    return np.memmap(where["file"], dtype, "r", where["offset"], tuple(where["dims"]))


def _run(encoded: bytes, feeds: dict[str, Array]) -> list[Array]:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])
    results = session.run(None, {name: np.asarray(value) for name, value in feeds.items()})
    for expected, result in zip(session.get_outputs(), results, strict=True):
        if not isinstance(result, np.ndarray) or expected.type in _OPAQUE:
            raise TypeError(f"{expected.name} is not a plain tensor")
    return list(results)


_OPAQUE = frozenset(
    f"tensor({name})"
    for name in (
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
    )
)
"""Types whose values ONNX Runtime hands to numpy as plain integers; the reference keeps their type."""


def _refer(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(model).run(None, feeds))


def _stored(model: onnx.ModelProto, results: list[Array], limit: int, path: str) -> list[Result]:
    import numpy as np
    import onnx

    values: list[Result] = []
    with open(path, "ab") as file:  # noqa: PTH123
        for output, result in zip(model.graph.output, results, strict=True):
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(result).reshape(np.shape(result)))
            if tensor.data_type == onnx.TensorProto.STRING or len(tensor.raw_data) > limit:
                continue
            file.seek(0, 2)
            values.append({"name": output.name, "dtype": tensor.data_type, "dims": list(tensor.dims),
                           "offset": file.tell(), "length": len(tensor.raw_data)})  # fmt: skip
            file.write(tensor.raw_data)
    return values
