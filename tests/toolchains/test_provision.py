"""Private TensorRT environments: made once, whole or not at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtpipe.errors import ToolchainError
from trtpipe.toolchains import pip
from trtpipe.toolchains.provision import (
    find_provisioned,
    folder_name,
    list_provisioned,
    provision,
    remove,
)
from trtpipe.toolchains.provision import (
    toolchains_root as root_in_use,
)

RTX = "tensorrt_rtx"
ROOT = Path(__file__).parents[2]


def in_another_process(version, **environment):
    """A process that provisions a version with this test's fake pip, and prints where it is."""
    code = (
        "import sys; from trtpipe.toolchains import pip, provision\n"
        "pip.find_installer = lambda: sys.argv[2:]\n"
        "print(provision.provision('tensorrt_rtx', sys.argv[1]).site[0])"
    )
    command = [sys.executable, "-c", code, version, *pip.find_installer()]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def leftovers(root):
    return [one.name for one in root.iterdir() if one.is_dir() and one.name.startswith(".")]


def test_a_version_is_installed_into_a_folder_of_its_own(fake_pip, toolchains_root):
    toolchain = provision(RTX, "1.6.1.120")

    folder = toolchains_root / folder_name(RTX, "1.6.1.120")
    assert toolchain.site == (str(folder),)
    assert toolchain.python == (sys.executable,)
    assert (toolchain.flavour, toolchain.version) == (RTX, "1.6.1.120")
    assert (folder / "tensorrt_rtx" / "__init__.py").is_file()
    assert leftovers(toolchains_root) == []


def test_bindings_and_libraries_are_pinned_too(fake_pip):
    provision(RTX, "1.6.1.120")

    assert fake_pip.asked == [["tensorrt-rtx-cu13", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"]]


def test_what_is_there_is_not_installed_again(fake_pip):
    first = provision(RTX, "1.6.1.120")
    second = provision(RTX, "1.6.1.120", offline=True)

    assert second == first
    assert len(fake_pip.asked) == 1


def test_the_manifest_records_the_wheels_digests_and_no_address(fake_pip):
    folder = Path(provision(RTX, "1.6.1.120").site[0])

    manifest = json.loads((folder / "manifest.json").read_text())
    assert [wheel["name"] for wheel in manifest["wheels"]] == [
        "tensorrt_rtx_cu13",
        "tensorrt_rtx_cu13_bindings",
        "tensorrt_rtx_cu13_libs",
    ]
    assert all(len(wheel["sha256"]) == 64 for wheel in manifest["wheels"])
    assert "://" not in json.dumps(manifest)
    assert manifest["files"]["tensorrt_rtx_libs/libtensorrt_rtx.so.1"] == 7


def test_cuda_12_packages_are_taken_where_there_are_none_for_cuda_13(fake_pip):
    fake_pip.mode("cuda13 missing")

    toolchain = provision(RTX, "1.6.1.120")

    assert [names[0] for names in fake_pip.asked] == ["tensorrt-rtx-cu13", "tensorrt-rtx-cu12"]
    assert set(toolchain.libraries) == {
        "tensorrt_rtx_cu12",
        "tensorrt_rtx_cu12_bindings",
        "tensorrt_rtx_cu12_libs",
    }


@pytest.mark.parametrize(
    ("mode", "fact", "remedy"),
    [
        ("missing", "there are no packages of tensorrt_rtx 1.6.1.120", "there are: 1.4.0.76, 1.7.1.116"),
        ("full", "no space left while installing tensorrt_rtx 1.6.1.120", "TRTPIPE_TOOLCHAINS"),
        ("unreachable", "the package index cannot be reached for tensorrt_rtx 1.6.1.120", "network"),
        ("broken", "tensorrt_rtx 1.6.1.120 could not be installed", "ERROR: the wheel is cursed"),
    ],
)
def test_a_failed_installation_is_one_error_and_leaves_nothing(fake_pip, toolchains_root, mode, fact, remedy):
    fake_pip.mode(mode)

    with pytest.raises(ToolchainError) as caught:
        provision(RTX, "1.6.1.120")

    (problem,) = caught.value.problems
    assert problem.fact.startswith(fact)
    assert remedy in f"{problem.remedy}\n{problem.details}"
    assert list_provisioned() == ()
    assert leftovers(toolchains_root) == []


def test_offline_nothing_is_fetched(fake_pip):
    with pytest.raises(ToolchainError, match="--offline forbids fetching it"):
        provision(RTX, "1.6.1.120", offline=True)

    assert fake_pip.asked == []


def test_without_pip_and_uv_the_error_says_what_to_install(toolchains_root, monkeypatch):
    monkeypatch.setattr(pip, "find_installer", lambda: None)

    with pytest.raises(ToolchainError, match="install pip or uv"):
        provision(RTX, "1.6.1.120")


def test_uv_serves_where_there_is_no_pip(monkeypatch):
    monkeypatch.setattr(pip.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(pip.shutil, "which", lambda name: "/bin/uv")

    assert pip.find_installer() == ["/bin/uv", "pip"]


def test_a_root_that_cannot_be_written_is_an_error_of_the_user(fake_pip, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRTPIPE_TOOLCHAINS", str(tmp_path / "file" / "below"))

    with pytest.raises(ToolchainError, match="set TRTPIPE_TOOLCHAINS to a directory you can write"):
        provision(RTX, "1.6.1.120")


def test_three_processes_at_once_install_once(fake_pip):
    processes = [in_another_process("1.6.1.120", FAKE_PIP_SECONDS="0.5") for _ in range(3)]

    folders = {process.communicate(timeout=60)[0].strip() for process in processes}

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(fake_pip.asked) == 1
    assert folders == {find_provisioned(RTX, "1.6.1.120").site[0]}


def test_a_killed_process_leaves_nothing_that_counts(fake_pip, toolchains_root):
    killed = in_another_process("1.6.1.120", FAKE_PIP_SECONDS="60")
    while not fake_pip.asked:
        assert killed.poll() is None
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()

    assert list_provisioned() == ()
    assert len(leftovers(toolchains_root)) == 1

    provision(RTX, "1.6.1.120")
    assert leftovers(toolchains_root) == []


@pytest.mark.parametrize("how", ["cut short", "gone", "no manifest", "odd manifest", "half a manifest"])
def test_a_damaged_environment_is_installed_again(fake_pip, how):
    folder = Path(provision(RTX, "1.6.1.120").site[0])
    library = folder / "tensorrt_rtx_libs" / "libtensorrt_rtx.so.1"
    if how == "cut short":
        library.write_bytes(b"lib")
    elif how == "gone":
        library.unlink()
    elif how == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text("[]" if how == "odd manifest" else '{"schema": 1}')

    assert find_provisioned(RTX, "1.6.1.120") is None
    assert [one.usable for one in list_provisioned()] == [False]

    provision(RTX, "1.6.1.120")

    assert library.read_bytes() == b"library"
    assert len(fake_pip.asked) == 2


def test_bytecode_that_python_writes_is_no_damage(fake_pip):
    folder = Path(provision(RTX, "1.6.1.120").site[0])
    (folder / "tensorrt_rtx" / "__pycache__").mkdir()
    (folder / "tensorrt_rtx" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"x")

    assert find_provisioned(RTX, "1.6.1.120") is not None


def test_a_prefix_finds_the_newest_by_number(fake_pip):
    for version in ("1.6.1.9", "1.6.1.120", "1.7.1.116"):
        provision(RTX, version)

    assert find_provisioned(RTX, "1.6.*").version == "1.6.1.120"
    assert find_provisioned(RTX, "1.5.*") is None


def test_environments_are_listed_by_number_with_their_sizes(fake_pip):
    provision(RTX, "1.10.0.1")
    provision(RTX, "1.6.1.120")

    assert [one.version for one in list_provisioned()] == ["1.6.1.120", "1.10.0.1"]
    assert all(one.nbytes > 0 for one in list_provisioned())


def test_another_interpreter_s_environment_is_listed_and_not_used(fake_pip, toolchains_root):
    folder = Path(provision(RTX, "1.6.1.120").site[0])
    other = folder.rename(toolchains_root / "tensorrt_rtx-1.6.1.120-cp39-linux_x86_64")

    (found,) = list_provisioned()
    assert (found.python, found.platform, found.folder) == ("cp39", "linux_x86_64", other)
    assert not found.usable
    assert find_provisioned(RTX, "1.6.1.120") is None


def test_what_is_removed_is_gone(fake_pip, toolchains_root):
    provision(RTX, "1.6.1.120")

    assert remove(RTX, "1.6.1.120") > 0
    assert list_provisioned() == ()
    assert leftovers(toolchains_root) == []


def test_another_interpreter_s_environment_can_be_removed(fake_pip, toolchains_root):
    folder = Path(provision(RTX, "1.6.1.120").site[0])
    folder.rename(toolchains_root / "tensorrt_rtx-1.6.1.120-cp39-linux_x86_64")

    assert remove(RTX, "1.6.1.120") > 0
    assert list_provisioned() == ()


def test_removing_what_is_not_there_lists_what_is(fake_pip):
    provision(RTX, "1.6.1.120")

    with pytest.raises(ToolchainError, match=r"provisioned: tensorrt_rtx 1\.6\.1\.120"):
        remove(RTX, "1.5.0.114")


def test_packages_of_another_version_than_asked_for_are_refused(fake_pip):
    fake_pip.script.write_text(
        fake_pip.script.read_text().replace("name, version in wanted", "name, version in other")
    )
    with fake_pip.script.open("r+") as script:
        text = script.read()
        script.seek(0)
        script.write(
            text.replace("report = {", "other = [(name, '9.9.9.9') for name, _ in wanted]\nreport = {", 1)
        )

    with pytest.raises(ToolchainError, match=r"hold 9\.9\.9\.9"):
        provision(RTX, "1.6.1.120")


def test_environments_lie_in_the_user_s_cache_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("TRTPIPE_TOOLCHAINS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")

    assert root_in_use() == tmp_path / "trtpipe" / "toolchains"


@pytest.mark.slow
@pytest.mark.engine
def test_a_real_toolchain_is_provisioned_and_imports_without_site_packages(toolchains_root):
    if shutil.disk_usage(toolchains_root.parent).free < 1 << 30:
        pytest.skip("less than 1 GiB of space for a toolchain")
    try:
        toolchain = provision(RTX, "1.6.1.120")
    except ToolchainError as error:
        pytest.skip(f"the package index did not serve TensorRT-RTX: {error.problems[0].fact}")

    code = "import sys; sys.path[:0] = sys.argv[1:]; import tensorrt_rtx; print(tensorrt_rtx.__version__)"
    command = [*toolchain.python, "-I", "-S", "-c", code, *toolchain.site]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.6.1.120"
