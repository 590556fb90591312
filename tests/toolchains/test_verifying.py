"""Toolchains that are locked by the hashes of their wheels, and those that were changed after they were installed."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from trtpipe.cli.toolchains import install_command, verify_command
from trtpipe.errors import ToolchainError
from trtpipe.toolchains.provision import provision
from trtpipe.toolchains.resolve import planned_toolchain, ready_toolchain
from trtpipe.toolchains.verification import changed_files, verify
from trtpipe.toolchains.wheel_lock import LOCK_FILE, WheelLock, fits_here, required_hashes
from trtpipe.toolchains.wheels import wheels_of

RTX, OLD = "tensorrt_rtx", "1.6.1.120"
NAME = f"{RTX}-{OLD}"
LIBS = f"tensorrt_rtx_cu13_libs-{OLD}-py3-none-any.whl"


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """The lock of a project, which the tests work in."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return WheelLock(project / LOCK_FILE)


@pytest.fixture
def built_with(fake_pip, lock):
    """What a build does before it starts a toolchain's interpreter."""
    return lambda version=OLD: ready_toolchain(planned_toolchain(RTX, version), lock=lock)


def library_of(toolchain):
    return Path(toolchain.site[0]) / "tensorrt_rtx_libs" / "libtensorrt_rtx.so.1"


def sha256(package):
    return hashlib.sha256(package.encode()).hexdigest()


def test_what_a_build_installs_is_locked_by_file_and_sha256(built_with, lock):
    built_with()

    assert lock.wheels(NAME)[LIBS] == sha256("tensorrt_rtx_cu13_libs")
    assert len(lock.wheels(NAME)) == 3
    assert lock.path.read_text().startswith("# Written by trtpipe: commit it.")


def test_a_second_build_leaves_the_lock_as_it_is(built_with, lock):
    built_with()
    before = lock.path.stat().st_mtime_ns
    built_with()

    assert lock.path.stat().st_mtime_ns == before


def test_versions_are_locked_one_below_the_other_whatever_their_order(built_with, lock):
    built_with("1.7.1.116")
    built_with("1.5.0.114")

    names = [line.strip() for line in lock.path.read_text().splitlines() if line.endswith(":")]
    assert names == ["toolchains:", "tensorrt_rtx-1.5.0.114:", "tensorrt_rtx-1.7.1.116:"]


def test_another_machine_takes_the_locked_wheels_and_no_others(
    built_with, lock, toolchains_root, monkeypatch
):
    built_with()
    monkeypatch.setenv("TRTPIPE_TOOLCHAINS", str(toolchains_root) + "-of-another-machine")

    assert built_with().version == OLD  # the fake pip compares the hashes that it is given

    monkeypatch.setenv("TRTPIPE_TOOLCHAINS", str(toolchains_root) + "-of-a-third")
    lock.path.write_text(lock.path.read_text().replace(sha256("tensorrt_rtx_cu13_libs"), "0" * 64))
    with pytest.raises(ToolchainError, match=f"are not those that {LOCK_FILE} names"):
        built_with()


def test_an_environment_from_another_wheel_is_refused(built_with, lock):
    built_with()
    lock.path.write_text(lock.path.read_text().replace(sha256("tensorrt_rtx_cu13_libs"), "0" * 64))

    with pytest.raises(ToolchainError, match=f"installed from another {LIBS}"):
        built_with()


def test_a_platform_that_nobody_saw_yet_is_learnt_beside_the_others(built_with, lock):
    other = f"tensorrt_rtx_cu13_libs-{OLD}-py3-none-win_arm64.whl"
    lock.learn(NAME, {other: "1" * 64})
    built_with()

    assert lock.wheels(NAME)[other] == "1" * 64
    assert LIBS in lock.wheels(NAME)


def test_four_versions_at_once_are_installed_once_and_all_locked(built_with, fake_pip, lock):
    versions = ["1.4.0.76", "1.5.0.114", "1.6.1.120", "1.7.1.116"]
    failed = []

    def build(version):
        try:
            built_with(version)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=build, args=(one,)) for one in versions * 2]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert failed == []
    assert len(fake_pip.asked) == 4
    assert all(len(lock.wheels(f"{RTX}-{one}")) == 3 for one in versions)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "schema: 2\ntoolchains: {}", "schema: 1\ntoolchains: [a]", "schema: 1\ntoolchains:\n  a:\n    b: c",
     "schema: 1\ntoolchains: {a: {'../x': " + "0" * 64 + "}}", "{" * 10_000, "\x00"],
)  # fmt: skip
def test_a_damaged_lock_is_refused_before_anything_is_installed(built_with, fake_pip, lock, text):
    lock.path.write_text(text)

    with pytest.raises(ToolchainError, match="restore it from version control"):
        built_with()
    assert fake_pip.asked == []


def test_a_frozen_build_is_held_to_the_lock_and_writes_nothing(fake_pip, lock):
    frozen = WheelLock(lock.path, learns=False)
    ready_toolchain(planned_toolchain(RTX, OLD), lock=frozen)
    assert not lock.path.exists()

    lock.learn(NAME, {LIBS: "0" * 64})
    with pytest.raises(ToolchainError, match=f"was installed from another {LIBS}"):
        ready_toolchain(planned_toolchain(RTX, OLD), lock=frozen)


def test_a_project_that_cannot_be_written_to_builds_all_the_same(built_with, lock, monkeypatch):
    def refuse(path, data):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("trtpipe.toolchains.wheel_lock.write_whole", refuse)

    assert built_with().version == OLD
    assert not lock.path.exists()


def test_which_files_fit_this_machine():
    own = f"cp{__import__('sys').version_info.major}{__import__('sys').version_info.minor}"

    assert fits_here("a-1-py3-none-any.whl")
    assert fits_here("a-1.tar.gz")
    assert fits_here(f"a-1-{own}-none-any.whl")
    assert not fits_here("a-1-cp27-none-any.whl")
    assert not fits_here("a-1-py3-none-manylinux_2_28_riscv64.whl")


def test_hashes_are_required_only_where_every_package_has_one():
    wheels = {"a_b-1-py3-none-any.whl": "0" * 64, "c-2.tar.gz": "1" * 64}

    assert required_hashes(wheels, ["a-b", "c"]) == [
        f"a-b==1 --hash=sha256:{'0' * 64}",
        f"c==2 --hash=sha256:{'1' * 64}",
    ]
    assert required_hashes(wheels, ["a-b", "d"]) == []


def test_a_toolchain_as_installed_verifies(built_with, lock):
    verdict = verify(built_with(), lock)

    assert (verdict.problems, verdict.wheels, verdict.origin) == ((), 3, "provisioned")
    assert verdict.files >= 6


def change_unseen(path, content):
    """Change a file and keep its size and the time of its last change."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_library_of_the_same_size_and_time_is_found_by_its_digest(built_with, lock):
    toolchain = built_with()
    change_unseen(library_of(toolchain), b"trojan!")

    assert verify(toolchain, lock).problems == ("changed: tensorrt_rtx_libs/libtensorrt_rtx.so.1",)


def test_a_record_that_was_changed_to_fit_is_found_too(built_with, lock):
    toolchain = built_with()
    change_unseen(library_of(toolchain), b"trojan!")
    record = next(Path(toolchain.site[0]).glob("*_libs-*.dist-info/RECORD"))
    digest = hashlib.sha256(b"trojan!").digest()
    coded = __import__("base64").urlsafe_b64encode(digest).rstrip(b"=").decode()
    old = next(line for line in record.read_text().splitlines() if ".so" in line)
    record.write_text(record.read_text().replace(old.split(",")[1], f"sha256={coded}"))

    assert verify(toolchain, lock).problems == (
        "the RECORD of tensorrt_rtx_cu13_libs is not the one that was installed",
    )


def test_a_build_refuses_a_library_that_was_written_to(built_with):
    toolchain = built_with()
    library_of(toolchain).write_bytes(b"trojan!")

    with pytest.raises(ToolchainError, match=r"changed on disk: .*libtensorrt_rtx.so.1 is not what"):
        built_with()


def test_a_library_that_was_only_touched_is_hashed_once_and_taken(built_with, monkeypatch):
    toolchain = built_with()
    os.utime(library_of(toolchain))
    assert changed_files(toolchain) == []

    monkeypatch.setattr("trtpipe.toolchains.verification.sha256_of", lambda path: pytest.fail("hashed again"))
    assert changed_files(toolchain) == []


def test_an_environment_of_an_older_trtpipe_is_taken_as_it_is(built_with):
    toolchain = built_with()
    path = Path(toolchain.site[0]) / "manifest.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({name: record[name] for name in record if name not in ("stamps", "records")}))

    assert built_with().version == OLD


def test_the_command_says_what_changed_and_fails(built_with, capsys):
    toolchain = built_with()
    assert verify_command([NAME], as_json=False) == 0
    assert "files as installed, 3 wheels as locked" in capsys.readouterr().out
    library_of(toolchain).unlink()

    assert verify_command([NAME], as_json=False) == 1
    told = capsys.readouterr().out
    assert f"{NAME} (provisioned): CHANGED" in told
    assert "missing: tensorrt_rtx_libs/libtensorrt_rtx.so.1" in told

    assert verify_command([NAME], as_json=True) == 1
    assert json.loads(capsys.readouterr().out)[0]["toolchain"] == NAME


def test_an_environment_without_a_manifest_is_told_as_damaged(built_with, capsys):
    (Path(built_with().site[0]) / "manifest.json").unlink()

    assert verify_command([NAME], as_json=False) == 1
    assert "its manifest is missing or damaged" in capsys.readouterr().out


def test_verifying_what_is_not_here_lists_what_is(built_with):
    built_with()

    with pytest.raises(ToolchainError, match=NAME):
        verify_command(["tensorrt_rtx-9.9.9.9"], as_json=False)


def test_several_versions_are_installed_by_one_command(fake_pip, lock, capsys):
    assert install_command(RTX, ["1.4.0.76", "1.5.0.114"]) == 0

    assert capsys.readouterr().out == "tensorrt_rtx-1.4.0.76 is ready\ntensorrt_rtx-1.5.0.114 is ready\n"
    assert not lock.path.exists()  # no build took place: nothing of the project's changes


def test_the_same_wheel_has_the_same_contents_wherever_it_is_installed(
    built_with, toolchains_root, monkeypatch
):
    here = wheels_of(built_with())
    monkeypatch.setenv("TRTPIPE_TOOLCHAINS", str(toolchains_root) + "-elsewhere")
    there = wheels_of(provision(RTX, OLD))

    assert here == there
    assert [one["name"] for one in here] == [
        "tensorrt_rtx_cu13",
        "tensorrt_rtx_cu13_bindings",
        "tensorrt_rtx_cu13_libs",
    ]
    assert all(len(one["contents"]) == len(one["sha256"]) == 64 for one in here)
