"""Caffe's two readers under damaged and hostile files: what to run, and what to begin with.

Whole nets are lowered, so that what framing lets through reaches every layer too.
"""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from tests.frontends.caffe_files import caffemodel, delimited, net
from tests.frontends.test_caffe_layers import CASES, written
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.caffe import CaffeOptions, frontend
from trtpipe.frontends.caffe_format.caffemodel import read_weights

_HOW = ("packed", "unpacked", "double", "half", "legacy")
_NUMBERS = ("0", "-1", "1", "2", "3", "7", "255", "65536", "2147483647", "2147483648", "9223372036854775807",
            "1e38", "1e-45", "inf", "nan", "0x10", "-9223372036854775808")  # fmt: skip


def fuzz_prototxt(data: bytes) -> int:
    """How often `data` is lowered as a prototxt, with weights that fit the corpus and without.

    Raises whatever is not a refusal in the project's own words.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.prototxt").write_bytes(data)
        (folder / "net.caffemodel").write_bytes(_all_weights())
        with contextlib.suppress(ModelError):
            frontend.propose(folder / "net.prototxt")
        weighted = _read(folder, CaffeOptions(weights="net.caffemodel", batch="dynamic"))
        return weighted + _read(folder, CaffeOptions())


def fuzz_caffemodel(data: bytes) -> int:
    """Tells `data` as a caffemodel, reads every blob in it, and how many of the corpus' nets are lowered with them.

    Raises whatever is not a refusal in the project's own words.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "net.caffemodel"
        path.write_bytes(data)
        with contextlib.suppress(ModelError):
            frontend.propose(path)
        with contextlib.suppress(ModelError):
            for blobs in read_weights(path, "net.caffemodel").layers.values():
                for blob in blobs:
                    assert blob.array().shape == (blob.count,)
                    assert blob.mapped is None or blob.mapped + 4 * blob.count <= len(data)
        (folder / "net.prototxt").write_text(_learned_net())
        return int(_read(folder, CaffeOptions(weights="net.caffemodel")))


def _read(folder: Path, options: CaffeOptions) -> bool:
    named = {"weights": folder / "net.caffemodel"} if options.weights else {}
    files = ModelFiles(folder / "net.prototxt", named, folder)
    with tempfile.TemporaryDirectory() as workplace, contextlib.suppress(ModelError):
        frontend.read(files, options, Path(workplace))
        return True
    return False


@cache
def prototxt_corpus() -> list[bytes]:
    """A net for each layer, and some that lie."""
    nets = [
        net(_named(index), *(array.shape for array in case.inputs)).encode()
        for index, case in enumerate(CASES.values())
    ]
    chain = "".join(
        f'layer {{ name: "r" type: "ReLU" bottom: "{"a" if not one else "x"}" top: "x" }}'
        for one in range(3000)
    )
    liars = [
        b"layer {" * 5000,
        b'name: "' + b"\\" * 5000,
        b"input: 'a' input_dim: [1, 2147483647, 2147483647, 2147483647] layer { type: 'Flatten' bottom: 'a' top: 'y' }",
        b"input: 'a' input_shape { " + b"dim: 1 " * 3000 + b"} layer { type: 'ReLU' bottom: 'a' top: 'y' }",
        b'layer { name: "x" type: "ReLU" bottom: "x" top: "x" }',
        b"layers { type: POOLING layer { } }",
        net(chain, (1, 3)).encode(),
    ]
    return [*nets, *liars]


@cache
def caffemodel_corpus() -> list[bytes]:
    """The weights of every layer in each way to write them, and some that lie."""
    some = {f"l{index}": case.blobs for index, case in enumerate(CASES.values()) if len(case.blobs)}
    whole = [caffemodel({"conv": _CONV, **dict(list(some.items())[:4])}, how) for how in _HOW]
    whole.append(caffemodel({"conv": _CONV}, v1=True))
    blob = delimited(1, b"conv") + delimited(2, b"Convolution")
    liars = [
        delimited(1, b"net") + b"\xa2\x06\xff\xff\xff\xff\x0f",
        b"\xa2\x06\x00" * 5000,
        b"\x12\x00" * 5000,
        delimited(100, blob + delimited(7, delimited(7, b"\x08" + b"\xff" * 9 + b"\x01"))),
        delimited(100, blob + delimited(7, delimited(7, b"\x0a\xff\xff\xff\xff\x07"))),
        delimited(100, blob + delimited(7, b"\x2d" * 5001)),
        delimited(100, blob + b"\x3b" * 3000),
        delimited(100, blob + delimited(7, b"\x08\x80\x80\x80\x80\x08\x10\x80\x80\x80\x80\x08")),
    ]
    return [*whole, *liars]


def mutated(data: bytes, seed: int) -> bytes:
    """`data` with a few bytes, runs or numbers changed; the same seed gives the same."""
    chosen = random.Random(seed)
    made = bytearray(data)
    for _ in range(chosen.randint(1, 4)):
        at, length = chosen.randrange(len(made) + 1), chosen.randint(1, 16)
        kind = chosen.randrange(6)
        if kind == 0:
            del made[at : at + length]
        elif kind == 1:
            made[at:at] = made[max(0, at - length * 4) : at]
        elif kind == 2:
            made[at : at + 1] = bytes([chosen.choice([0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)])])
        elif kind == 3:
            del made[at:]
        else:
            numbers = list(re.finditer(rb"\d+", made[at:]))[:40]
            if numbers:
                match = chosen.choice(numbers)
                made[at + match.start() : at + match.end()] = chosen.choice(_NUMBERS).encode()
    return bytes(made)


_CONV = [np.ones((6, 2, 3, 2), np.float32), np.ones(6, np.float32)]


def _named(index: int) -> str:
    return written(list(CASES.values())[index]).replace('name: "l"', f'name: "l{index}"')


@cache
def _all_weights() -> bytes:
    return caffemodel(
        {f"l{index}": case.blobs for index, case in enumerate(CASES.values()) if len(case.blobs)}
    )


@cache
def _learned_net() -> str:
    layers = [
        'layer { name: "conv" type: "Convolution" bottom: "a" top: "c" '
        "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 2 group: 2 } }"
    ]
    layers += [_named(index).replace('top: "y"', f'top: "y{index}"') for index in _first_learned()]
    return net("\n".join(layers), (2, 4, 7, 9))


def _first_learned() -> list[int]:
    return [index for index, case in enumerate(CASES.values()) if len(case.blobs)][:2]
