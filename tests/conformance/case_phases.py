"""What is done with one case: built raw, imported and built, built with parameters bound, compared in ONNX Runtime.

Runs as a child that handles many cases, one a line on stdin; before each phase it says its name on stdout, so
that whoever started it knows where a crash came from.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance import rtx_probe
from tests.conformance.backend_cases import Case, load_case, parameters
from trtpipe.errors import TrtpipeError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend
from trtpipe.legalization.transforms import Transform, transform_file


def handle(case: Case, folder: Path, skip: frozenset[str], say: Any) -> dict[str, Any]:
    """Every phase of one case that is not in `skip` (because it crashed before)."""
    result: dict[str, Any] = {"name": case.name, "kind": case.kind}
    raw, canonical = folder / "raw.onnx", folder / "model.onnx"
    raw.write_bytes(case.model)

    def phase(name: str, run: Any) -> Any:
        if name in skip:
            return None
        say(name)
        return run()

    built = phase("raw", lambda: rtx_probe.build(raw, case.arrays))
    result["raw"] = asdict(built or rtx_probe.Build(False, "the process crashed"))
    lowered = phase("lower", lambda: _lower(raw, canonical))
    result["lower"] = "the process crashed" if lowered is None else lowered
    if result["lower"]:
        result["build"] = asdict(rtx_probe.Build(False, result["lower"]))
        return result
    built = phase("build", lambda: rtx_probe.build(canonical, case.arrays))
    result["build"] = asdict(built or rtx_probe.Build(False, "the process crashed"))
    result["bound"] = []
    bound = None if result["build"]["built"] else _bound(case, canonical, folder / "bound.onnx", phase)
    if bound is not None and bound[1].built:
        result["bound"], result["build"] = sorted(bound[0]), asdict(bound[1])
        canonical = folder / "bound.onnx"
    result["ort"] = phase("ort", lambda: _compare(case, raw, canonical, set(result["bound"]))) or "crash"
    return result


def _lower(raw: Path, out: Path) -> str:
    try:
        lower_model(frontend, ModelFiles(raw), OnnxOptions(), out)
    except TrtpipeError as error:
        return str(error)
    except Exception as error:
        return f"bug: {type(error).__name__}: {error}"
    return ""


def _bound(case: Case, canonical: Path, out: Path, phase: Any) -> tuple[dict[str, np.ndarray], Any] | None:
    values = parameters(case)
    if not values:
        return None

    def run() -> Any:
        try:
            transform_file(canonical, out, Transform(bind=values))
        except TrtpipeError as error:
            return rtx_probe.Build(False, str(error))
        left = {name: array for name, array in case.arrays.items() if name not in values}
        return rtx_probe.build(out, left)

    built = phase("bound", run)
    return None if built is None else (values, built)


def _compare(case: Case, raw: Path, canonical: Path, bound: set[str]) -> str:
    """`equal`, `mismatch: …`, or `skipped: …` where ONNX Runtime does not reproduce the original."""
    from onnx.backend.test.runner import Runner

    try:
        before = _run(raw, dict(case.inputs))
        expected = list(case.outputs.values()) or before
        Runner.assert_similar_outputs(expected, before, case.rtol, case.atol)
    except Exception as error:
        return f"skipped: {type(error).__name__}"
    try:
        left = {name: value for name, value in case.inputs.items() if name not in bound}
        after = _run(canonical, left)
        Runner.assert_similar_outputs(expected, after, case.rtol, case.atol)
    except Exception as error:
        return f"mismatch: {type(error).__name__}: {str(error)[:400]}"
    return "equal"


def _run(path: Path, inputs: dict[str, Any]) -> list[Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    results: list[Any] = session.run(None, {name: value for name, value in inputs.items() if name in wanted})
    return results


def main() -> None:
    store = Path(sys.argv[1])
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            request = json.loads(line)
            case = load_case(store, request["name"])
            result = handle(
                case, Path(folder), frozenset(request["skip"]), lambda phase: say(f"phase {phase}")
            )
            say("result " + json.dumps(result))


if __name__ == "__main__":
    main()
