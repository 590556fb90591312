"""Makes the typed models of one case: imported, then given a precision, as a build makes them before any engine.

Runs as a child (`children.py`) that handles many cases, for native code may take the process down. A typed model is
kept once, under its digest, with the arrays that its inputs are fed.

    typed_phases.py CASES OUT FORMS PRECISIONS      (the last two: names with commas between them)
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.conformance.backend_cases import Case, bound, load_case, parameters
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.writer import write_model
from trtpipe.errors import TrtpipeError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.onnx import OnnxOptions, frontend
from trtpipe.legalization.legalize import legalize
from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.files import rewrite_file

FORMS: dict[str, Callable[[Case], Case]] = {"plain": lambda case: case, "bound": bound}


@dataclass(frozen=True)
class Workplace:
    """Where typed models go, and what makes them."""

    out: Path
    folder: Path
    evaluator: Evaluator
    forms: tuple[str, ...]
    precisions: tuple[str, ...]

    def handle(self, case: Case, skip: frozenset[str], say: Callable[[str], None]) -> dict[str, Any]:
        """Form and precision → the digest of the typed model, or why there is none."""
        models: dict[str, dict[str, str]] = {}
        for form in self.forms:
            if form == "bound" and not parameters(case):
                continue
            made = FORMS[form](case)
            source, canonical = self.folder / "source.onnx", self.folder / "canonical.onnx"
            source.write_bytes(made.model)
            refused = "the process crashed"
            if f"import-{form}" not in skip:
                say(f"import-{form}")
                refused = import_model(source, canonical, self.evaluator)
            for precision in self.precisions:
                phase = f"cast-{form}-{precision}"
                if refused or phase in skip:
                    models[f"{form}/{precision}"] = {"refused": refused or "the process crashed"}
                    continue
                say(phase)
                typed = self.folder / "typed.onnx"
                models[f"{form}/{precision}"] = _typed(canonical, typed, precision, made, self.out)
        return {"name": case.name, "kind": case.kind, "models": models}


def import_model(source: Path, canonical: Path, evaluator: Evaluator) -> str:
    """Imports a model as the import step does, with one child for the constants of all cases; why it is refused."""
    evaluator.crashes = 0
    try:
        model = frontend.read(ModelFiles(source), OnnxOptions(), evaluator.workplace)
        legalize(model, evaluator)
        write_model(model, canonical)
    except TrtpipeError as error:
        return str(error)
    except Exception as error:
        return f"bug: {type(error).__name__}: {error}"
    return ""


def _typed(canonical: Path, typed: Path, name: str, case: Case, out: Path) -> dict[str, str]:
    precision = find_precision(name)
    assert precision is not None
    try:
        rewrite_file(precision, canonical, typed)
    except TrtpipeError as error:
        return {"refused": str(error)}
    except Exception as error:
        return {"refused": f"bug: {type(error).__name__}: {error}"}
    model = onnx.load(typed)  # with what is kept in files
    return {"model": keep(out, model.SerializeToString(), case.arrays)}


def keep(out: Path, model: bytes, arrays: dict[str, np.ndarray]) -> str:
    """Keeps a model with its inputs; its digest."""
    shapes = repr(sorted((name, array.shape) for name, array in arrays.items()))
    digest = hashlib.sha256(model + shapes.encode()).hexdigest()[:20]
    (out / f"{digest}.built").write_bytes(pickle.dumps((model, arrays)))
    return digest


def main() -> None:
    store = Path(sys.argv[1])
    forms, precisions = tuple(sys.argv[3].split(",")), tuple(sys.argv[4].split(","))
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as folder, Evaluator(Path(folder)) as evaluator:
        place = Workplace(Path(sys.argv[2]), Path(folder), evaluator, forms, precisions)
        for line in sys.stdin:
            request = json.loads(line)
            case = load_case(store, request["name"])
            made = place.handle(case, frozenset(request["skip"]), lambda name: say(f"phase {name}"))
            say("result " + json.dumps(made))


if __name__ == "__main__":
    main()
