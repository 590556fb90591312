"""Runs a converter in a child process and handles its time limit, crashes and lack of memory.

The child is a separate interpreter with the same packages but almost no environment variables, because the same source
must give the same model whatever the user's shell sets. It dies with this process and uses no network. Independent of
the converted format.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trtpipe.errors import ModelError, Problem
from trtpipe.launcher.children import Program, Streams, kill, start
from trtpipe.launcher.environment import environment_of
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.frontends.conversion.conversion_child import Message, Outcome
    from trtpipe.json_values import Json

_PROGRAM = Program(Path(__file__).parent, "conversion_child", ("-s", "-B"))
TIME_LIMIT = 3600.0
"""Seconds; far more than any conversion that was seen, so that one which hangs does end."""
_TAIL_BYTES = 4000
_TAIL_LINES = 12
_LARGEST_RESULT = 64 << 20
_HINTS = {"SIGKILL": "it may have run out of memory"}
_OUT_OF_MEMORY = ("MemoryError", "std::bad_alloc", "can't allocate memory", "OutOfMemory")


@dataclass(frozen=True, slots=True)
class Converter:
    """A converter: a file with `convert(request) -> facts`, both JSON values, and its name for errors."""

    file: Path
    name: str
    """The package that does the work, as a user knows it: `tf2onnx`."""
    extra: str
    """The extra of trtpipe that brings it."""


class ConversionRefused(ModelError):
    """The converter raised an exception: `raised` is its class, `said` its words."""

    def __init__(self, problem: Problem, raised: str, said: str) -> None:
        super().__init__(problem)
        self.raised, self.said = raised, said


def run_converter(
    converter: Converter, request: Mapping[str, Json], workplace: Path, *, time_limit: float = TIME_LIMIT
) -> dict[str, Json]:
    """The facts that the converter returns for the request; it works in `workplace`, where its files remain.

    Raises ConversionRefused when it raises something, ModelError when it dies, takes too long or lacks a package.
    """
    folder = workplace.resolve()
    home = folder / "home"
    home.mkdir()
    message: Message = {
        "converter": str(converter.file),
        "request": dict(request),
        "path": _search_path(),
    }
    (folder / "request.json").write_text(json.dumps(message))
    log = folder / "converter.log"
    with log.open("wb") as stream:
        child = _start(folder, home, stream)
        try:
            code = child.wait(time_limit)
        except subprocess.TimeoutExpired:
            fact = f"{converter.name} took longer than {time_limit:g} seconds"
            raise ModelError(_died(fact, log)) from None
        finally:
            kill(child)
    return _facts(converter, folder / "result.json", code, log)


def _start(folder: Path, home: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # -I would do all of this but for the hash seed, which it leaves to chance: sets of names would be walked in
    # another order each time.
    places = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME"), str(home))
    command = _PROGRAM.command([sys.executable])
    streams = Streams(stdout=log, stderr=log)
    return start(command, environment_of("converter") | places, folder, streams, own_session=False)


def _search_path() -> list[str]:
    """Where this process finds packages; not its working directory, which is the user's."""
    return [str(Path(entry).absolute()) for entry in sys.path if entry]


def _facts(converter: Converter, answer: Path, code: int, log: Path) -> dict[str, Json]:
    if not answer.is_file() or answer.stat().st_size > _LARGEST_RESULT:
        raise ModelError(_crash(converter, code, log))
    result: Outcome = json.loads(answer.read_bytes())
    if "facts" in result:
        return result["facts"]
    raise _refused(converter, result, log)


def _refused(converter: Converter, result: Outcome, log: Path) -> ModelError:
    raised, said = str(result["raised"]), str(result["said"])
    install = f"install it: pip install 'trtpipe[{converter.extra}]'"
    if raised == "ModuleNotFoundError":
        return ModelError(
            Code.MISSING_PACKAGE,
            f"{converter.name} needs the module {result['module']!r}, which is missing",
            install,
        )
    if "module" in result:
        return ModelError(
            Code.MISSING_PACKAGE, f"{converter.name} cannot be imported: {_line(said)}", install
        )
    if raised == "MemoryError":
        return ModelError(_died(f"{converter.name} ran out of memory", log))
    fact = f"{converter.name} cannot convert the model: {_line(said) or raised}"
    return ConversionRefused(Problem(Code.CONVERTER_FAILED, fact, details=_last_words(log)), raised, said)


def _crash(converter: Converter, code: int, log: Path) -> Problem:
    tail = _tail(log)
    if any(sign in tail for sign in _OUT_OF_MEMORY):
        return _died(f"{converter.name} ran out of memory", log)
    if code < 0:
        name = signal.Signals(-code).name if -code in {item.value for item in signal.Signals} else str(-code)
        hint = _HINTS.get(name, "a library that it uses crashed")
        return _died(f"{converter.name} was ended by {name}: {hint}", log)
    return _died(f"{converter.name} ended with code {code} and no result", log)


def _died(fact: str, log: Path) -> Problem:
    return Problem(Code.CONVERTER_DIED, fact, details=_last_words(log))


def _line(said: str) -> str:
    """The first line that is not empty, as part of a sentence."""
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return line.rstrip(".")


def _last_words(log: Path) -> str:
    """The end of the converter's output, for debugging; empty when there was none."""
    lines = [line.rstrip() for line in _tail(log).splitlines() if line.strip()][-_TAIL_LINES:]
    return "\n".join(["the end of its output was:", *(f"  {line}" for line in lines)]) if lines else ""


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        return file.read().decode(errors="replace")
