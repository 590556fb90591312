"""Manifests of environments, the wheel lock and what other programs print, with anything in any place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.damage import damages
from trtpipe.errors import ToolchainError
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.toolchains import pip, provision, resolve
from trtpipe.toolchains.verification import changed_files, verify
from trtpipe.toolchains.wheel_lock import LOCK_FILE, WheelLock
from trtpipe.toolchains.wheels import wheels_of

VERSION = "1.6.1.120"
DIGEST = "ab" * 32


def test_a_manifest_with_anything_in_any_place_is_told_as_damage_or_read(fake_pip, tmp_path):
    made = provision.provision("tensorrt_rtx", VERSION)
    path = Path(made.site[0]) / "manifest.json"
    good = json.loads(path.read_bytes())
    good["wheels"] = good["wheels"][:1]
    for damage in damages(good):
        path.write_text(damage.text)
        with damage.assert_raises_only():
            (found,) = provision.list_provisioned()
            assert found.nbytes + 0 == found.nbytes
            toolchain = provision.provisioned_toolchain(found)
            changed_files(toolchain)
            wheels_of(toolchain)
            verify(toolchain, WheelLock(tmp_path / LOCK_FILE), found.damaged)
            provision.find_provisioned("tensorrt_rtx", "1.6.*")


def test_a_wheel_lock_with_anything_in_any_place_is_refused_or_read(tmp_path):
    good = {"schema": "1", "toolchains": {f"tensorrt_rtx-{VERSION}": {"a-1-py3-none-any.whl": DIGEST}}}
    for damage in damages(good):
        (tmp_path / LOCK_FILE).write_text(damage.text)
        with damage.assert_raises_only(ToolchainError):
            WheelLock(tmp_path / LOCK_FILE).wheels(f"tensorrt_rtx-{VERSION}")


def test_what_an_interpreter_prints_with_anything_in_any_place_is_refused_or_read(monkeypatch):
    found = {"version": VERSION, "site": ["/x"], "libraries": {"a": VERSION}}
    said = ""

    class Done:
        stderr, returncode = b"", 0

        def __init__(self, *arguments, **options):
            self.stdout = said.encode()

    monkeypatch.setattr(resolve, "run_to_end", Done)
    spec = ToolchainSpec(flavour="tensorrt_rtx", python=sys.executable)
    for damage in damages({"python": "cpython 3.11.7", "found": found}):
        said = damage.text
        with damage.assert_raises_only():
            hash(resolve.locate_toolchain("t", spec))


def test_a_report_of_the_installer_with_anything_in_any_place_is_refused_or_read(tmp_path):
    info = {
        "url": "file:///a.whl",
        "archive_info": {"hashes": {"sha256": DIGEST}, "hash": f"sha256={DIGEST}"},
    }
    good = {"install": [{"metadata": {"name": "a", "version": "1"}, "download_info": info}]}
    for damage in damages(good):
        (tmp_path / "report").write_text(damage.text)
        with damage.assert_raises_only(ToolchainError):
            pip._wheels(tmp_path / "report")
