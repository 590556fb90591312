"""Recognises files written by PyTorch by their content: an exported program, or a pickle, which is rejected.

Looks at names and a few bytes; unpickles nothing and does not import torch.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from trtpipe.errors import ModelError, Problem
from trtpipe.problem_codes import Code

Kind = Literal["program", "old program", "torchscript", "pickle"]

_LEGACY_MAGIC = (
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before zip: the number 0x1950a86a20f9469cfc6c
)
_PICKLE_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
DAMAGED = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError)
"""What zipfile raises for an archive that lies."""

_FORMAT = b"pt2"

_EXPORT = """\
program = torch.export.export(model.eval(), (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
torch.export.save(program, 'model.pt2')"""
_REFUSALS: dict[Kind, tuple[str, str]] = {
    "pickle": (
        "is a pickle",
        "a pickle can run any code when it is loaded, so it never is; export the model where its class is at hand:\n"
        f"{_EXPORT}\n"
        "or to ONNX: torch.onnx.export(model.eval(), (example,), 'model.onnx', dynamo=True)",
    ),
    "torchscript": (
        "is TorchScript, which holds pickles",
        f"export the model that it was made from instead:\n{_EXPORT}",
    ),
    "old program": (
        "is an exported program in the form of PyTorch 2.7 and older, whose weights are pickles",
        "load it with the PyTorch that wrote it, then export and save the model with a newer one:\n"
        + _EXPORT,
    ),
}


def kind_of(path: Path) -> Kind | None:
    """The kind of the file; None when PyTorch did not write it. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(len(_LEGACY_MAGIC))
    if head == _LEGACY_MAGIC or (head[:2] in _PICKLE_PROTOCOLS and _ends_as_a_pickle(path)):
        return "pickle"
    return _kind_of_archive(path) if head.startswith(b"PK") else None


def refuse_pickles(path: Path) -> None:
    """Raises ModelError when the file is or contains a pickle written by PyTorch."""
    kind = kind_of(path)
    if kind in _REFUSALS:
        said, remedy = _REFUSALS[kind]
        raise ModelError(Problem(Code.PYTORCH_PICKLE, f"'{path.name}' {said}", remedy))


def _ends_as_a_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"."


def _kind_of_archive(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            inner = {name.partition("/")[2]: name for name in reversed(archive.namelist())}
            if "archive_format" in inner:
                with archive.open(inner["archive_format"]) as member:
                    return "program" if member.read(len(_FORMAT) + 1) == _FORMAT else None
            if "serialized_exported_program.json" in {*inner, *archive.namelist()}:
                return "old program"
            if "constants.pkl" in inner:
                return "torchscript"
            return "pickle" if {"data.pkl", "data.pickle"} & {*inner, *archive.namelist()} else None
    except DAMAGED:
        return None
