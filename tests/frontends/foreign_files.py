"""TensorFlow graphs and PyTorch archives written by hand, for tests that have neither package."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

FLOAT = 1


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, payload: bytes | str) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def node(name: str, operator: str, *inputs: str, dims: tuple[int, ...] | None = None) -> bytes:
    """A NodeDef; with `dims`, a float32 placeholder's attributes."""
    parts = [message(1, name), message(2, operator), *(message(3, one) for one in inputs)]
    if dims is not None:
        shape = b"".join(message(2, number(1, dim)) for dim in dims)
        parts.append(message(5, message(1, "dtype") + message(2, number(6, FLOAT))))
        parts.append(message(5, message(1, "shape") + message(2, message(7, shape))))
    return b"".join(parts)


def graph(*nodes: bytes, library: tuple[bytes, ...] = ()) -> bytes:
    """A GraphDef; `library` holds the nodes of one function."""
    function = b"".join(message(3, one) for one in library)
    tail = message(2, message(1, function)) if library else b""
    return b"".join(message(1, one) for one in nodes) + tail


def saved_model(
    body: bytes, signatures: dict[str, tuple[str, ...]], tags: tuple[str, ...] = ("serve",), asset: str = ""
) -> bytes:
    """A SavedModel of one graph; `signatures` maps names to their inputs."""
    parts = [message(1, b"".join(message(4, tag) for tag in tags)), message(2, body)]
    for name, inputs in signatures.items():
        takes = b"".join(message(1, message(1, one) + message(2, b"")) for one in inputs)
        gives = message(2, message(1, "y") + message(2, b""))
        parts.append(message(5, message(1, name) + message(2, takes + gives)))
    if asset:
        parts.append(message(6, message(2, asset)))
    return number(1, 1) + message(2, b"".join(parts))


LINE = graph(
    node("x", "Placeholder", dims=(-1, 4)),
    node("w", "Const"),
    node("mid", "MatMul", "x", "w"),
    node("y", "Relu", "mid:0"),
)
"""x @ w, then relu."""


def symbol(name: str) -> str:
    return f"Symbol('{name}', positive=True, integer=True)"


def program(**changes: Any) -> dict[str, Any]:
    """The description of a program: `y = x + w`, whose batch is the symbol s77."""
    batch = {"as_expr": {"expr_str": symbol("s77"), "hint": {"as_int": 2}}}
    add = {"target": "torch.ops.aten.add.Tensor", "inputs": [], "outputs": [], "metadata": {}}
    body = {"nodes": [add], "tensor_values": {"x": {"dtype": 7, "sizes": [batch, {"as_int": 4}]}}}
    takes = [
        {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
        {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
    ]
    gives = [{"user_output": {"arg": {"as_tensor": {"name": "add"}}}}]
    described = {
        "graph_module": {"graph": body, "signature": {"input_specs": takes, "output_specs": gives}},
        "range_constraints": {"s77": {"min_val": 1, "max_val": 64}},
        "torch_version": "2.13.0+cpu",
        "guards_code": ["import this"],
    }
    return described | changes


def write_pt2(path: Path, described: Any = None, *, compressed: bool = False, **members: bytes) -> Path:
    """An archive of a program with one weight of four floats; `members` replaces some, keyed with `__` for `/`."""
    meta = {"dtype": 7, "sizes": [{"as_int": 4}]}
    weight = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta}
    inside = {
        "archive_format": b"pt2",
        "archive_version": b"0",
        "byteorder": b"little",
        ".data/version": b"6\n",
        "models/model.json": json.dumps(described or program()).encode(),
        "data/weights/model_weights_config.json": json.dumps({"config": {"w": weight}}).encode(),
        "data/weights/weight_0": struct.pack("<4f", 1, 2, 3, 4),
        "data/constants/model_constants_config.json": b'{"config": {}}',
        "data/sample_inputs/model.pt": b"\x80\x02cos\nsystem\n.",
    }
    inside |= {name.replace("__", "/"): data for name, data in members.items()}
    how = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in inside.items():
            archive.writestr(f"net/{name}", data)
    return path
