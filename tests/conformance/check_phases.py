"""What `check` says of one case without asking TensorRT: proofs of its source, its import, rules about its types.

Runs as a child (`children.py`) that handles many cases, for native code may take the process down. It puts together
what `check --no-parse` runs, in one process, for thousands of models; `test_score.py` holds some of them against the
command itself.

    check_phases.py CASES TYPED INDEX VERSION      (INDEX: what `typed_phases.py` made, in a file)
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from tests.conformance.backend_cases import Case, load_case
from tests.conformance.typed_phases import FORMS
from trtpipe.canonical.checks import check_model
from trtpipe.canonical.edits import sort_nodes
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.names import name_nodes
from trtpipe.errors import Problem, TrtpipeError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.onnx import OnnxOptions, frontend
from trtpipe.legalization.rewrites import rewrite_as_imported
from trtpipe.proofs.engine_limits.proof import engine_refusals
from trtpipe.proofs.foreign_types import foreign_values
from trtpipe.proofs.model import prove_model, view_model
from trtpipe.proofs.refused_forms import refused_forms
from trtpipe.proofs.rtx_operators import operator_refusals
from trtpipe.proofs.typed_nodes import typed_model
from trtpipe.spec.pipeline import ProfileInput, ShapeValues
from trtpipe.targets.compute_capability import ADA
from trtpipe.targets.types_by_gpu import missing_types
from trtpipe.toolchains.detect import driver_may_be_here


class Place(NamedTuple):
    """Where typed models are, which TensorRT-RTX is asked about, and a folder to work in."""

    typed: Path
    version: str
    folder: Path


def source_problems(model: bytes, arrays: dict[str, np.ndarray], place: Place) -> tuple[list[str], Any]:
    """What the proofs refuse of a model as it is read, at one profile of the sizes that it is fed; and the model."""
    try:
        source = place.folder / "source.onnx"
        source.write_bytes(model)
        proto = frontend.read(ModelFiles(source), OnnxOptions(), place.folder)
        proto.graph.name = proto.graph.name or "main"
        sort_nodes(proto)
        rewrite_as_imported(proto)
        check_model(proto)
        name_nodes(proto)
        view = view_model(proto)
        found = prove_model(proto, _profiles(view, arrays))
        nodes = view.live_nodes()
        foreign = foreign_values(view)
        found += refused_forms(view.proto, nodes) + ([foreign.problem] if foreign else [])
        plain = [node for node in nodes if not foreign or node.output[0] not in foreign.nodes]
        found += operator_refusals(plain, place.version)
    except TrtpipeError as error:
        return [_told(problem) for problem in error.problems], None
    return [_told(one) for one in found if one.severity == "error"], view.proto


def _profiles(view: Any, arrays: dict[str, np.ndarray]) -> tuple[Any, ...]:
    """One profile whose min, opt and max are the sizes and values of the case; none where none is needed."""
    if not view.needs_profile:
        return ()
    ranges = {}
    for info in view.inputs:
        array, use = arrays.get(info.name), view.value_inputs.get(info.name)
        if array is None or (use is None and not info.dynamic_axes) or (use and use.only_constant):
            continue
        sizes = dict.fromkeys(("min", "opt", "max"), array.shape) if info.dynamic_axes else {}
        if use is not None:
            numbers = tuple(int(one) for one in array.reshape(-1))
            sizes["values"] = ShapeValues(min=numbers, opt=numbers, max=numbers)
        ranges[info.name] = ProfileInput(**sizes)
    return (ranges,) if ranges else ()


def _told(problem: Problem) -> str:
    return f"{problem.code} {problem.fact}"


def handle(
    case: Case, keys: dict[str, Any], place: Place, skip: frozenset[str], say: Callable[[str], None]
) -> dict[str, Any]:
    """Form and precision → what is refused, a list; empty where `check` says that it can be built."""
    verdicts: dict[str, list[str]] = {}
    sources: dict[str, Any] = {}
    for key, made in keys.items():
        form = key.partition("/")[0]
        if f"source-{form}" in skip or f"limits-{key}" in skip:
            verdicts[key] = ["the process crashed"]
            continue
        if form not in sources:
            say(f"source-{form}")
            one = FORMS[form](case)
            sources[form] = source_problems(one.model, one.arrays, place)
        refused, source = sources[form]
        if not refused and "model" in made:
            say(f"limits-{key}")
            encoded, _ = pickle.loads((place.typed / f"{made['model']}.built").read_bytes())
            model = onnx.load_model_from_string(encoded)
            dtypes = typed_model(model, Inferred(infer_values(model))).dtypes
            found = [
                *missing_types("tensorrt_rtx", [ADA], dtypes),
                *engine_refusals(model, place.version, source, driver=driver_may_be_here()),
            ]
            refused = [_told(one) for one in found if one.severity == "error"]
        elif not refused:
            refused = [f"import: {made['refused']}"]
        verdicts[key] = refused
    return {"name": case.name, "verdicts": verdicts}


def main() -> None:
    store = Path(sys.argv[1])
    index = {one["name"]: one["models"] for one in json.loads(Path(sys.argv[3]).read_text())}
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(sys.argv[2]), sys.argv[4], Path(folder))
        for line in sys.stdin:
            request = json.loads(line)
            case, skip = load_case(store, request["name"]), frozenset(request["skip"])
            said = handle(case, index[request["name"]], place, skip, lambda one: say(f"phase {one}"))
            say("result " + json.dumps(said))


if __name__ == "__main__":
    main()
