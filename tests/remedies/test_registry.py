"""Every code that is ever given a remedy has a row that applies one, or stands here with the reason why not."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from pathlib import Path

from trtpipe.problem_codes import Code

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent

NOT_APPLIED = {
    Code.CACHE_OUTDATED: "the remedy is to calibrate again on data: test_layer_remedies does so for other reasons",
    Code.CALIBRATION_FAILED: "needs a library of calibrators that fails",
    Code.CODE_NOT_ALLOWED: "tests/hostile allows what the message names, and sees it run",
    Code.CONVERTER_DIED: "no remedy: the converter's last words; needs PyTorch or TensorFlow",
    Code.CONVERTER_FAILED: "no remedy: the converter's last words; needs PyTorch or TensorFlow",
    Code.DISK_FULL: "needs a full disk: the slow tests of endtoend/test_robustness fill one and build again",
    Code.FUNCTIONS_NOT_INLINED: "the remedy is to export the model again",
    Code.INDEX_UNREACHABLE: "needs a machine without a network: toolchains/test_provision has the refusals",
    Code.INSTALL_FAILED: "needs an installer that fails: toolchains/test_provision has the refusals",
    Code.INTERRUPTED: "needs Ctrl-C: endtoend/test_robustness goes on after it",
    Code.INVALID_VALUE: "only plug-ins' own ValueErrors have it, and the words are theirs",
    Code.MODEL_CHANGED: "a race, gone by the time the remedy is read",
    Code.NONFINITE_TENSORS: "the remedy is to look at the samples",
    Code.NOTHING_TO_EXPECT: "the remedy is data of the user's own, or a threshold that they accept",
    Code.NOTHING_QUANTIZED: "no remedy: the reasons why nothing is quantized",
    Code.NOT_MEASURED: "the remedy is to drop the threshold",
    Code.NO_PACKAGES: "needs an index that lacks a version: toolchains/test_provision has the refusals",
    Code.OPSET_TOO_OLD: "needs a model that ONNX's converter cannot bring to a newer opset",
    Code.OTHER_PACKAGES: "needs an index that serves other bytes: toolchains/test_provision has the refusals",
    Code.OUT_OF_REACH: "needs a search that finds nothing: endtoend/test_auto_story gives it more",
    Code.OVER_BUDGET: "needs a search: endtoend/test_auto_story",
    Code.PYTORCH_VERSION: "needs two versions of PyTorch",
    Code.TOOLCHAIN_CHANGED: "needs an index to install from again",
    Code.UFF_OPERATION: "the remedy is to convert the model again",
    Code.WORKER_DIED: "no remedy: what may have been the cause",
}


def with_a_remedy(path: Path) -> set[str]:
    """The names of the codes of the problems that a module words with a remedy."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if not isinstance(call, ast.Call):
            continue
        codes = [one.attr for one in call.args if isinstance(one, ast.Attribute) and _is_code(one)]
        words = [one for one in call.args if not (isinstance(one, ast.Attribute) and _is_code(one))]
        named = any(one.arg == "remedy" for one in call.keywords)
        text = ast.unparse(call.func).endswith("WrongValue") and words and "; " in ast.unparse(words[0])
        if codes and (named or len(words) > 1 or text):
            found.add(codes[0])
    return found


def _is_code(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "Code"


def applied() -> Counter[str]:
    """How many rows apply a remedy of each code."""
    found: Counter[str] = Counter()
    for path in sorted(HERE.glob("test_*.py")):
        if path != Path(__file__):
            module = importlib.import_module(path.stem)
            found.update(row.code.name for row in getattr(module, "ROWS", ()))
            found.update(code.name for code in getattr(module, "CODES", ()))
    return found


def test_every_code_with_a_remedy_has_a_row_or_a_reason():
    offered = set().union(*(with_a_remedy(path) for path in (ROOT / "trtpipe").rglob("*.py")))
    excused = {code.name for code in NOT_APPLIED}

    assert offered - set(applied()) - excused == set(), "apply the remedy in a row of tests/remedies"


def test_no_reason_outlives_its_row():
    assert {code.name for code in NOT_APPLIED} & set(applied()) == set()
