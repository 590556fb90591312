"""Recognises a Caffe net by a file's content, and finds the other file of the pair beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.frontends.caffe_format.caffemodel import looks_like_caffemodel
from trtpipe.frontends.caffe_format.prototext import LARGEST
from trtpipe.loader.grammar import listed
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.frontends.caffe_format.wires import Cut

_HEAD = 1 << 16
_NET = re.compile(
    rb"^[ \t]*(?:layers?[ \t\r\n]*\{|layers?[ \t]*:[ \t]*\{|input[ \t]*:[ \t]*[\"'])", re.MULTILINE
)


def pair_of(path: Path) -> tuple[Path, Path | None] | None:
    """The prototxt and, when there is one, the caffemodel that a file belongs to; None for other formats.

    Raises ModelError for a caffemodel whose prototxt is unknown.
    """
    if not path.is_file():
        return None
    if _is_prototxt(path):
        return path, _sibling(path, ".caffemodel", looks_like_caffemodel)
    if not looks_like_caffemodel(path):
        return None
    prototxt = _sibling(path, ".prototxt", _is_prototxt)
    if prototxt is None:
        found = sorted(file.name for file in path.parent.glob("*.prototxt") if _is_prototxt(file))
        there = f"there are {listed(found)}; " if found else ""
        fact = f"{path.name} contains the weights of a Caffe net, but its prototxt is unknown"
        raise ModelError(
            Code.CAFFE_PAIR_UNKNOWN, fact, f"{there}give the prototxt of the deployed net instead"
        )
    return prototxt, path


def cut_of(prototxt: Path) -> Cut | None:
    """Where the net must end because later layers are not supported; None when all are supported.

    Also None when the prototxt cannot be read; the import reports what is wrong with it.
    """
    from trtpipe.frontends.caffe_format.lowering import is_lowered
    from trtpipe.frontends.caffe_format.net import NetState, read_net
    from trtpipe.frontends.caffe_format.prototext import read_prototext
    from trtpipe.frontends.caffe_format.wires import wire_net

    try:
        wiring = wire_net(read_net(read_prototext(prototxt, prototxt.name), NetState()))
    except ModelError:
        return None
    cut = wiring.cut_before(lambda layer: not is_lowered(layer.type))
    return cut if cut.outputs else None


def _is_prototxt(path: Path) -> bool:
    """Text that opens a layer, or names an input."""
    try:
        if path.stat().st_size > LARGEST:
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return b"\0" not in head and _NET.search(head) is not None


def _sibling(path: Path, suffix: str, accepts: object) -> Path | None:
    """The file beside `path` with its stem, or the only one with the suffix."""
    assert callable(accepts)
    beside = sorted(file for file in path.parent.glob(f"*{suffix}") if file.is_file() and accepts(file))
    named = [file for file in beside if file.stem == path.stem]
    alike = [file for file in beside if path.stem.startswith(file.stem) or file.stem.startswith(path.stem)]
    choices = named or (alike if len(alike) == 1 else beside)
    return choices[0] if len(choices) == 1 else None
