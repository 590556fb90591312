"""What is slow to import is not imported until something of it is used; then it is what it always was."""

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


WITHOUT_A_GRAFT = """
import sys
from pathlib import Path
from trtpipe.stages.transforms import graft_of
assert graft_of({}, {}, None, Path()) is None
assert "trtpipe.loader.specs" not in sys.modules, "it was imported"
"""


def test_a_step_without_a_graft_does_not_import_the_reader_of_specs():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_GRAFT], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
