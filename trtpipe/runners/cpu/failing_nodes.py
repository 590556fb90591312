"""ONNX Runtime's errors for a model that it cannot load or run: the node in the user's terms, and the reason.

If the message names no node, as when a kernel rejects its attributes, the nodes are loaded one by one to find it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import subgraphs
from trtpipe.canonical.tensors import is_external, number_of_dtype

if TYPE_CHECKING:
    import onnx

    from trtpipe.runners.cpu.graphs import RunnableModel

_LONGEST = 300
_MOST_NODES = 2000
_STATUS = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_INITIALIZING = re.compile(r"^(?:Load model from .*? failed:|Exception during initialization:)\s*")
_PLACE = re.compile(r"^(?:\S*\.(?:cc|cpp|h|hpp):\d+ )(?:[\w:~<>]+(?:\([^)]*\))?(?: \[with [^\]]*\])? )?")


def shortened(text: str) -> str:
    """The message without ONNX Runtime's source positions."""
    parts = [part.strip() for part in _STATUS.split(text.rpartition("Status Message:")[2]) if part.strip()]
    words = _PLACE.sub("", _INITIALIZING.sub("", parts[-1] if parts else text)).strip()
    words = words or text
    return words if len(words) <= _LONGEST else words[:_LONGEST] + "…"


def refused_node(model: RunnableModel, load: Callable[[bytes], object]) -> onnx.NodeProto | None:
    """The first node of the main graph that `load` rejects by itself, after it rejected the whole; None without one."""
    for single, node in _alone(model):
        if not _loads(load, single):
            return node
    return None


def _loads(load: Callable[[bytes], object], encoded: bytes) -> bool:
    try:
        load(encoded)
    except Exception:  # any exception: loading the whole model has failed already
        return False
    return True


def _alone(model: RunnableModel) -> Iterator[tuple[bytes, onnx.NodeProto]]:
    """Each node as a model of its own, if its types are known; of equal nodes only the first."""
    import onnx

    nodes = model.proto.graph.node
    held = {one.name: one for one in model.proto.graph.initializer if not is_external(one)}
    if len(nodes) > _MOST_NODES:
        return
    for node in nodes:
        names = [name for name in node.input if name]
        if any(True for _ in subgraphs(node)) or any(
            name not in held and name not in model.values for name in names
        ):
            continue
        graph = onnx.GraphProto(name="single", node=[node])
        graph.initializer.extend(held[name] for name in dict.fromkeys(names) if name in held)
        for name in dict.fromkeys(name for name in names if name not in held):
            info = model.values[name]
            dtype = number_of_dtype(info.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, info.dims))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        made = onnx.ModelProto(ir_version=model.proto.ir_version, graph=graph)
        made.opset_import.extend(model.proto.opset_import)
        yield made.SerializeToString(), node
