"""Answers a shell that asks how a command line may go on, with the standard library alone.

Typer answers too, but importing it and all commands takes longer than a user waits for the Tab key, and it knows no
specs. What commands and options there are is in `completion_table.json` (`python docs/completion.py` writes it, a test
compares it with the commands). Specs, cells, targets, toolchains and data sets are read from the project's files line
by line, without validating them: in a broken project less is offered, and nothing is said.

A shell evaluates or inserts what it is told, and names come from a clone: only names of ordinary characters are told.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ORDINARY = re.compile(r"[\w./@+-]+", re.ASCII)
_KEY = re.compile(r"""( *)["']?([A-Za-z0-9_][\w.+-]*)["']?[ ]*:(?:[ ]+(.*))?$""", re.ASCII)
_FLOW_KEY = re.compile(r"""["']?([A-Za-z0-9_][\w.+-]*)["']?[ ]*:""", re.ASCII)
_MOST_FILES, _MOST_BYTES = 1000, 1 << 20
_YAML = (".yaml", ".yml")
_MARKS = ("trtpipe.yaml", "trtpipe.lock")

Told = list[tuple[str, str]]
"""What may come next, and what it is; the second may be empty."""


def answer(instruction: str) -> int | None:
    """Print the answer for bash, zsh or fish and return the exit code; None for any other request."""
    shell = instruction.removeprefix("complete_")
    if shell == instruction or shell not in ("bash", "zsh", "fish"):
        return None
    words, begun = _bash_words() if shell == "bash" else _words()
    try:
        told = [one for one in _next(words, begun) if _ORDINARY.fullmatch(one[0])]
    except (OSError, ValueError, KeyError, RecursionError):
        told = []
    if shell == "fish" and os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if told else 1
    text = {"bash": _for_bash, "zsh": _for_zsh, "fish": _for_fish}[shell](told, begun)
    if text:
        sys.stdout.write(text + "\n")
    return 0


def _bash_words() -> tuple[list[str], str]:
    """Bash takes a cell apart at `@`; it is put together again. Typer's script has a line for each word."""
    told = os.environ.get("COMP_WORDS", "")
    words = told.split("\n" if "\n" in told else " ")
    number = os.environ.get("COMP_CWORD", "")
    at = int(number) if number.isdecimal() else len(words) - 1
    begun = words[at] if at < len(words) else ""
    before = words[1:at]
    if begun == "@" and before:
        return before[:-1], before[-1] + "@"
    if len(before) > 1 and before[-1] == "@":
        return before[:-2], before[-2] + "@" + begun
    return before, begun


def _words() -> tuple[list[str], str]:
    words = os.environ.get("_TYPER_COMPLETE_ARGS", "").split(" ")[1:]
    return [one for one in words[:-1] if one], words[-1] if words else ""


def _for_bash(told: Told, begun: str) -> str:
    cut = begun.rfind("@") + 1  # bash replaces only what follows the `@`
    return "\n".join(value[cut:] for value, _ in told)


def _for_zsh(told: Told, begun: str) -> str:
    if not told:
        return "_files"
    plain = re.compile(r"[^\w .,;-]", re.ASCII)
    shown = (f'"{value}":"{plain.sub(" ", about)}"' if about else f'"{value}"' for value, about in told)
    return "_arguments '*: :((" + "\n".join(shown) + "))'"


def _for_fish(told: Told, begun: str) -> str:
    return "\n".join(f"{value}\t{about}" if about else value for value, about in told)


def _next(words: list[str], begun: str) -> Told:
    """What may stand in place of the word that has begun."""
    with open(os.path.join(os.path.dirname(__file__), "completion_table.json"), encoding="utf-8") as file:  # noqa: PTH118, PTH120, PTH123
        entry: Mapping[str, Any] = json.load(file)
    arguments, waiting = 0, ""
    for word in words:
        if waiting:
            waiting = ""
        elif word.startswith("-"):
            waiting = word if entry["options"].get(word) else ""
        elif word in entry.get("commands", ()):
            entry = entry["commands"][word]
        else:
            arguments += 1
    if waiting:
        offered = [(value, "") for value in _values(entry["options"][waiting])]
    elif begun.startswith("-"):
        offered = [(name, "") for name in entry["options"]]
    elif "commands" in entry:
        offered = [(name, one["help"]) for name, one in entry["commands"].items()]
    else:
        kinds = entry["arguments"]
        at = min(arguments, len(kinds) - 1) if entry["many"] else arguments
        offered = [(value, "") for value in _values(kinds[at])] if 0 <= at < len(kinds) else []
    return [one for one in offered if one[0].startswith(begun)]


def _values(kinds: Iterable[str]) -> list[str]:
    """The values of these kinds, in order and once; a kind that begins with `=` is a value itself."""
    project = _Project()
    found: dict[str, None] = {}
    for kind in filter(None, kinds):
        found |= dict.fromkeys([kind[1:]] if kind.startswith("=") else project.names_of(kind))
    return list(found)


class _Project:
    """The names in the project around the working directory."""

    def __init__(self) -> None:
        self.here = os.getcwd()  # noqa: PTH109 - pathlib takes longer to import than the rest of the work
        self.root = _root(self.here)
        self.shared = _keys_in(f"{self.root}/trtpipe.yaml")

    def names_of(self, kind: str) -> Iterator[str]:
        """Every `spec`, `cell`, `target`, `toolchain`, `variant` or `dataset`."""
        if kind == "dataset":
            yield from (name.rpartition(".")[0] for name in _yaml_in(f"{self.root}/calibration"))
            return
        if kind in ("target", "toolchain"):
            yield from self.shared.get(f"{kind}s", ())
        folder = f"{self.root}/pipelines"
        for name in _yaml_in(folder):
            if kind == "spec":
                yield os.path.relpath(f"{folder}/{name}", self.here)
            else:
                yield from self._in_spec(kind, _keys_in(f"{folder}/{name}"))

    def _in_spec(self, kind: str, spec: Mapping[str, list[str]]) -> Iterator[str]:
        targets = spec.get("targets") or self.shared.get("targets", [])
        if kind != "cell":
            yield from spec.get(f"{kind}s", ())
            return
        for pipeline in spec.get("pipeline", [])[:1]:
            for variant in spec.get("variants", ()):
                yield from (f"{pipeline}/{variant}@{target}" for target in targets)


def _root(start: str) -> str:
    """The project's root, found as `loader.project.find_root` finds it."""
    above = [start]
    while (parent := os.path.dirname(above[-1])) != above[-1]:  # noqa: PTH120
        above.append(parent)
    for folder in above:
        if any(os.path.isfile(f"{folder}/{mark}") for mark in _MARKS):  # noqa: PTH113
            return folder
    named = (folder for folder in above if os.path.basename(folder) in ("pipelines", "calibration"))  # noqa: PTH119
    return os.path.dirname(next(named, f"{start}/."))  # noqa: PTH120


def _yaml_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = (one.name for one in entries if one.name.endswith(_YAML) and one.is_file())
            return sorted(name for name, _ in zip(names, range(_MOST_FILES), strict=False))
    except OSError:
        return []


def _keys_in(path: str) -> dict[str, list[str]]:
    """Each key at the top of a YAML file with the keys below it, or with its value if that is a word."""
    found: dict[str, list[str]] = {}
    below: list[str] = []
    indent = 0
    for line in _text(path).splitlines():
        match = _KEY.match(line)
        if match is None:
            continue
        depth, key, value = len(match[1]), match[2], (match[3] or "").split(" #")[0].strip()
        if depth == 0:
            below = found.setdefault(key, [])
            below += _flow_keys(value) if value.startswith("{") else [value.strip("\"'")] if value else []
            indent = 0
        elif depth == (indent := indent or depth):
            below.append(key)
    return found


def _flow_keys(text: str) -> Iterator[str]:
    """The keys of `{a: …, b: {…}}` that are not in a bracket within it."""
    depth = 0
    for piece in re.split(r"([{}\[\],])", text):
        depth += (piece in ("{", "[")) - (piece in ("}", "]"))
        if depth == 1 and (match := _FLOW_KEY.match(piece.strip())):
            yield match[1]


def _text(path: str) -> str:
    """The file's text; empty for what is no regular file, which could block, and beyond a limit."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return ""
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        return file.read(_MOST_BYTES).decode(errors="replace")
