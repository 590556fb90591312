"""A UFF file on this machine: recognised, opened and decoded. Independent of ONNX."""

from __future__ import annotations

import mmap
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from trtpipe.canonical.wire import WireError
from trtpipe.errors import ModelError
from trtpipe.frontends.uff_format.cuts import cut_before
from trtpipe.frontends.uff_format.messages import Buffer, MetaGraph, Node, UffError, decode, looks_like_uff
from trtpipe.frontends.uff_format.order import by_id
from trtpipe.problem_codes import Code

_AGAIN = "convert or copy the model again"

T = TypeVar("T")


def read_uff(path: Path, root: Path | None = None) -> MetaGraph:
    """The messages of the file; blobs are left in it. Raises ModelError when it lies outside `root` or is damaged."""
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise ModelError(
            Code.OUTSIDE_PROJECT, f"'{path}' is outside '{root}'", "move the model into the project"
        )
    try:
        return _mapped(path, decode)
    except WireError as error:
        raise ModelError(
            Code.NOT_UFF, f"'{path}' is not a UFF file, or is truncated: {error}", _AGAIN
        ) from error
    except UffError as error:
        raise ModelError(
            Code.NOT_UFF, f"'{path}' is not a UFF file, or is damaged: {error}", _AGAIN
        ) from error


def is_uff(path: Path) -> bool:
    """Whether the file's content is UFF; False for an unreadable file."""
    try:
        return _mapped(path, looks_like_uff)
    except ModelError:
        return False


def _mapped(path: Path, look: Callable[[Buffer], T]) -> T:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(Code.NOT_A_FILE, f"'{path}' is not a regular file")
        if not path.stat().st_size:
            raise ModelError(Code.EMPTY_FILE, f"'{path}' is empty", _AGAIN)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return look(data)
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"cannot read '{path}': {error.strerror}") from error


def custom_operations(path: Path) -> tuple[list[str], list[str]]:
    """The custom operations in a UFF file, sorted, and the outputs that leave all of them out.

    No outputs if nothing useful would remain; neither for a damaged file, because reading it will report that.
    """
    try:
        graphs = read_uff(path).graphs
    except ModelError:
        return [], []
    custom = {node.operation for graph in graphs for node in graph.nodes if node.operation.startswith("_")}
    main = next((graph.nodes for graph in graphs if graph.id == "main"), ())
    return sorted(custom), _cut(main, custom) if custom else []


def _cut(graph: Iterable[Node], custom: Iterable[str]) -> list[str]:
    try:
        nodes = by_id(graph)
        marked = [name for node in nodes.values() if node.operation == "MarkOutput" for name in node.inputs]
        return cut_before(nodes, [name for name in marked if name in nodes], custom)
    except ModelError:
        return []
