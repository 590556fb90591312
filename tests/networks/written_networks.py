"""A network as the worker writes it, by hand: small, and with one of each thing that its reader knows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trtpipe.networks.reader import NETWORK, WEIGHTS


def layer(name, kind, inputs, outputs, **more):
    return {
        "name": name, "type": kind, "node": None, "metadata": "", "inputs": inputs, "outputs": outputs,
        "attributes": {}, "weights": {}, "loop": None, "conditional": None, "attention": None, "unread": {}, **more,
    }  # fmt: skip


def tensor(name, dtype="float32", shape=(2,)):
    return {
        "name": name, "dtype": dtype, "shape": None if shape is None else list(shape), "shape_tensor": False,
        "execution_tensor": True, "dimension_names": [],
    }  # fmt: skip


def weights_of(*arrays):
    """References to the bytes of (dtype, count, bytes), the table of contents, and the file."""
    references, contents, data = [], [], b""
    for dtype, count, written in arrays:
        digest = hashlib.sha256(written).hexdigest()
        references.append({"dtype": dtype, "count": count, "digest": digest})
        if digest not in {one["digest"] for one in contents}:
            data += b"\0" * (-len(data) % 64)
            contents.append({"digest": digest, "offset": len(data), "size": len(written)})
            data += written
    return references, contents, data


def record(contents, layers, **more):
    names = dict.fromkeys(name for one in layers for name in (*one["inputs"], *one["outputs"]) if name)
    return {
        "schema": 1, "flavour": "tensorrt_rtx", "version": "1.7.1.116", "name": "net", "inputs": ["x"],
        "outputs": ["y"], "tensors": [tensor(name) for name in names], "layers": layers, "loops": [],
        "conditionals": [], "attentions": [], "warnings": [], "contents": contents, **more,
    }  # fmt: skip


def small():
    """A record and its file of weights: a constant, a loop, an attention, absent inputs and odd floats."""
    (two,), contents, data = weights_of(("float32", 2, b"\0\0\x80\x3f\0\0\0\x40"))
    attention = {"tensor": "c"}
    layers = [
        layer("c", "CONSTANT", [], ["c"], weights={"weights": two}, attributes={"shape": [2]}),
        layer("clip", "ACTIVATION", ["x"], ["a"], node="clip", attributes={"alpha": 0.5, "beta": {"float": "inf"}}),
        layer("", "RECURRENCE", ["a", "b"], ["r"], loop=0),
        layer("add", "ELEMENTWISE", ["r", None, "c"], ["b"], attributes={"op": "SUM", "start": None}),
        layer("", "LOOP_OUTPUT", ["b"], ["y"], loop=0, unread={"axis": "it raised"}),
        layer("", "CONDITION", ["a"], [], conditional=0),
        layer("", "ATTENTION_INPUT", ["a"], ["q"], attention=0),
    ]  # fmt: skip
    made = record(
        contents, layers,
        loops=[{"name": "loop", "trip_limits": [], "iterators": [], "recurrences": [2], "outputs": [4]}],
        conditionals=[{"name": "if", "conditions": [5], "inputs": [], "outputs": []}],
        attentions=[{
            "name": "", "input_layers": [6], "output_layers": [], "inputs": ["a", None], "outputs": ["q"],
            "attributes": {"mask": attention}, "unread": {},
        }],
        warnings=["ModelImporter: beware"],
    )  # fmt: skip
    made["tensors"][0] |= {"shape": None, "dimension_names": [None, "batch"]}
    return made, data


def write(folder: Path, made, data) -> Path:
    (folder / NETWORK).write_text(made if isinstance(made, str) else json.dumps(made))
    (folder / WEIGHTS).write_bytes(data)
    return folder
