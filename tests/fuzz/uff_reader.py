"""The UFF reader under damaged and hostile files: what to run, and what to begin with."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.uff_writer import (
    DTYPES,
    Dtype,
    Node,
    Orders,
    Ref,
    const,
    mark,
    message,
    node,
    number,
    placeholder,
    uff,
    varint,
)
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.uff import UffOptions, frontend

_OPTIONS = UffOptions.model_validate({"plugins": {"_Custom": {"name": "Custom"}}})


def fuzz_uff(data: bytes) -> int:
    """How often `data` is lowered as a UFF file, without plugins and with one.

    Raises whatever is not a refusal in the project's own words.
    """
    taken = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.uff")
        path.write_bytes(data)
        workplace = Path(folder, "work")
        workplace.mkdir()
        frontend.propose(path)
        for options in (UffOptions(), _OPTIONS):
            with contextlib.suppress(ModelError):
                frontend.read(ModelFiles(path), options, workplace)
                taken += 1
    return taken


@cache
def corpus() -> list[bytes]:
    """Small whole files that reach every operation, and some that lie."""
    last, weights = ["N+C", "+CK"], np.ones((3, 3, 4, 4), np.float32)
    x, image = placeholder("x", [-1, 8, 8, 4]), [placeholder("x", [-1, 8, 8, 4]), const("k", weights)]
    four = {name: const(name, np.ones(4, np.float32)) for name in "gbmv"}
    ints = [
        const(name, value, "int32") for name, value in {"0": [0], "1": [1], "s": [-1, 256], "i": 1}.items()
    ]
    chains: list[list[Node]] = [
        [*image, node("Conv", "y", "x", "k", orders=last, strides=[2, 2], implicit_padding="same")],
        [*image, node("Conv", "y", "x", "k", orders=last, number_groups=4, dilation=[1, 1], padding=[1, 1])],
        [
            *image,
            const("t", [-1, 16, 16, 4], "int32"),
            node(
                "ConvTranspose",
                "y",
                "x",
                "k",
                "t",
                orders=["N+C", "+KC"],
                strides=[2, 2],
                implicit_padding="same",
            ),
        ],
        [x, node("Pool", "y", "x", orders=["N+C"], func="avg", kernel=[2, 2], strides=[2, 2])],
        [x, *four.values(), node("BatchNorm", "y", "x", *four, orders=["N+C"], epsilon=0.1)],
        [x, node("LRN", "y", "x", orders=["N+C"], window_size=2, alpha=0.1, beta=0.5, k=1.0)],
        [x, node("Softmax", "s", "x", orders=["N+C"], axis=0), node("Activation", "y", "s", func="relu6")],
        [
            x,
            *ints,
            node("Shape", "n", "x"),
            node("StridedSlice", "a", "n", "0", "1", "1", begin_mask=0, end_mask=0, shrink_axis_mask=1),
            node("Stack", "c", "a", "i", axis=0),
            node("Reshape", "r", "x", "s"),
            node("Concat", "y", "r", "r", axis=1),
        ],
        [
            x,
            node("Reduce", "r", "x", func="sum", axes=[1, 2], keepdims=False),
            node("ArgMax", "y", "r", axis=1),
        ],
        [x, const("p", [[0, 0], [1, 1], [0, 0], [0, 0]], "int32"), node("Pad", "y", "x", "p")],
        [x, *ints, node("GatherV2", "g", "x", "1", axis=-1), node("Squeeze", "y", "g", axes=[3])],
        [x, node("Transpose", "t", "x", permutation=[0, 3, 1, 2]), node("ExpandDims", "y", "t", axis=0)],
        [x, node("LeakyRelu", "l", "x", alpha=0.1), node("Binary", "y", "l", "x", func="add")],
        [
            placeholder("x", [-1, 4]),
            const("w", np.ones((4, 300), np.float32)),
            node("FullyConnected", "y", "x", "w", orders=["NC", "CK"]),
        ],
        [
            x,
            node(
                "_Custom", "y", "x", topK_u_int=3, list_u_flist=[0.5, 1.5], name="n", shape=[1, 2], flag=True
            ),
        ],
    ]
    whole = [uff([*mark("y"), *reversed(chain)]) for chain in chains]
    return [*whole, *_liars()]


def _liars() -> list[bytes]:
    head = number(1, 1) + number(2, 1)
    cycle = [node("Identity", f"n{one}", f"n{(one + 1) % 2000}") for one in range(2000)]
    deep = [placeholder("n0", [1]), *(node("Identity", f"n{one + 1}", f"n{one}") for one in range(3000))]
    claims = [
        varint(4 << 3 | 2) + varint(1 << 31) + b"x",
        varint(4 << 3 | 2) + varint((1 << 64) - 1),
        message(4, message(1, "main") + varint(2 << 3 | 2) + varint(1 << 40)),
        message(5, varint(2 << 3 | 2) + b"\xff" * 12),
        bytes([4 << 3 | 3]) * 1000,
    ]
    odd = Node("y", "Const", (), {"dtype": 5, "shape": [2**31 - 1] * 40, "values": b"abcd"})
    return [
        *(head + claim for claim in claims),
        uff([*mark("n0"), *cycle]),
        uff([*mark("n3000"), *deep]),
        uff([*mark("x"), placeholder("x", [1]), placeholder("x", [1])]),
        uff([*mark("y"), odd]),
    ]


def wild_file(seed: int) -> bytes:
    """A whole file whose operations have inputs and fields drawn at random: what framing lets through."""
    random = np.random.default_rng(seed)
    numbers = [0, 1, 2, 3, 4, -1, -2, 7, 255, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63)]

    def pick(values: Sequence[Any]) -> Any:
        return values[int(random.integers(len(values)))]

    def value() -> Any:
        return pick(
            [
                pick(numbers), float(pick([0.0, -1.5, 1e300, float("inf"), float("nan")])), pick([True, False]),
                pick(["same", "valid", "max", "avg", "add", "relu6", "sum", ""]), b"blob", Ref(pick(["none", "w"])),
                [pick(numbers) for _ in range(int(random.integers(0, 5)))], Dtype(pick(list(DTYPES.values()))),
                Orders([{-1: [pick([0, 1, 2, 3, -1, 2147483647]) for _ in range(4)]}] * 2),
            ]
        )  # fmt: skip

    names = [one.id for one in _TENSORS]
    nodes: list[Node] = []
    for number_ in range(int(random.integers(1, 6))):
        made = _template(pick(list(_TEMPLATES)), f"n{number_}")
        fields = {name: value() if random.random() < 0.2 else old for name, old in made.fields.items()}
        if random.random() < 0.2:
            fields[
                pick(["padding", "strides", "dilation", "number_groups", "axis", "axes", "inputs_orders"])
            ] = value()
        near = [f"n{number_ - 1}"] if number_ else []
        inputs = [pick([old, *near, pick(names)]) for old in made.inputs]
        nodes.append(Node(made.id, made.operation, inputs, fields, made.refs))
    return uff([*mark(nodes[-1].id), *_TENSORS, *nodes])


_TENSORS = [
    placeholder("x", [-1, 8, 8, 4]), placeholder("two", [-1, 4]), placeholder("open", [-1, -1, -1, 4]),
    const("k", np.ones((3, 3, 4, 4), np.float32)), const("v", np.ones(4, np.float32)), const("i", 1, "int32"),
    const("ones", [1, 1, 1, 1], "int32"), const("odd", [-5, 0, 2**31 - 1], "int32"), const("none", [], "int32"),
    const("t", [-1, 16, 16, 4], "int32"), const("pads", [[0, 0], [1, 1], [2**31 - 1, 0], [0, 0]], "int32"),
]  # fmt: skip
_FUNCS = {"Unary": "rsqrt", "Binary": "mul", "Activation": "relu6", "Reduce": "sum", "Pool": "avg"}
_TEMPLATES: dict[str, tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = {
    "Conv": (("x", "k"), ("N+C", "+CK"), {"strides": [2, 2], "dilation": [1, 1], "implicit_padding": "same"}),
    "ConvTranspose": (("x", "k", "t"), ("N+C", "+KC"), {"strides": [2, 2], "implicit_padding": "same"}),
    "Pool": (("x",), ("N+C",), {"kernel": [2, 2], "strides": [2, 2], "padding": [1, 1]}),
    "FullyConnected": (("two", "two"), ("NC", "KC"), {}),
    "BatchNorm": (("x", "v", "v", "v", "v"), ("N+C",), {"epsilon": 0.1}),
    "LRN": (("x",), ("N+C",), {"window_size": 2, "alpha": 0.1, "beta": 0.5, "k": 1.0}),
    "Softmax": (("x",), ("N+C",), {"axis": 0}),
    "Unary": (("x",), (), {}),
    "Binary": (("x", "v"), (), {}),
    "Activation": (("x",), (), {}),
    "LeakyRelu": (("x",), (), {"alpha": 0.1}),
    "Reduce": (("x",), (), {"axes": [1, 2], "keepdims": False}),
    "ArgMax": (("x",), (), {"axis": 1}),
    "Concat": (("x", "x"), (), {"axis": 1}),
    "Stack": (("i", "i"), (), {"axis": 0}),
    "Pad": (("x", "pads"), (), {}),
    "GatherV2": (("x", "ones"), (), {"axis": 1}),
    "ExpandDims": (("x",), (), {"axis": 1}),
    "Squeeze": (("x",), (), {"axes": [1]}),
    "Flatten": (("x",), (), {}),
    "Reshape": (("x", "t"), (), {}),
    "Transpose": (("x",), (), {"permutation": [0, 3, 1, 2]}),
    "Shape": (("x",), (), {}),
    "StridedSlice": (
        ("x", "ones", "t", "ones"), (), {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 2}
    ),
    "_Custom": (("x",), (), {"topK_u_int": 1}),
}  # fmt: skip


def _template(operation: str, id_: str) -> Node:
    inputs, orders, fields = _TEMPLATES[operation]
    func = {"func": _FUNCS[operation]} if operation in _FUNCS else {}
    return node(operation, id_, *inputs, orders=orders, **func, **fields)
