"""What every frontend promises, found by its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trtpipe.frontends import find_frontend, frontend_names
from trtpipe.spec.fields import SpecModel, named_files

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("onnx", "numpy", "onnx_ir", "onnxruntime", "torch", "tensorflow")


@pytest.fixture(params=frontend_names())
def frontend(request):
    return find_frontend(request.param)


def test_it_is_named_as_its_file_and_has_a_version(frontend):
    assert frontend.name in frontend_names()
    assert isinstance(frontend.version, int)
    assert frontend.version >= 1


def test_its_options_are_a_strict_model_whose_every_field_is_documented(frontend):
    from trtpipe.loader.schema import field_docs

    assert issubclass(frontend.Options, SpecModel)
    assert frontend.Options.__doc__
    assert set(frontend.Options.model_fields) <= set(field_docs(frontend.Options))


def test_the_option_for_a_second_file_is_one_that_names_a_file(frontend):
    if not frontend.companion:
        return
    named = frontend.Options.model_validate({frontend.companion: "second.bin"})

    assert dict(named_files(named)) == {(frontend.companion,): "second.bin"}


def test_none_of_its_options_is_required(frontend):
    if frontend.needs_source:
        frontend.Options.model_validate({})  # as for `init` of its file alone; `read` says what is missing


def test_an_extra_that_it_needs_is_one_of_trtpipes(frontend):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert bool(frontend.packages) <= bool(frontend.extra)
    assert not frontend.extra or frontend.extra in extras


@pytest.mark.parametrize("name", frontend_names())
def test_importing_it_imports_nothing_heavy(name):
    code = f"import sys, trtpipe.frontends.{name}; print([one for one in {HEAVY} if one in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip() == "[]"


def test_it_takes_no_unknown_file_for_its_own(frontend, tmp_path):
    strange = tmp_path / "strange.bin"
    strange.write_bytes(bytes(range(256)) * 4)

    if frontend.name == "onnx":
        pytest.skip("onnx is asked last, and says what is wrong")
    assert frontend.propose(strange) is None
