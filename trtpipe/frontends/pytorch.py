"""The `pytorch` frontend: exported programs (`.pt2`), converted by torch.onnx in a child process.

What PyTorch may load is decided in `torch_format`. Pickles are rejected.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trtpipe.frontends import ModelFiles, Proposal
from trtpipe.spec.fields import AsTuple, SpecModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.frontends.conversion.converters import Converter
    from trtpipe.frontends.torch_format.archive import Pt2Archive
    from trtpipe.frontends.torch_format.program import ProgramFacts

_OPTIONS = ("model", "options")
_OPSET = 18
"""What torch.onnx itself writes; a higher one is converted from it like any other model."""


class PytorchOptions(SpecModel):
    """`model.options` of the pytorch parser."""

    inputs: Annotated[tuple[str, ...], AsTuple] = ()
    """New names for the inputs, in order; those of the program when left out."""
    outputs: Annotated[tuple[str, ...], AsTuple] = ()
    """New names for the outputs, in order; those of the program when left out."""
    dims: dict[str, str] = Field(default_factory=dict)
    """Names for dynamic dimensions, e.g. `{ids_1: seq}`: by what they are called otherwise, or by symbol (`s77`)."""
    opset: Annotated[int | None, Field(ge=13, le=25)] = None
    """The least opset to bring the model to."""


class PytorchFrontend:
    """Reads `.pt2` files."""

    name = "pytorch"
    version = 1
    Options = PytorchOptions
    needs_source = True
    takes_directory = False
    companion = ""
    packages: tuple[str, ...] = ("torch", "onnxscript")
    extra = "pytorch"

    def belonging(self, files: ModelFiles, options: PytorchOptions) -> list[Path]:
        """No further files, because an archive is complete. Raises ModelError for a pickle or an unreadable archive."""
        _read(files.model)
        return []

    def read(self, files: ModelFiles, options: PytorchOptions, workplace: Path) -> onnx.ModelProto:
        """The program as ONNX. Raises ModelError when it is a pickle, is damaged, or cannot be converted."""
        from trtpipe.canonical.reader import read_skeleton
        from trtpipe.frontends.conversion.converters import run_converter
        from trtpipe.frontends.conversion.renames import rename_interface, strip_notes
        from trtpipe.frontends.torch_format.archive import write_bare
        from trtpipe.frontends.torch_format.dims import name_dims
        from trtpipe.frontends.torch_format.loaders import in_words_of_versions

        archive = _read(files.model)
        bare = workplace / "program.pt2"
        write_bare(archive, bare)
        with in_words_of_versions(archive.facts.torch_version):
            run_converter(_converter(), {"program": bare.name, "opset": _OPSET}, workplace)
        bare.unlink()
        proto = read_skeleton(workplace / "model.onnx", root=workplace).proto
        strip_notes(proto)
        rename_interface(proto, options.inputs, options.outputs, _OPTIONS)
        name_dims(proto, options.dims, (*_OPTIONS, "dims"))
        return proto

    def propose(self, path: Path) -> Proposal | None:
        """The file itself when it is an exported program. Raises ModelError for PyTorch's pickles."""
        from trtpipe.frontends.torch_format.kinds import kind_of

        if path.is_dir() or kind_of(path) is None:
            return None
        from trtpipe.frontends.torch_format.dims import ranges_of, repeated_symbols

        facts = _read(path).facts
        sizes = list(facts.inputs.items())
        ranges = ranges_of(sizes, facts.ranges)
        return Proposal(path, comment=_sizes(facts), ranges=ranges, same=repeated_symbols(sizes))


def _read(path: Path) -> Pt2Archive:
    from trtpipe.frontends.torch_format.archive import read_pt2
    from trtpipe.frontends.torch_format.kinds import refuse_pickles

    refuse_pickles(path)
    return read_pt2(path)


def _converter() -> Converter:
    from trtpipe.frontends import torch_format
    from trtpipe.frontends.conversion.converters import Converter

    return Converter(Path(torch_format.__file__).with_name("converter.py"), "torch.onnx", "pytorch")


def _sizes(facts: ProgramFacts) -> str:
    """The program's dynamic sizes and their ranges, in one line."""
    from trtpipe.frontends.torch_format.dims import symbol_names

    names = symbol_names(list(facts.inputs.items()))
    said = []
    for symbol, name in names.items():
        low, high = facts.ranges.get(symbol, (None, None))
        if high is not None:
            said.append(f"{name} {low or 0} to {high}")
        elif low:
            said.append(f"{name} at least {low}")
    return f"It was exported for sizes {', '.join(said)}." if said else ""


frontend = PytorchFrontend()
