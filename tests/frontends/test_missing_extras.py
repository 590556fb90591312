"""Without an extra: one line that says what to install, and a first spec as far as the file alone tells it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frontends.foreign_files import LINE, write_pt2

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {"tensorflow": "line.pb", "pytorch": "net.pt2"}
SPEC = """\
schema: 1
pipeline: net
model:
  source: {source}
  parser: {parser}
  options: {options}
variants: {{fp32: {{}}}}
targets: {{ada: {{gpu: sm89}}}}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "line.pb").write_bytes(LINE)
    write_pt2(tmp_path / "net.pt2")
    return tmp_path


@pytest.fixture(params=sorted(SOURCES))
def parser(request):
    package = {"tensorflow": "tf2onnx", "pytorch": "onnxscript"}[request.param]
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"not run: {package} is installed")
    return request.param


def trtpipe(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from trtpipe.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["check", "build", "plan"])
def test_a_spec_gets_one_error_where_it_names_the_parser(project, parser, command):
    options = "{inputs: [x], outputs: [y]}" if parser == "tensorflow" else "{}"
    text = SPEC.format(source=SOURCES[parser], parser=parser, options=options)
    (project / "pipelines" / "net.yaml").write_text(text)

    done = trtpipe(project, command)

    needed = {"tensorflow": "tensorflow and tf2onnx", "pytorch": "torch and onnxscript"}[parser]
    said = (done.stderr + done.stdout).splitlines()
    assert done.returncode == 2
    assert said[0] == f"pipelines/net.yaml:5:11: parser '{parser}' needs {needed}"
    assert said[3] == f"  install it: pip install 'trtpipe[{parser}]'"
    assert sum("pipelines/net.yaml:" in line for line in said) == 1


def test_init_writes_what_the_file_tells_and_says_what_it_could_not(project, parser):
    done = trtpipe(project, "init", SOURCES[parser])

    (written,) = (project / "pipelines").glob("*.yaml")
    text = written.read_text()
    assert done.returncode == 0
    assert f"warning: the model was not read: parser '{parser}' needs " in done.stderr
    assert f"pip install 'trtpipe[{parser}]'" in text.splitlines()[0]
    assert f"parser: {parser}" in text
    if parser == "tensorflow":
        assert "options: {inputs: [x], outputs: [y]}" in text
    checked = trtpipe(project, "check")
    assert "1 error" in checked.stdout + checked.stderr


def test_a_pickle_is_refused_by_init(project):
    (project / "net.pt").write_bytes(b"\x80\x02cos\nsystem\n.")

    done = trtpipe(project, "init", "net.pt")

    assert done.returncode == 2
    assert done.stderr.startswith("'net.pt' is a pickle\n")
    assert not list((project / "pipelines").iterdir())
