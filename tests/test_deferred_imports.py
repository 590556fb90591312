"""sympy is not imported until something of it is used; then it is what it always was."""

from __future__ import annotations

import subprocess
import sys

STORY = """
import sys
from trtpipe.deferred_imports import defer_imports
defer_imports()
import onnx_ir
assert "sympy.core" not in sys.modules, "it was imported"
dim = onnx_ir.SymbolicDim("n") + 1
assert "sympy.core" in sys.modules
assert str(dim.value) == "n + 1", dim.value
import sympy
assert sympy.Max(1, 2) == 2
"""


def test_a_model_s_dimensions_can_be_added_up_all_the_same():
    ended = subprocess.run([sys.executable, "-c", STORY], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
