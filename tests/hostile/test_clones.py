"""What a clone may not do: choose a program, a package, where a credential goes, or where trtpipe writes.

Each test is an attack that a clone tries, with the commands that a person runs on it first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import warm_commands
from trtpipe import permissions
from trtpipe.git.blame import History
from trtpipe.git.command import is_filtered
from trtpipe.homes import user_file
from trtpipe.loader.project import load_project
from trtpipe.loader.user import load_user
from trtpipe.toolchains import pip
from trtpipe.toolchains.wheel_lock import required_hashes

PACKAGE = str(Path(permissions.__file__).parents[1])
warm_commands.serve_for(Path(PACKAGE))
MODELS = Path(__file__).parents[2] / "pipelines" / "models"
SPEC = """\
schema: 1
pipeline: net
model: {source: models/net.onnx}
variants: {fp32: {}}
targets: {ada: {gpu: sm89TOOLCHAIN}}
"""
LOOKING = (
    ["check"],
    ["plan"],
    ["explain", "net/fp32@ada"],
    ["lock", "--check"],
    ["report"],
    ["ci", "matrix"],
    ["build"],
)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A project that nobody has allowed anything, and a user with secrets."""
    monkeypatch.delenv("TRTPIPE_ALLOW_PROJECT_CODE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "MY_SIGNING_KEY", "TRTPIPE_REMOTE_TOKEN"):
        monkeypatch.setenv(name, "a secret of the user")
    root = tmp_path / "clone"
    (root / "models").mkdir(parents=True)
    (root / "pipelines").mkdir()
    shutil.copy(MODELS / "digits_cnn.onnx", root / "models/net.onnx")
    write_spec(root)
    permissions.forget_grants()
    yield root
    permissions.forget_grants()


def write_spec(root: Path, more: str = "", toolchain: str = "") -> None:
    text = SPEC.replace("TOOLCHAIN", toolchain) + more
    (root / "pipelines/net.yaml").write_text(text)


def run(root: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command, env = [*warm_commands.COMMAND, *arguments], {**os.environ, "PYTHONPATH": PACKAGE}
    if arguments[0] == "allow" and given is None:  # what a person does, not what a clone tries
        return warm_commands.run(command, root, env)
    return subprocess.run(
        command, cwd=root, env=env, input=given, capture_output=True, text=True, timeout=120, check=False
    )


def traces(root: Path) -> list[str]:
    """What the attack would leave: files called PWNED, anywhere about the clone."""
    return [str(path) for path in root.parent.rglob("PWNED*")]


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_an_interpreter_in_a_spec_is_not_run(clone, command):
    write_spec(
        clone,
        "toolchains: {own: {flavour: tensorrt_rtx, python: \"sh -c 'env > PWNED' x\"}}\n",
        ", toolchain: own",
    )

    done = run(clone, *command)

    assert done.returncode != 0
    assert (
        "this project runs the program \"sh -c 'env > PWNED' x\", and you have not allowed it" in done.stderr
    )
    assert "trtpipe allow" in done.stderr
    assert traces(clone) == []


def test_an_interpreter_that_was_allowed_imports_nothing_of_the_clone(clone):
    for name in ("tensorrt_rtx/__init__.py", "json.py", "platform.py", "sitecustomize.py"):
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text(f"open({str(clone / 'PWNED')!r}, 'w')")
    write_spec(
        clone,
        f"toolchains: {{own: {{flavour: tensorrt_rtx, python: {sys.executable}}}}}\n",
        ", toolchain: own",
    )

    allowed = run(clone, "allow", "--yes")
    run(clone, "plan")

    assert allowed.returncode == 0, allowed.stderr
    assert traces(clone) == []


def test_allowing_a_command_does_not_allow_another_nor_a_script_that_changes(clone):
    (clone / "tool.py").write_text("print(1)")
    write_spec(
        clone,
        f"toolchains: {{own: {{flavour: tensorrt_rtx, python: {sys.executable} tool.py}}}}\n",
        ", toolchain: own",
    )
    run(clone, "allow", "--yes")
    first = run(clone, "plan")
    (clone / "tool.py").write_text(f"open({str(clone / 'PWNED')!r}, 'w')")

    second = run(clone, "plan")

    assert "not allowed" not in first.stderr
    assert "you have not allowed it" in second.stderr
    assert traces(clone) == []


def test_pip_is_the_interpreters_and_not_the_clones(clone, monkeypatch, tmp_path):
    (clone / "pip.py").write_text(f"open({str(clone / 'PWNED')!r}, 'w')")
    (clone / "pip").mkdir()
    (clone / "pip/__main__.py").write_text(f"open({str(clone / 'PWNED')!r}, 'w')")
    monkeypatch.chdir(clone)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "target").mkdir()

    done, _ = pip._run(["tensorrt-rtx-cu13==0.0"], tmp_path / "target", [])

    assert done.returncode != 0
    assert b"no matching distribution" in (done.stdout + done.stderr).lower()
    assert traces(clone) == []


def test_a_wheel_of_another_package_in_the_lock_is_not_installed():
    ours = {
        f"tensorrt_rtx_cu13{part}-1.6.1.120-py3-none-any.whl": "0" * 64 for part in ("", "_bindings", "_libs")
    }
    packages = ["tensorrt-rtx-cu13", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"]

    hashed = required_hashes({**ours, "evil-1.0-py3-none-any.whl": "1" * 64}, packages)

    assert len(hashed) == 3
    assert not any("evil" in line for line in hashed)


def test_a_token_goes_to_no_host_that_only_the_clone_names(clone, monkeypatch):
    from trtpipe.workspace.stores import _access

    said: list[str] = []
    address = "https://cache.example.com/prefix"

    assert _access(address, said.append).token == ""
    assert "is not sent to cache.example.com, which only this project names" in said[0]
    file = user_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_text("schema: 1\ncredentials: {cache.example.com: $TRTPIPE_REMOTE_TOKEN}\n")
    assert _access(address, said.append).token == "a secret of the user"
    assert _access("https://other.example.com/prefix", said.append).token == ""
    monkeypatch.setenv("TRTPIPE_REMOTE", address)
    assert _access(address, said.append).token == "a secret of the user"


@pytest.mark.parametrize("directory", ["/", "..", "~"])
def test_a_clone_does_not_widen_its_own_reach(clone, tmp_path, directory):
    (tmp_path / "private.onnx").write_bytes((MODELS / "digits_cnn.onnx").read_bytes())
    (clone / "trtpipe.yaml").write_text(f'schema: 1\nreach: ["{directory}"]\n')
    (clone / "pipelines/net.yaml").write_text(
        SPEC.replace("TOOLCHAIN", "").replace("models/net.onnx", "../private.onnx")
    )

    done = run(clone, "check")

    assert done.returncode == 2
    assert ("you have not allowed it" if directory != "~" else "is outside the project") in done.stderr


def test_reach_that_was_allowed_is_read(clone, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/private.onnx").write_bytes((MODELS / "digits_cnn.onnx").read_bytes())
    (clone / "trtpipe.yaml").write_text('schema: 1\nreach: ["../shared"]\n')
    (clone / "pipelines/net.yaml").write_text(
        SPEC.replace("TOOLCHAIN", "").replace("models/", "../shared/").replace("net.onnx", "private.onnx")
    )

    refused, asked, allowed = run(clone, "plan"), run(clone, "allow"), run(clone, "allow", "--yes")

    assert refused.returncode == 2
    assert asked.returncode == 2
    assert "this is not a terminal" in asked.stderr
    assert f"not allowed: files in the directory '{tmp_path / 'shared'}'" in asked.stdout
    assert allowed.returncode == 0
    assert run(clone, "plan").returncode == 0
    assert "allowed: " in run(clone, "allow", "--list").stdout
    assert run(clone, "allow", "--revoke").returncode == 0
    assert run(clone, "plan").returncode == 2


DATA = """\
schema: 1
python: calibration.waves:draw
"""
CODE = """
import os
import numpy as np

def draw():
    with open("PWNED", "w") as file:
        file.write(repr(dict(os.environ)))
    for _ in range(2):
        yield {"image": np.random.default_rng(0).random((1, 8, 8), np.float32)}
"""
VALIDATE = "validate: {data: waves}\n"


def write_data(root: Path, code: str) -> None:
    (root / "calibration").mkdir(exist_ok=True)
    (root / "calibration/waves.yaml").write_text(DATA)
    (root / "calibration/waves.py").write_text(code)


def preview(root: Path) -> subprocess.CompletedProcess[str]:
    return run(root, "data", "preview", "waves")


def test_code_of_a_data_set_runs_when_it_was_allowed_and_sees_no_secret(clone):
    write_data(clone, CODE)

    refused = preview(clone)
    assert traces(clone) == []
    run(clone, "allow", "--yes")
    done = preview(clone)

    assert (
        "this project runs the Python file 'calibration/waves.py', and you have not allowed it"
        in refused.stderr
    )
    assert done.returncode == 0, done.stderr
    seen = (clone / "PWNED").read_text()
    assert "PATH" in seen
    assert "a secret of the user" not in seen


def test_code_that_changed_must_be_allowed_again(clone):
    write_data(clone, CODE.replace("PWNED", "fine"))
    run(clone, "allow", "--yes")
    write_data(clone, CODE)

    assert "you have not allowed it" in preview(clone).stderr
    assert traces(clone) == []


def test_allowed_code_imports_no_file_that_nobody_has_allowed(clone):
    write_data(clone, "import calibration.helper\n" + CODE.replace("PWNED", "fine"))
    (clone / "calibration/helper.py").write_text("open('PWNED', 'w')")
    run(clone, "allow", "--yes")

    done = preview(clone)

    assert (
        "calibration.waves:draw reads files that the data set does not declare: calibration/helper.py"
        in done.stderr
    )
    assert traces(clone) == []


def test_bytecode_that_a_clone_ships_is_not_run(clone):
    import importlib.util
    import py_compile

    write_data(clone, "import calibration.helper\n" + CODE.replace("PWNED", "fine"))
    (clone / "calibration/waves.yaml").write_text(DATA + "files: [calibration/helper.py]\n")
    helper = clone / "calibration/helper.py"
    helper.write_text("open('PWNED', 'w')")
    cached = Path(importlib.util.cache_from_source(str(helper)))
    py_compile.compile(
        str(helper), str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    helper.write_text("")
    run(clone, "allow", "--yes")

    done = preview(clone)

    assert done.returncode == 0, done.stderr
    assert traces(clone) == []


def test_a_lowering_of_caffe_layers_is_not_run(clone):
    shutil.copy(MODELS / "digits.prototxt", clone / "models/net.prototxt")
    shutil.copy(MODELS / "digits.caffemodel", clone / "models/net.caffemodel")
    (clone / "models/own.py").write_text("open('PWNED', 'w')\nLAYERS = {}")
    options = "{weights: models/net.caffemodel, lowering: models/own.py}"
    model = f"{{source: models/net.prototxt, parser: caffe, options: {options}}}"
    (clone / "pipelines/net.yaml").write_text(
        SPEC.replace("TOOLCHAIN", "").replace("{source: models/net.onnx}", model)
    )

    done = run(clone, "build")

    assert "this project runs the Python file 'models/own.py', and you have not allowed it" in done.stderr
    assert traces(clone) == []


@pytest.mark.parametrize(
    "link",
    [
        ".trtpipe",
        "build/net/fp32@ada",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("build", "build/net")),
    ],
)
def test_a_link_out_of_the_project_is_not_written_through(clone, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (clone / link).parent.mkdir(parents=True, exist_ok=True)
    (clone / link).symlink_to(outside, target_is_directory=True)

    for command in (["build"], ["plan"], ["report"], ["check"]):
        done = run(clone, *command)
        assert done.returncode == 2
        assert f"'{link}' is a link to {outside}, outside the project" in done.stderr

    assert list(outside.iterdir()) == []
    run(clone, "allow", "--yes")
    assert run(clone, "plan").returncode == 0


def test_a_store_that_was_committed_is_not_used(clone):
    run(clone, "build")
    for words in (
        ["init", "-q"],
        ["add", "-f", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", *words], cwd=clone, check=True, capture_output=True)

    done = run(clone, "plan")

    assert done.returncode == 2
    assert "is committed to git: what others built cannot be told from what was built here" in done.stderr
    remedy = ["git", "rm", "-r", "-q", "--cached", ".trtpipe"]
    assert " ".join(remedy).replace(" -q", "") in done.stderr
    subprocess.run(remedy, cwd=clone, check=True)
    shutil.rmtree(clone / ".trtpipe")
    assert run(clone, "plan").returncode == 0


def test_git_runs_no_filter_of_the_repository(clone):
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=clone,
            check=True,
            capture_output=True,
        )

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "a")
    spec = clone / "pipelines/net.yaml"
    assert History(clone).last_change(spec).short
    for name in ("clean", "smudge", "process"):
        git("config", f"filter.evil.{name}", f"touch {clone / 'PWNED'}")
    git("config", "diff.evil.textconv", f"touch {clone / 'PWNED'}")
    git("config", "core.fsmonitor", f"touch {clone / 'PWNED'}")
    (clone / ".gitattributes").write_text("*.yaml filter=evil diff=evil\n")
    spec.write_text(spec.read_text() + "\n")

    assert is_filtered(clone, spec, 5)
    assert History(clone).last_change(spec) is None
    assert History(clone).last_change(spec, 1) is None
    assert traces(clone) == []


def test_what_was_allowed_stays_with_what_the_user_wrote(clone):
    file = user_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    own = "# mine\nschema: 1\ncredentials: {a.example.com: $A_TOKEN} # stays\n"
    file.write_text(own)
    write_data(clone, CODE)

    run(clone, "allow", "--yes")
    run(clone, "allow", "--yes")

    assert file.read_text().startswith(own)
    assert file.read_text().count("allowed:") == 1
    assert [one.project for one in load_user().allowed] == [str(clone.resolve())]
    permissions.forget_grants()
    load_project(clone)
    assert len(permissions._granted) == 1
    run(clone, "allow", "--revoke")
    assert file.read_text() == own


def test_a_damaged_configuration_is_one_error(clone):
    file = user_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_text("schema: 1\nallow: all\n")

    done = run(clone, "plan")

    assert done.returncode == 2
    assert "config.yaml:2" in done.stderr
    assert "Traceback" not in done.stderr
