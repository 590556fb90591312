"""What is read back of one case: the network that the parser makes of its model, lowered and compared on its inputs.

Runs as a child (`children.py`) that handles many cases with one TensorRT in this very process: a process a case
would take ten times as long, and a crash is the parent's to survive. The parsing is the worker's own code. The
optional second argument is a folder with another `tensorrt_rtx` than the interpreter's.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.runner import Runner
from onnx.reference import ReferenceEvaluator

from tests.conformance.backend_cases import Case, bound, load_case, parameters
from trtpipe.errors import TrtpipeError
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.lowering.result import Lowered
from trtpipe.networks.matches import misfits
from trtpipe.networks.network import ParsedNetwork
from trtpipe.networks.reader import read_network
from trtpipe.runners.comparison.readback import TensorDifference, bound_of, compare_lowered, network_model
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.toolchains.engine_worker import worker

Say = Callable[[str], None]
_NARROWED = "float64"
_PLAIN = ("bool", "float16", "float32", "int8", "int32", "int64", "uint8")
_WIDENED = ("bfloat16", "float64")
"""Types that come as float32: TensorRT has no float64, ONNX Runtime's CPU computes bfloat16 in float32."""


class Parser:
    """TensorRT in this process, for all cases: it has one logger a process."""

    def __init__(self, site: str) -> None:
        sys.path[:0] = [site] if site else []
        trt = importlib.import_module("tensorrt_rtx")
        events = worker.Events(os.open(os.devnull, os.O_WRONLY))
        request = {"flavour": "tensorrt_rtx", "model": "model.onnx", "action": "parse"}
        self.job = worker.Job(request, events, worker.Stop())
        self.job.trt, self.job.logger = trt, worker.new_logger(trt, events, self.job.spoken)
        self.builder = trt.Builder(self.job.logger)
        self.strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def parse(self, say: Say) -> list[str]:
        """Writes down the network of the model in the working directory; why the parser refuses it."""
        network = self.builder.create_network(self.strong)
        network.name = "network"
        self.job.spoken.warnings = []
        say("parse")
        try:
            parser = self.job.parse(network)
        except worker.Failure as failure:
            details: Any = failure.details
            return [f"{one['op'] or 'model'}: {one['reason']}" for one in details] or [failure.message]
        say("read")
        self.job.read(network)
        del parser  # before its network
        return []


def handle(case: Case, folder: Path, skip: frozenset[str], parser: Parser, say: Say) -> dict[str, Any]:
    """The result of one case; `skip` holds the phase that took the process down."""
    result: dict[str, Any] = {"name": case.name, "kind": case.kind, "layers": {}, "unread": {}, "why": ""}
    if skip:
        return result | {"verdict": "crashed", "why": f"the process died in {' and '.join(sorted(skip))}"}
    (folder / "model.onnx").write_bytes(case.model)
    refused = parser.parse(say)
    if refused and parameters(case):
        case = bound(case)
        result["bound"] = True
        (folder / "model.onnx").write_bytes(case.model)
        refused = parser.parse(say)
    if refused:
        return result | {"verdict": "refused", "why": refused[0]}
    say("lower")
    network = read_network(folder)
    lowered = onnx_of(network)
    result["layers"] = dict(Counter(layer.type for layer in network.layers))
    result["unread"] = dict(lowered.unread_by_type)
    result["warnings"] = [one.message for one in network.warnings]
    say("compare")
    return result | _compared(case, network, lowered, folder)


def _compared(case: Case, network: ParsedNetwork, lowered: Lowered, folder: Path) -> dict[str, Any]:
    """The verdict: types and sizes beside the model's, against the model in ONNX Runtime, and the suite's outputs."""
    found = {
        "model": _beside_model(network, folder),
        "runtime": _beside_runtime(case, lowered, folder),
        "suite": _beside_suite(case, lowered, folder),
    }
    said = [f"{name}: {one}" for name, one in found.items()]
    if lowered.unread:
        why = "; ".join(dict.fromkeys(f"{one.type}: {one.why}" for one in lowered.unread))
        return found | {"verdict": "unread", "why": why}
    departing = [one for one in said if ": departs" in one]
    if departing:
        return found | {"verdict": "mismatch", "why": "; ".join(departing)}
    if "equal" in found.values():
        return found | {"verdict": "equal"}
    return found | {"verdict": "not compared", "why": "; ".join(said)}


def _beside_model(network: ParsedNetwork, folder: Path) -> str:
    """`departs: …` where types or sizes are not the model's, but for float64, which TensorRT lacks."""
    unfit = misfits(runnable_model(folder / "model.onnx").proto, network)
    said = [f"'{one.name}' {one.why}" for one in unfit if not one.why.endswith(f"instead of {_NARROWED}")]
    return "departs: " + "; ".join(said) if said else "fits"


def _beside_runtime(case: Case, lowered: Lowered, folder: Path) -> str:
    """`equal`, `departs: …`, or why ONNX Runtime has no say."""
    try:
        typed = runnable_model(folder / "model.onnx")
        read = compare_lowered(typed, lowered, folder, [case.arrays], threads=1)
    except Exception as error:  # of a model that it cannot run, or feeds of types that NumPy lacks
        return f"the model does not run: {_said(error)}"
    if read.equal:
        return "equal"
    if lowered.contradictions or read.not_compared:
        reasons = [f"'{name}': {why}" for name, why in read.not_compared.items()]
        return "departs: " + "; ".join([*reasons, *lowered.contradictions])
    departing = [one for one in read.outputs if one.departs]
    if all(one.misfit.endswith(f"instead of {_NARROWED}") for one in departing):
        return "TensorRT has no float64"
    return "departs: " + "; ".join(f"'{one.tensor}' {one.misfit or one.error}" for one in departing)


def _beside_suite(case: Case, lowered: Lowered, folder: Path) -> str:
    """Likewise for the outputs that the suite gives."""
    wanted = [name for name in case.outputs if name not in lowered.cut]
    if not wanted:
        return "the suite gives no outputs"
    try:
        made = _outputs(network_model(lowered, folder).only_outputs(wanted), case)
    except Exception as error:
        return f"departs: the network does not run: {_said(error)}"
    departing = [why for name in wanted if (why := _unlike(case, name, made[name], folder))]
    return "departs: " + "; ".join(departing) if departing else "equal"


def _outputs(network: RunnableModel, case: Case) -> dict[str, Any]:
    """What a network makes, in ONNX Runtime, or in ONNX's own evaluator where that has no kernel for its types."""
    try:
        with open_runner(network, threads=1) as runner:
            return runner.infer({name: case.arrays[name] for name in runner.inputs})
    except TrtpipeError:
        found = _evaluated(network, case)
        if found is None:
            raise
        return found


def _evaluated(network: RunnableModel, case: Case) -> dict[str, Any] | None:
    """What a network makes in ONNX's own evaluator; None when it fails there."""
    try:
        onnx.load_external_data_for_model(network.proto, str(network.folder))
        evaluator = ReferenceEvaluator(network.proto)
        fed = {name: case.arrays[name] for name in evaluator.input_names}
        return dict(zip(network.outputs(), evaluator.run(None, fed), strict=True))
    except Exception:
        return None


def _unlike(case: Case, name: str, made: Any, folder: Path) -> str:
    """In what an output is not the suite's: within the bound for rounding, or within the suite's own tolerances."""
    wanted, dtype = np.asarray(case.outputs[name]), np.asarray(case.outputs[name]).dtype
    if dtype.name.startswith("float8") and made.dtype == np.uint8:  # ONNX Runtime hands out their bits
        made = made.view(dtype)
    if made.dtype != dtype and not (dtype.name in _WIDENED and made.dtype == np.float32):
        return f"'{name}' is {made.dtype} instead of {dtype}"
    if dtype.name not in _PLAIN:
        wanted, made = wanted.astype(np.float32), made.astype(np.float32)
    found = TensorDifference(name, None, bound_of(runnable_model(folder / "model.onnx")))
    found.add(wanted, made)
    if not found.departs:
        return ""
    try:
        Runner.assert_similar_outputs([wanted], [made], case.rtol, case.atol)
    except AssertionError:
        return f"'{name}' {found.misfit or found.error}"
    return ""


def _said(error: Exception) -> str:
    text = error.problems[0].fact if isinstance(error, TrtpipeError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


def main() -> None:
    store, site = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    parser = Parser(site)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for line in sys.stdin:
            request = json.loads(line)
            case, skip = load_case(store, request["name"]), frozenset(request["skip"])
            result = handle(case, Path(folder), skip, parser, lambda phase: say(f"phase {phase}"))
            say("result " + json.dumps(result))


if __name__ == "__main__":
    main()
