"""What is imported is declared, floors are said alike everywhere, and the recipe for a team names what there is."""

from __future__ import annotations

import ast
import re
import shlex
import sys

import pytest
from packaging.requirements import Requirement

from tests.package_source import ROOT, modules, nodes_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="not run: needs tomllib of Python 3.11, or tomli")

TEXT = (ROOT / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]
EXTRAS = PROJECT["optional-dependencies"]
TEAM = (ROOT / "docs/team.md").read_text()
MODULES = {
    "yaml": "pyyaml", "PIL": "pillow", "google": "protobuf", "cuda": "cuda-python", "backports": "backports-zstd",
    "tensorrt_rtx": "tensorrt-rtx-cu13", "tensorrt": "tensorrt-cu13", "modelopt": "nvidia-modelopt",
    "onnx_ir": "onnx-ir", "compression": "backports-zstd",
}  # fmt: skip
"""Module → the distribution that brings it, where the names differ."""
BROUGHT_ALONG = {
    "ml_dtypes": "onnx",
    "pydantic_core": "pydantic",
    "packaging": "onnxruntime",
    "click": "typer",
}
"""Module → the declared package that cannot do without it."""


def requirements() -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    found = [Requirement(line) for line in lines]
    return {normal(one.name): one for one in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def floor(one: Requirement) -> str:
    return next((spec.version for spec in one.specifier if spec.operator in (">=", "==")), "")


def imported() -> set[str]:
    """The top of every module that trtpipe imports anywhere."""
    found = set()
    for path in modules():
        for node in nodes_of(path):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"trtpipe"}


def test_whatever_is_imported_is_declared_or_cannot_be_missing():
    declared = requirements()

    for module in imported():
        name = normal(MODULES.get(module, BROUGHT_ALONG.get(module, module)))
        assert name in declared, f"trtpipe imports {module}: declare {name} in pyproject.toml"


def test_every_package_has_a_floor():
    assert [
        name for name, one in requirements().items() if not floor(one) and not name.startswith("trtpipe")
    ] == []


def test_floors_that_exclude_flaws_name_the_advisory():
    flawed = ("pyyaml", "pydantic", "onnx", "protobuf", "filelock", "cryptography", "pillow", "pyarrow")
    lines = TEXT.splitlines()
    for name in flawed:
        at = next(number for number, line in enumerate(lines) if f'"{name}>=' in line)
        assert re.search(r"(CVE-\d{4}-\d{4,}|GHSA(-\w{4}){3})", lines[at - 1] + lines[at]), name


def test_floors_that_pages_name_are_those_of_the_project():
    declared = requirements()
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for name, version in re.findall(r"\b([A-Za-z][\w.-]*)\s*>=\s*(\d[\d.]*\d)", path.read_text()):
            if normal(name) in declared:
                assert floor(declared[normal(name)]) == version, f"{path.name}: {name}"


class TestTeam:
    """docs/team.md."""

    def commands(self) -> list[list[str]]:
        blocks = re.findall(r"```bash\n(.*?)```", TEAM, re.S)
        return [shlex.split(line) for block in blocks for line in block.splitlines()]

    def test_the_extras_that_it_names_exist(self):
        (wanted,) = re.findall(r"```\ntrtpipe\[(.*?)\]\n```", TEAM)

        assert set(wanted.split(",")) <= EXTRAS.keys()

    def test_its_oldest_python_is_that_of_the_project(self):
        asked = {
            line[line.index("--python-version") + 1] for line in self.commands() if "--python-version" in line
        }

        assert {f">={one}" for one in asked} == {PROJECT["requires-python"]}

    def test_every_file_that_is_written_or_installed_has_hashes(self):
        for line in self.commands():
            if "compile" in " ".join(line[:3]):
                assert "--generate-hashes" in line and "requirements.in" in line
                assert line[line.index("--output-file") + 1] == "requirements.txt"
            if "install" in line or line[:3] == ["uv", "pip", "sync"]:
                assert "--require-hashes" in line

    def test_its_packages_are_declared(self):
        for line in self.commands():
            if "--upgrade-package" in line:
                assert normal(line[line.index("--upgrade-package") + 1]) in requirements()

    def test_its_own_commands_exist(self):
        from typer.main import get_command

        from trtpipe.cli.main import app

        known = get_command(app).commands
        ours = [line for line in self.commands() if line[0] == "trtpipe"]
        assert ours and all(line[1] in known for line in ours)
        assert "team.md" in (ROOT / "README.md").read_text()
