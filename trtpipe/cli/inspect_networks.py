"""`trtpipe inspect CELL --network`."""

from __future__ import annotations

from pathlib import Path

from trtpipe.checks.cell_steps import open_cell
from trtpipe.checks.parsed_networks import NotParsedHere, describe_network
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.text.networks import network_lines


def inspect_network_command(cell: str, *, with_others: bool, as_json: bool) -> int:
    """Show the network that a cell's TensorRT makes of its typed model; 1 when this machine cannot parse the model."""
    if with_others:
        raise SpecError(
            Code.OPTIONS_EXCLUDE, "--network can be combined only with --json", "leave the other options out"
        )
    if "/" not in cell or Path(cell).exists():
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"--network shows the network of a cell, and {cell!r} is none",
            "name a cell, for example digits/fp16@ada",
        )
    try:
        with LazyProgress() as progress, open_cell(cell, [], progress) as steps:
            record = {"cell": steps.cell.name, **describe_network(steps)}
    except NotParsedHere as error:
        not_run = {"name": "the network", "why": str(error)}
        if as_json:
            say_json({"schema": 1, "not_run": [not_run]})
        else:
            say(f"not run: {not_run['name']}: {not_run['why']}")
        return EXIT_FAILED
    if as_json:
        say_json({"schema": 1, **record})
    else:
        say("\n".join(network_lines(record)))
    return EXIT_DONE
