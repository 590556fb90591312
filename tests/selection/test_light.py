"""`select` is asked at the start of services: what it imports is counted, and the command does without typer."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer.main

from tests.packages.small_packages import contents
from tests.projects import ROOT
from trtpipe.cli.main import app
from trtpipe.cli.shipping.select import _OPTIONS, SelectRequest, read_arguments
from trtpipe.packages.archive import write_archive
from trtpipe.packages.directory import write_directory

HEAVY = {
    "onnx", "onnx_ir", "onnxruntime", "numpy", "pydantic", "rich", "yaml", "typer", "click", "tensorrt", "tensorrt_rtx",
    "cuda", "subprocess", "asyncio", "email", "shutil", "tempfile", "importlib.metadata", "model_signing", "hashlib",
}  # fmt: skip
MOST_MODULES = 36
"""Of trtpipe itself."""


def modules_after(code: str) -> set[str]:
    """The modules that a new process has imported once it ran the code."""
    whole = f"{code}\nimport json, sys\nsys.stderr.write(json.dumps(sorted(sys.modules)))"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin"}
    done = subprocess.run(
        [sys.executable, "-c", whole], env=environment, check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stderr))


@pytest.mark.parametrize("write", [write_directory, write_archive])
def test_the_library_imports_little(tmp_path, write):
    write(contents(), tmp_path / "p")
    before = modules_after("")

    found = modules_after(f"import trtpipe; trtpipe.select({str(tmp_path / 'p')!r})") - before

    assert found & HEAVY == set()
    ours = {name for name in found if name.startswith("trtpipe")}
    assert len(ours) <= MOST_MODULES, sorted(ours)


@pytest.mark.parametrize("arguments", [["--for", "sm89"], ["--for=rtx4090", "--trt", "1.7.1", "--json"], []])
def test_the_command_imports_little(tmp_path, arguments):
    write_directory(contents(), tmp_path / "p")
    argv = ["trtpipe", "select", str(tmp_path / "p"), *arguments]
    code = (
        f"import sys; sys.argv = {argv!r}\nfrom trtpipe.__main__ import main\ntry:\n main()\nexcept SystemExit as end: "
        "assert end.code in (0, 1), end.code"
    )

    found = modules_after(code)

    assert found & HEAVY == set()


def test_importing_the_package_imports_nothing_of_selection():
    assert not any(name.startswith("trtpipe.") for name in modules_after("import trtpipe"))


def test_the_short_reading_knows_the_options_of_the_command():
    command = typer.main.get_command(app).commands["select"]  # type: ignore[attr-defined]
    declared = {one for parameter in command.params for one in parameter.opts if one.startswith("--")}

    assert declared == {*_OPTIONS, "--json", "--help"} - {"--help"}


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (["p"], SelectRequest("p")),
        (["--json", "p"], SelectRequest("p", as_json=True)),
        (["p", "--for", "NVIDIA L4", "--memory=8GiB"], SelectRequest("p", gpu="NVIDIA L4", memory="8GiB")),
        (["p", "--trt", "1.7", "--trt=11.4"], SelectRequest("p", trt=("1.7", "11.4"))),
        (["p", "--check", "e", "--variant", "fp16"], SelectRequest("p", variant="fp16", check="e")),
        (["p", "--os", "linux", "--driver", "580"], SelectRequest("p", driver="580", system="linux")),
    ],
)
def test_plain_arguments_are_read(arguments, read):
    assert read_arguments(arguments) == read


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["p", "q"], ["--help"], ["p", "--for"], ["p", "--for", "--json"], ["p", "--fro", "x"],
        ["p", "--for=a", "--for=b"], ["-p"],
    ],
)  # fmt: skip
def test_everything_else_is_left_to_typer(arguments):
    assert read_arguments(arguments) is None
