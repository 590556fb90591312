"""Writes trtpipe/cli/completion_table.json, from which shells are told the commands and options.

Run from a clone: `PYTHONPATH=. python docs/completion.py`. `tests/cli/test_completion.py` compares the table with the
commands.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from typer.main import get_command

import trtpipe.cli.main
from trtpipe.cli.app import app

TABLE = Path(trtpipe.cli.main.__file__).with_name("completion_table.json")
_KINDS = {"SPEC": "spec", "CELL": "cell", "GLOB": "cell", "TARGET": "target", "TOOLCHAIN": "toolchain"}
_BY_NAME = {
    "data preview NAME": "dataset",
    "toolchain verify [NAME]...": "toolchain",
    "toolchain remove NAME": "toolchain",
    "upgrade TOOLCHAIN": "toolchain",
    "explain CELL": "cell",
}
"""Arguments that their metavar says too little of."""


def table() -> dict[str, Any]:
    """The commands below `trtpipe`, with their options and the kinds of values that they take."""
    return _entry(get_command(app), ())


def _entry(command: Any, path: tuple[str, ...]) -> dict[str, Any]:  # noqa: ANN401 - typer has its own copy of click
    options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    names = {
        name: [] if one.is_flag else _kinds(one, path, name) or [""]
        for one in options
        for name in (*one.opts, *one.secondary_opts)
        if name.startswith("--")
    }
    entry: dict[str, Any] = {"help": (command.help or "").split("\n")[0], "options": names | {"--help": []}}
    commands = getattr(command, "commands", None)
    if commands:
        shown = {name: one for name, one in commands.items() if not one.hidden}
        return entry | {"commands": {name: _entry(one, (*path, name)) for name, one in shown.items()}}
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    many = bool(arguments) and arguments[-1].nargs == -1
    return entry | {"arguments": [_kinds(one, path, "") for one in arguments], "many": many}


def _kinds(parameter: Any, path: tuple[str, ...], option: str) -> list[str]:  # noqa: ANN401
    metavar = parameter.metavar or parameter.name.upper()
    named = _BY_NAME.get(" ".join((*path, option or metavar)))
    if named:
        return [named]
    words = re.findall(r"[\w.-]+", metavar)
    if words and all(re.fullmatch(r"[a-z][a-z0-9-]*", word) for word in words) and len(words) > 1:
        return [f"={word}" for word in words]
    return list(dict.fromkeys(_KINDS[word] for word in words if word in _KINDS))


if __name__ == "__main__":
    TABLE.write_text(json.dumps(table(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
