"""`trtpipe export`: writes a pipeline's model in another form, to be edited by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.checks.cell_steps import open_cell
from trtpipe.checks.parsed_networks import NotParsedHere
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say
from trtpipe.cli.progress import LazyProgress
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import open_workspace

if TYPE_CHECKING:
    from trtpipe.app.author.export import ExportedNetwork


def network_command(spec: str, output: Path | None, *, force: bool) -> int:
    """Write a pipeline's model as declared layers and weights."""
    from trtpipe.app.author.export import export_network

    workspace = open_workspace([spec])
    if len(workspace.pipelines) != 1:
        names = ", ".join(one.path.name for one in workspace.pipelines)
        raise SpecError(
            Code.AMBIGUOUS_NAME, f"{spec!r} contains several pipelines: {names}", "export one at a time"
        )
    made = export_network(workspace, output, force=force)
    _tell(made)
    say(f"trtpipe build {_shown(made.spec)}")
    return EXIT_DONE


def parsed_command(cell: str, output: Path | None, *, force: bool) -> int:
    """Write the network that a TensorRT makes as declared layers; 1 when this machine cannot parse the model."""
    from trtpipe.app.author.export_parsed import export_parsed

    if "/" not in cell or Path(cell).exists():
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"--parsed exports the network of a cell, and {cell!r} is none",
            "name a cell, for example digits/fp16@ada",
        )
    try:
        with LazyProgress() as progress, open_cell(cell, [], progress) as steps:
            made = export_parsed(steps, output, force=force)
    except NotParsedHere as error:
        say(f"not run: the network: {error}")
        return EXIT_FAILED
    _tell(made)
    note(
        f"equal to what TensorRT parsed, on random inputs in ONNX Runtime: "
        f"outputs differ by at most {made.difference:.2g} (rounding: {made.bound:.2g})"
    )
    if made.left_out:
        note("layers of the network that no output needs: " + _counted(made.left_out))
    say(f"trtpipe build {_shown(made.spec)}")
    return EXIT_DONE


def _tell(made: ExportedNetwork) -> None:
    for path in filter(None, (made.weights, made.spec)):
        note(f"wrote {_shown(path)}")
    layers = {kind: count for kind, count in made.counts.items() if kind != "weights"}
    note(f"layers: {_counted(layers)}; {made.counts['weights']} weights")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items())


def _shown(path: Path) -> Path:
    found = path.absolute()
    return found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found
