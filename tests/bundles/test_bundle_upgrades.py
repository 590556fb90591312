"""An upgrade of TensorRT with a bundle: it is built and validated as a whole on the new version, beside the old."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from tests.bundles.conftest import TARGETS
from tests.bundles.test_bundle_story import pytestmark  # noqa: F401
from tests.endtoend.test_upgrade_story import OLD, provision_stand_in, untouched
from tests.projects import Project


@pytest.fixture
def old(example: Project, tmp_path: Path) -> Project:
    """The example, built with the installed version under another name."""
    provision_stand_in(tmp_path / "toolchains", OLD)
    example.env["TRTPIPE_TOOLCHAINS"] = str(tmp_path / "toolchains")
    toolchains = f'toolchains: {{rtx: {{flavour: tensorrt_rtx, version: "{OLD}"}}}}\n'
    example.write("trtpipe.yaml", TARGETS.replace("{gpu: sm89}", "{gpu: sm89, toolchain: rtx}") + toolchains)
    done = example.run("build", "ocr")
    assert done.code == 0, done.err
    return example


def test_a_bundle_is_whole_on_the_new_version_or_says_why_not(old: Project) -> None:
    before, new = untouched(old), metadata.version("tensorrt-rtx-cu13")

    done = old.run("upgrade", new, "--output", "beside")

    assert done.code == 0, done.err
    record = json.loads((old.root / "beside/upgrade.json").read_bytes())
    assert record["bundles"] == [{"bundle": "ocr", "status": "complete", "problems": []}]
    assert "ocr.rec/fp16@ada" in {row["cell"] for row in record["cells"]}
    assert "- `ocr`: complete" in (old.root / "beside/upgrade.md").read_text()
    whole = json.loads((old.root / "beside/build/ocr/bundle.json").read_bytes())
    assert {one["toolchain"] for one in whole["targets"]["ada"].values()} == {f"tensorrt_rtx {new}"}
    assert whole["validation"]["ada"]["outcome"] == "passed"
    assert untouched(old) == before
