"""The `onnx` frontend: any ONNX file, with or without external data.

Finds the files; the conversion to canonical ONNX is in `canonical`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trtpipe.frontends import ModelFiles, Proposal
from trtpipe.spec.fields import SpecModel

if TYPE_CHECKING:
    import onnx


class OnnxOptions(SpecModel):
    """`model.options` of the onnx parser."""

    opset: Annotated[int | None, Field(ge=13, le=25)] = None
    """The least opset to bring the model to."""


class OnnxFrontend:
    """Reads `.onnx` files."""

    name = "onnx"
    version = 1
    Options = OnnxOptions
    needs_source = True
    takes_directory = False
    companion = ""
    packages: tuple[str, ...] = ()
    extra = ""

    def belonging(self, files: ModelFiles, options: OnnxOptions) -> list[Path]:
        """Every external data file that the model refers to. Raises ModelError."""
        from trtpipe.canonical.reader import read_skeleton

        return list(read_skeleton(files.model, root=files.root).external_files)

    def read(self, files: ModelFiles, options: OnnxOptions, workplace: Path) -> onnx.ModelProto:
        """The model, unchanged. Raises ModelError when it or its data is outside the root or damaged."""
        from trtpipe.canonical.reader import read_skeleton

        return read_skeleton(files.model, root=files.root).proto

    def propose(self, path: Path) -> Proposal | None:
        """The file itself, when it is an ONNX model."""
        from trtpipe.canonical.reader import read_skeleton

        read_skeleton(path)
        return Proposal(path)


frontend = OnnxFrontend()
