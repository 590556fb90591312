"""`trtpipe export`: a pipeline's model in another form, to be taken further by hand."""

from __future__ import annotations

from pathlib import Path

from trtpipe.cli.output import EXIT_DONE, note, say
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.system.workspace import open_workspace


def network_command(spec: str, output: Path | None, *, force: bool) -> int:
    """Write a pipeline's model as declared layers and weights."""
    from trtpipe.system.exporting import export_network

    workspace = open_workspace([spec])
    if len(workspace.pipelines) != 1:
        names = ", ".join(one.path.name for one in workspace.pipelines)
        raise SpecError(
            Code.AMBIGUOUS_NAME, f"{spec!r} means several pipelines: {names}", "export one at a time"
        )
    made = export_network(workspace, output, force=force)
    for path in filter(None, (made.weights, made.spec)):
        note(f"wrote {_shown(path)}")
    layers = ", ".join(f"{kind} {count}" for kind, count in made.counts.items() if kind != "weights")
    note(f"layers: {layers}; {made.counts['weights']} weights")
    say(f"trtpipe build {_shown(made.spec)}")
    return EXIT_DONE


def _shown(path: Path) -> Path:
    found = path.absolute()
    return found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found
