"""The process in which a converter runs: in a folder that holds `request.json`.

Calls `convert` of the converter that the request names and writes the result to `result.json`: the facts that it
returned, or the exception. Standard library only, independent of trtpipe and of the converted format.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from types import ModuleType

    from trtpipe.json_values import Json

_LONGEST = 2000
_MOST_CAUSES = 20


class Message(TypedDict):
    """The converter's file, what it is asked, and where packages are found."""

    converter: str
    request: dict[str, Json]
    path: list[str]


class Outcome(TypedDict, total=False):
    """`facts`, or the class and message of an exception and, if a module is missing, its name."""

    facts: dict[str, Json]
    raised: str
    said: str
    module: str


def main() -> None:
    """Run the converter of the request in this folder; write the result, even if that is an error."""
    request = json.loads(Path("request.json").read_bytes())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a conversion stops
    sys.path[:] = request["path"]
    result = _outcome(request)
    whole = Path("result.json.part")
    whole.write_text(json.dumps(result))
    whole.replace("result.json")


def _outcome(request: Message) -> Outcome:
    """What `convert` returned, or what it raised."""
    try:
        return {"facts": _converter(request["converter"]).convert(request["request"])}
    except ImportError as error:
        traceback.print_exc()
        outcome = _raised(error)
        outcome["module"] = error.name or ""
        return outcome
    except Exception as error:
        traceback.print_exc()
        return _raised(error)


def _converter(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("converter", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _raised(error: Exception) -> Outcome:
    """The exception's class, and the message of its first cause."""
    cause: BaseException = error
    for _ in range(_MOST_CAUSES):
        cause = cause.__cause__ or cause
    return {"raised": type(error).__name__, "said": str(cause)[:_LONGEST]}
