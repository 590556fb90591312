"""Converters, installers, interpreters and git: each fails as a stand-in for it can, and is then used as the remedy says."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.remedies.remedy_places import Place, Question, Row, apply, assert_extra_brings
from tests.remedies.small_models import relu
from tests.remedies.test_import_remedies import (
    IMAGE,
    PLAIN,
    caffe,
    layer,
    plain,
    program_of,
    pt2,
    uff,
    uff_row,
)
from tests.remedies.test_target_remedies import toolchain
from tests.toolchains.provisioning_fakes import FakePip
from tests.uff_writer import mark
from tests.uff_writer import node as uff_node
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.spec.pipeline import ToolchainSpec

# -- converters


def convert(place: Place) -> None:
    """Run a converter that imports PyTorch, of which the machine has what lies in `site`."""
    from trtpipe.frontends.conversion import converters

    there = [one for one in sys.path if "-packages" not in one]
    place.patch.setattr(converters, "_search_path", lambda: [str(place.root / "site"), *there])
    place.write("convert.py", "def convert(request):\n    from torch import export\n    return {}\n")
    made = converters.Converter(place.root / "convert.py", "stand-in", "pytorch")
    folder = next(one for n in itertools.count() if not (one := place.root / f"work{n}").exists())
    folder.mkdir()
    converters.run_converter(made, {}, folder)


def torch_installed(place: Place, match: re.Match[str]) -> None:
    """What pip would bring: the extra that the line names has it."""
    assert_extra_brings(match[1], "torch")
    place.write("site/torch.py", "export = 1\n")


def loading(written_by: str) -> Callable[[Place], object]:
    """Load a program, with a PyTorch that loads its own programs only."""
    from trtpipe.frontends.conversion.converters import ConversionRefused
    from trtpipe.frontends.torch_format import loaders

    def ask(place: Place) -> None:
        here = (place.root / "torch.version").read_text()
        place.patch.setattr(loaders, "_installed", lambda: here)
        with loaders.in_words_of_versions(written_by):
            if written_by != here:
                refused = Problem(Code.CONVERTER_FAILED, "it cannot be loaded")
                raise ConversionRefused(refused, "CannotLoad", "no such operator")

    return ask


def lacking(place: Place) -> None:
    """An exported program whose archive lacks one of its files."""
    import zipfile

    pt2()(place)
    with zipfile.ZipFile(place.root / "net.pt2") as whole:
        kept = {one: whole.read(one) for one in whole.namelist() if "constants_config" not in one}
    with zipfile.ZipFile(place.root / "net.pt2", "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, data)


def targets_of(place: Place) -> None:
    from trtpipe.frontends.torch_format.archive import read_pt2

    read_pt2(place.root / "net.pt2").targets()


def nameless(place: Place) -> None:
    """An exported program one of whose nodes does not say what it calls."""
    from tests.frontends.foreign_files import program

    described = program()
    described["graph_module"]["graph"]["nodes"] = [{"target": 5}]
    pt2(described=described)(place)


def exported(place: Place, _: re.Match[str]) -> None:
    pt2()(place)


CONVERTERS = [
    Row("no PyTorch", Code.MISSING_PACKAGE, r"pip install 'trtpipe\[(\w+)\]'", torch_installed, ask=convert),
    Row("a PyTorch that cannot be imported", Code.MISSING_PACKAGE, r"pip install 'trtpipe\[(\w+)\]'", torch_installed, {"site/torch.py": "x = 1\n"}, ask=convert),
    Row("another PyTorch", Code.PYTORCH_VERSION, r"or install the other: pip install torch==([\d.]+)",
        lambda place, m: place.write("torch.version", m[1]) and None, {"torch.version": "2.8.0"}, ask=loading("2.1.0")),
    Row("another PyTorch, exported again", Code.PYTORCH_VERSION, r"export it again with PyTorch ([\d.]+),", lambda _, m: loading(m[1]),
        {"torch.version": "2.8.0"}, ask=loading("2.1.0")),
    Row("a file that the program lacks", Code.PYTORCH_DAMAGED, "export the model again", exported, ask=program_of, before=lacking),
    Row("nodes that are not described", Code.NOT_PYTORCH, "export it again", exported, ask=targets_of, before=nameless),
    uff_row("an unknown function", Code.UFF_OPERATION, uff([IMAGE, uff_node("Activation", "y", "x", func="rel"), *mark("y")]),
            r"it must be one of .*relu", plain),
    uff_row("a node of two kinds", Code.NOT_UFF, uff(PLAIN).replace(b"Activation", b"Activat\xffon"), "convert or copy the model again", plain),
]  # fmt: skip


def weights_for_the_net() -> Row:
    one = caffe("the weights for the prototxt", Code.FILE_TOO_LARGE, layer('type: "ReLU"') + "#" * 4000, "give the prototxt, not the weights", layer('type: "ReLU"'))  # fmt: skip
    limit = "trtpipe.frontends.caffe_format.prototext.LARGEST"
    return Row(
        one.name,
        one.code,
        one.remedy,
        one.cure,
        one.files,
        one.ask,
        lambda place: place.patch.setattr(limit, 2000),
    )


# -- toolchains

RTX, OLD = "tensorrt_rtx", "1.6.1.120"
NAME = f"{RTX}-{OLD}"
LIBS = hashlib.sha256(b"tensorrt_rtx_cu13_libs").hexdigest()


def fakes(place: Place) -> FakePip:
    """A pip that reaches no index, and a directory for what it installs."""
    folder = place.root / "fake"
    folder.mkdir()
    place.patch.setenv("TRTPIPE_TOOLCHAINS", str(place.root / "toolchains"))
    place.patch.delenv("FAKE_PIP_MODE", raising=False)
    return FakePip(folder, place.patch)


def failing(mode: str, where: str = "True") -> Callable[[Place], object]:
    """A pip that fails in a mode where something holds of what it is asked."""

    def before(place: Place) -> None:
        script = fakes(place).script
        asked = 'mode = os.environ.get("FAKE_PIP_MODE", "ok")'
        text = script.read_text()
        assert asked in text
        script.write_text(text.replace(asked, f'mode = "{mode}" if {where} else "ok"'))

    return before


def provisioned(place: Place, version: str = OLD, **how: bool) -> None:
    from trtpipe.toolchains.provision import provision

    provision(RTX, version, **how)


def ready(place: Place) -> None:
    """What a build does before it starts a toolchain's interpreter."""
    from trtpipe.toolchains.resolve import planned_toolchain, ready_toolchain
    from trtpipe.toolchains.wheel_lock import LOCK_FILE, WheelLock

    ready_toolchain(planned_toolchain(RTX, OLD), lock=WheelLock(place.root / LOCK_FILE))


def with_python(place: Place, _: re.Match[str]) -> Question:
    """The toolchain has a `python:` that has TensorRT: this one."""
    from trtpipe.toolchains.resolve import locate_toolchain, ready_toolchain

    def ask(_: Place) -> object:
        found = locate_toolchain(None, ToolchainSpec(flavour=RTX, python=sys.executable))
        return [found] if isinstance(found, Problem) else ready_toolchain(found, lock=None) and None

    return ask


def elsewhere(place: Place, match: re.Match[str]) -> None:
    place.patch.setenv(match[1], str(place.root / "roomy"))


def full(place: Place) -> None:
    """No space is left in the directory of toolchains."""
    import tempfile

    fakes(place)
    make = tempfile.mkdtemp

    def refuse(*given: object, **named: object) -> str:
        if Path(str(named["dir"])) == place.root / "toolchains":
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(*given, **named)

    place.patch.setattr(tempfile, "mkdtemp", refuse)


def as_a_file(place: Place) -> None:
    """Where the toolchains' directory would be, there is a file."""
    fakes(place)
    place.write("toolchains", "")


def without_pip(place: Place) -> None:
    from trtpipe.toolchains import pip

    fakes(place)
    place.found = pip.find_installer
    place.patch.setattr(pip, "find_installer", lambda: None)


def with_pip(place: Place, _: re.Match[str]) -> None:
    from trtpipe.toolchains import pip

    place.patch.setattr(pip, "find_installer", place.found)


def old_pip(place: Place) -> None:
    """A pip whose report is not as pip writes it now."""
    script = fakes(place).script
    place.new = script.read_text()
    script.write_text(place.new.replace("json.dumps(report)", '"{}"'))


def updated_pip(place: Place, _: re.Match[str]) -> None:
    (place.root / "fake/pip").write_text(place.new)


def installed(place: Place, then: Callable[[Place], object]) -> None:
    fakes(place)
    ready(place)
    then(place)


def other_wheels(place: Place) -> None:
    lock = place.root / "trtpipe-toolchains.lock"
    lock.write_text(lock.read_text().replace(LIBS, "0" * 64))


def on_another_machine(place: Place) -> None:
    """The lock names other wheels than the index serves."""
    other_wheels(place)
    place.patch.setenv("TRTPIPE_TOOLCHAINS", str(place.root / "another"))


def lines_taken_out(place: Place, match: re.Match[str]) -> None:
    """The lock without the lines of a toolchain."""
    lock = place.root / "trtpipe-toolchains.lock"
    kept, within = [], False
    for line in lock.read_text().splitlines():
        within = line.strip() == f"{match[1]}:" or (within and line.startswith("    "))
        kept += [] if within else [line]
    text = "\n".join(kept) + "\n"
    lock.write_text(text if "tensorrt_rtx-" in text else text.replace("toolchains:", "toolchains: {}"))


def meddled(place: Place) -> None:
    (library,) = (place.root / "toolchains").rglob("libtensorrt_rtx.so.1")
    library.write_bytes(b"trojan!")


def removed_and_learnt(place: Place, match: re.Match[str]) -> None:
    """Removed, and installed again from a source that is trusted: the one whose wheel the lock names."""
    done = place.ask(match[1].split())
    assert done.code == 0, done.err
    lock = place.root / "trtpipe-toolchains.lock"
    lock.write_text(lock.read_text().replace("0" * 64, LIBS))


def removed(place: Place, match: re.Match[str]) -> None:
    """Both commands, as they stand; the first finds what changed."""
    listed, away = (place.ask(one.split()) for one in match.groups())
    assert "libtensorrt_rtx" in listed.out
    assert away.code == 0, away.err


def row(
    name: str, code: ProblemCode, before: object, remedy: str, cure: object, ask: object = provisioned
) -> Row:
    return Row(name, code, remedy, cure, ask=ask, before=before)


def after(*argv: str) -> Callable[[Place, re.Match[str]], None]:
    def cure(place: Place, match: re.Match[str]) -> None:
        done = place.ask([match.expand(one) for one in argv])
        assert done.code == 0, done.err

    return cure


TOOLCHAINS = [
    row("no room in a toolchain's directory", Code.DISK_FULL, failing("full", '"/roomy/" not in str(target)'), r"or set (\w+) to a directory with room", elsewhere),
    row("no index", Code.INDEX_UNREACHABLE, failing("unreachable"), "or give the toolchain a `python:` that has it", with_python),
    row("no such version", Code.NO_PACKAGES, failing("missing", f'wanted[0][1] == "{OLD}"'), r"there are: [\d., ]*?(1\.7\.\d+\.\d+)",
        lambda _, m: lambda place: provisioned(place, m[1])),
    row("a wheel that cannot be installed", Code.INSTALL_FAILED, failing("broken"), "give the toolchain a `python:`", with_python),
    row("no installer", Code.INSTALL_FAILED, without_pip, "install pip or uv", with_pip),
    row("no installer, an interpreter", Code.INSTALL_FAILED, without_pip, "or give the toolchain a `python:` that has TensorRT", with_python),
    row("an old installer", Code.INSTALL_FAILED, old_pip, "update pip", updated_pip),
    row("offline", Code.NO_TOOLCHAIN, fakes, r"run `trtpipe ([^`]+)` once with a network", lambda place, m: after(*m[1].split())(place, m),
        lambda place: provisioned(place, offline=True)),
    row("no room for a toolchain", Code.DISK_FULL, full, r"or set (\w+) to a directory with room", elsewhere),
    row("no directory for toolchains", Code.CANNOT_WRITE, as_a_file, r"set (\w+) to a directory you can write", elsewhere),
    row("other packages than the lock's", Code.OTHER_PACKAGES, lambda place: installed(place, on_another_machine),
        r"if they were published anew, take the lines of (\S+) out of that file", lines_taken_out, ready),
    row("another wheel than the lock's", Code.OTHER_PACKAGES, lambda place: installed(place, other_wheels),
        r"run `trtpipe ([^`]+)` and install it again from a source that you trust", removed_and_learnt, ready),
    row("a library that was changed", Code.TOOLCHAIN_CHANGED, lambda place: installed(place, meddled),
        r"`trtpipe (toolchain verify [^`]+)` lists what changed; `trtpipe (toolchain remove [^`]+)` and a build install it again", removed, ready),
]  # fmt: skip


# -- interpreters


def slow(place: Place) -> None:
    """An interpreter that does not answer in time."""
    place.write("slow", "#!/bin/sh\nsleep 60\n").chmod(0o755)
    place.patch.setattr("trtpipe.toolchains.resolve._PROBE_SECONDS", 20)
    run = subprocess.run

    def impatient(command: list[str], *given: object, **named: object) -> object:
        if Path(command[0]).name == "slow":
            raise subprocess.TimeoutExpired(command, 20)
        return run(command, *given, **named)

    place.patch.setattr(subprocess, "run", impatient)


def starting(module: str) -> Callable[[Place], object]:
    """Start the interpreter of a toolchain, which lies in `env`."""
    import importlib
    import inspect

    def ask(place: Place) -> None:
        start = importlib.import_module(module)._start
        visible = [{}] if "visible" in inspect.signature(start).parameters else []
        with (place.root / "log").open("wb") as log:
            child = start((str(place.root / "env/python"),), place.root, log, *visible)
            child.kill()
            child.communicate()

    return ask


def installed_again(place: Place, _: re.Match[str]) -> None:
    (place.root / "env").mkdir()
    (place.root / "env/python").symlink_to(sys.executable)


INTERPRETERS = [
    toolchain("an interpreter that does not answer", Code.INTERPRETER, "flavour: tensorrt_rtx, python: ./slow",
              "name an interpreter of Python 3.8 or newer that has TensorRT", f"flavour: tensorrt_rtx, python: {sys.executable}", slow),
    row("a toolchain whose interpreter is gone", Code.INTERPRETER, None, "install the toolchain again", installed_again, starting("trtpipe.toolchains.engine_worker.launch")),
    row("an engine whose interpreter is gone", Code.INTERPRETER, None, "install the toolchain again", installed_again, starting("trtpipe.runners.inference.run")),
]  # fmt: skip


# -- git, and what the system refuses


def of_another_user(place: Place) -> None:
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=place.root, check=True)
    home = place.root / "home"
    home.mkdir()
    place.patch.setenv("HOME", str(home))
    for one in (place.root, place.root / ".git"):
        os.chown(one, 12345, 12345)


def called_safe(place: Place, match: re.Match[str]) -> None:
    command = ["git", "config", "--global", "--add", match[1], str(place.root)]
    subprocess.run(command, check=True, env={**os.environ, "HOME": str(place.root / "home")})


def refusing(place: Place) -> None:
    """A temporary directory in which nothing can be made."""
    place.write("tmp", "")
    place.patch.setattr("tempfile.tempdir", None)
    place.patch.setenv("TMPDIR", str(place.root / "tmp"))
    make = os.mkdir

    def mkdir(path: object, *given: object, **named: object) -> None:
        if "elsewhere" not in str(path) and "trtpipe" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        make(path, *given, **named)

    place.patch.setattr(os, "mkdir", mkdir)


def in_scratch(_: Place) -> None:
    from trtpipe.workspace.scratch import scratch_folder

    with scratch_folder("remedy") as folder:
        (folder / "x").write_text("x")


def another_disk(place: Place, match: re.Match[str]) -> None:
    (place.root / "elsewhere").mkdir()
    place.patch.setattr("tempfile.tempdir", None)
    place.patch.setenv(match[1], str(place.root / "elsewhere"))


def in_pieces(place: Place) -> None:
    from trtpipe.weights.pieces import _reader

    list(_reader(place.root / "w.bin", 0, "float32", 100)())


def homeless(place: Place) -> None:
    """A user without a home directory."""

    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    place.patch.delenv("XDG_CONFIG_HOME", raising=False)
    place.patch.setattr(Path, "home", refuse)


def owned(place: Place) -> None:
    from trtpipe.loader.user import write_allowed

    write_allowed(place.root, ["0" * 64])


SYSTEM = [
    Row("a repository of another user", Code.GIT_FAILED, r"see git help config, (safe\.directory)", called_safe, {"net.onnx": relu(1, 3)},
        ask=("diff", "HEAD:net.onnx", "net.onnx"), before=of_another_user),
    row("no room for what is temporary", Code.CANNOT_WRITE, refusing, r"or set (TMPDIR) to another disk", another_disk, in_scratch),
    Row("weights cut short while they are read", Code.WEIGHTS_CUT_SHORT, "copy it again", lambda place, _: place.write("w.bin", bytes(400)) and None,
        {"w.bin": bytes(396)}, ask=in_pieces),
    row("no home for what is allowed", Code.NO_HOME, homeless, r"set (XDG_CONFIG_HOME) to a directory", lambda place, m: place.patch.setenv(m[1], str(place.root)), owned),
]  # fmt: skip

ROWS = [*CONVERTERS, weights_for_the_net(), *TOOLCHAINS, *INTERPRETERS, *SYSTEM]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    if row.name == "a repository of another user" and os.geteuid() != 0:
        pytest.skip("not run: only root gives a directory to another user")
    apply(row, place)
