"""`trtpipe select`, also without typer: a service may ask at each start, and the usual parsing takes longer than it.

`read_arguments` reads the options as they are declared in `commands/package.py`; whatever it does not understand, such
as `--help` or a mistake, is left to typer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json

if TYPE_CHECKING:
    from trtpipe.selection.installed import Installed
    from trtpipe.selection.machine import Machine
    from trtpipe.selection.verdict import Choice, Verdict

_FLAG = "--json"
_MANY = "--trt"


@dataclass(frozen=True)
class SelectRequest:
    """The options of `trtpipe select`."""

    package: str
    gpu: str | None = None
    trt: tuple[str, ...] = ()
    driver: str | None = None
    memory: str | None = None
    system: str | None = None
    variant: str | None = None
    check: str | None = None
    as_json: bool = False


_OPTIONS = {
    "--for": "gpu",
    "--trt": "trt",
    "--driver": "driver",
    "--memory": "memory",
    "--os": "system",
    "--variant": "variant",
    "--check": "check",
}


def read_arguments(arguments: Sequence[str]) -> SelectRequest | None:
    """The request of a plain command line, without the word `select`; None for what typer must read or refuse."""
    found: dict[str, str] = {}
    versions: list[str] = []
    places: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument == _FLAG:
            found[_FLAG] = argument
        elif name in _OPTIONS:
            given = value if equals else next(rest, "-")
            if given.startswith("-") or name in found:
                return None
            versions += [given] if name == _MANY else []
            found |= {} if name == _MANY else {name: given}
        elif argument.startswith("-"):
            return None
        else:
            places.append(argument)
    if len(places) != 1:
        return None
    named = {_OPTIONS[name]: value for name, value in found.items() if name != _FLAG}
    return SelectRequest(places[0], trt=tuple(versions), as_json=_FLAG in found, **named)


def select_command(asked: SelectRequest) -> int:
    """Print what to run, or whether an installed engine still fits. 1 when no engine does."""
    from trtpipe.selection import index_of
    from trtpipe.selection.verdict import choose

    machine = _machine(asked)
    index = index_of(Path(asked.package))
    if asked.check is not None:
        from trtpipe.selection.installed import check_installed

        return _tell_installed(check_installed(index, Path(asked.check), machine), asked)
    verdict = choose(index, machine, asked.variant)
    if asked.as_json:
        say_json(verdict.to_json())
    else:
        for line in _lines(verdict, Path(asked.package)):
            say(line)
    return EXIT_DONE if verdict.runs_engines else EXIT_FAILED


def _machine(asked: SelectRequest) -> Machine:
    """The machine that is described, or this one. Raises SpecError."""
    from trtpipe.selection.machine import described_machine, this_machine

    if asked.gpu is not None:
        return described_machine(
            asked.gpu, asked.trt, asked.driver or "", asked.memory or "", asked.system or ""
        )
    given = [option for option, name in _OPTIONS.items() if name in _OF_OTHERS and getattr(asked, name)]
    if given:
        from trtpipe.errors import SpecError
        from trtpipe.problem_codes import Code

        fact = f"{given[0]} describes another machine, whose GPU --for must name"
        raise SpecError(Code.OPTIONS_EXCLUDE, fact)
    return this_machine()


_OF_OTHERS = ("trt", "driver", "memory", "system")
"""The options that say something of another machine."""
assert {*_OPTIONS.values()} < {one.name for one in fields(SelectRequest)}


def _lines(verdict: Verdict, package: Path) -> Iterator[str]:
    target = f" by the engines of target {verdict.target}" if verdict.target else ""
    yield f"{verdict.package} on {_machine_words(verdict.machine)}{target}"
    for choice in verdict.choices:
        yield f"  {choice.model}: {_choice_words(choice)}"
        if choice.file is not None:
            yield f"    {package / choice.file if package.is_dir() else choice.file}"
        for plugin in choice.plugins:
            yield f"    load {plugin} before it"
    for one in verdict.candidates:
        yield f"  {one.engine.cell}: {one.why_not or 'fits'}"


def _choice_words(choice: Choice) -> str:
    if choice.kind == "engine":
        return f"engine {choice.cell}"
    if choice.kind == "fallback":
        return f"no engine fits; the typed model of {choice.variant} runs in ONNX Runtime"
    return "no engine fits, and the package has no typed model"


def _machine_words(machine: Machine) -> str:
    gpus = ", ".join(f"{one.name or 'a GPU'} ({one.compute_capability.sm})" for one in machine.gpus)
    known = machine.tensorrt
    versions = "any TensorRT" if known is None else ", ".join(map(str, known)) or "no TensorRT"
    return f"{gpus or 'a machine without an NVIDIA GPU'}, {versions}, {machine.os} {machine.architecture}"


def _tell_installed(found: Installed, asked: SelectRequest) -> int:
    if asked.as_json:
        say_json(found.to_json())
    elif found.fits:
        say(f"{found.file} still fits: it is the engine of {found.cell}")
    else:
        say(f"{found.file} does not fit: {found.why_not}")
    if not asked.as_json:
        for choice in found.instead:
            if choice.cell != found.cell or not found.fits:
                say(f"  {choice.model}: {_choice_words(choice)}")
    return EXIT_DONE if found.fits else EXIT_FAILED
