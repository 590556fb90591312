"""From a built bundle to one whose engines are proved as a whole: what `validate BUNDLE` runs, says and writes.

No GPU runs here: each typed model answers in its engine's place, as if it were one. How engines are really run one
after the other is in `tests/runners/test_engines_as_a_whole.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
import yaml

from tests.bundles.test_bundle_story import bundle_of, pytestmark  # noqa: F401
from tests.projects import Project
from trtpipe.app.prove import validate
from trtpipe.app.prove.bundles import validate_bundles
from trtpipe.app.prove.validate import HowToValidate
from trtpipe.cli.validate import validate_command
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.inference.results import GpuFacts
from trtpipe.runners.validation import validate_engine
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu
from trtpipe.workspace.target_facts import TargetResolver

GPU = GpuFacts(0, "NVIDIA L4", "sm89", "13.0", 24 << 30, 20 << 30)


class MakeBelieve:
    """An L4 on which engines compute what their typed models do; the pipelines' whose outputs it turns round."""

    def __init__(self) -> None:
        self.wrong: set[str] = set()
        self.ran: list[tuple[str, int]] = []
        self.fed: set[tuple[str, str, int, str]] = set()

    @property
    def infer_as(self):
        """A function, for a bound method is not bound again."""

        def infer(engine, feeds):
            return self.infer(engine, feeds)

        return infer

    def infer(self, engine, feeds):
        engine.gpu, engine.tensorrt = GPU, "1.7.1.116"
        pipeline = engine.delivered.engine.path.parents[1].name
        self.ran.append((pipeline, len(feeds)))
        self.fed |= {
            (pipeline, name, array.ndim, str(array.dtype))
            for one in feeds
            for name, array in one.inputs.items()
        }
        with open_runner(engine.delivered.engine.path.with_name("model.onnx")) as runner:
            found = [runner.infer(feed.inputs) for feed in feeds]
        if pipeline in self.wrong:
            return [{name: np.flip(array, -1) for name, array in one.items()} for one in found]
        return found


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> MakeBelieve:
    made = MakeBelieve()
    here = (DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9), driver="580.1"),)
    monkeypatch.setattr(validate_engine.GpuEngine, "__call__", made.infer_as)
    monkeypatch.setattr(validate, "TargetResolver", lambda: TargetResolver(_here=here))
    return made


@pytest.fixture
def project(copy: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(copy.root)
    yield copy


def locked(project: Project) -> dict:
    return yaml.safe_load((project.root / "trtpipe.lock").read_text())["bundles"]["ocr"]


def test_without_the_gpu_the_whole_is_not_run_and_says_what_it_needs(project: Project) -> None:
    done = project.run("validate", "ocr", "--json")

    (whole,) = json.loads(done.out)["bundles"]
    assert done.code == 2
    assert (whole["engines"], whole["target"], whole["proof"]) == ("not_run", "ada", None)
    assert "sm89" in whole["why"]
    assert locked(project)["run_on_gpu"] == {"ada": "not run"}
    assert "bundles: 1 not run" in project.run("validate", "ocr").out


def test_engines_that_pass_as_a_whole_are_named_with_their_gpu(
    project: Project, gpu: MakeBelieve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate_command(["ocr"], HowToValidate(), as_json=False) == 0

    out = capsys.readouterr().out
    assert "ocr for ada: passed as a whole on NVIDIA L4 (sm89), TensorRT 1.7.1.116" in out
    assert "bundles: 1 passed" in out
    assert gpu.ran[-3:] == [("ocr-det", 12), ("ocr-cls", 12), ("ocr.rec", 12)], "each in one process"
    assert {one for one in gpu.fed if one[1] == "prior"} == {("ocr.rec", "prior", 2, "float32")}, (
        "alone too it is given what the classifier yields"
    )
    verdict = bundle_of(project)["validation"]["ada"]
    assert verdict["run_on_gpu"]["outcome"] == "passed"
    assert verdict["not_run"] == []
    assert locked(project)["run_on_gpu"]["ada"].startswith("NVIDIA L4 (sm89), driver 580.1")
    assert "- ada: passed on NVIDIA L4 (sm89)" in (project.root / "build/ocr/summary.md").read_text()
    assert project.run("build", "ocr").out == "nothing to do\n"
    assert project.run("lock", "--check", "--only", "ocr").code == 0
    assert project.run("report").code == 0
    report = json.loads((project.root / "build/report.json").read_bytes())
    assert report["bundles"][0]["targets"][0]["on_gpu"] == "NVIDIA L4 (sm89)"


def test_an_engine_that_is_wrong_fails_the_whole_and_the_next_build(
    project: Project, gpu: MakeBelieve, capsys: pytest.CaptureFixture[str]
) -> None:
    before = locked(project)
    gpu.wrong = {"ocr-cls"}
    (found,) = validate_bundles(["ocr"], project.root, HowToValidate(), validate.this_machine())
    built = project.run("build", "ocr")

    assert found.engines == "failed"
    assert found.proof == project.root / "build/ocr/proof-ada.json"
    assert built.code == 1
    assert "the engines as a whole, on NVIDIA L4 (sm89): output " in built.err
    assert locked(project) == before

    gpu.wrong = set()
    (found,) = validate_bundles(["ocr"], project.root, HowToValidate(), validate.this_machine())
    assert found.engines == "passed"
    assert locked(project)["run_on_gpu"]["ada"].startswith("NVIDIA L4")


def test_a_proof_of_other_engines_does_not_count(project: Project, gpu: MakeBelieve) -> None:
    assert validate_command(["ocr"], HowToValidate(), as_json=True) == 0
    path = project.root / "build/ocr/proof-ada.json"
    record = json.loads(path.read_text())
    record["engines"]["rec"] = "0" * 64
    path.write_text(json.dumps(record))

    assert project.run("build", "ocr").code == 0

    assert locked(project)["run_on_gpu"] == {"ada": "not run"}
    assert bundle_of(project)["validation"]["ada"]["not_run"] == ["the whole on engines: needs sm89"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"engines": 5}'])
def test_a_damaged_proof_does_not_count(project: Project, text: str) -> None:
    (project.root / "build/ocr/proof-ada.json").write_text(text)

    assert project.run("build", "ocr").code == 0
    assert locked(project)["run_on_gpu"] == {"ada": "not run"}


def test_a_bundle_that_was_changed_is_built_first(
    project: Project, gpu: MakeBelieve, capsys: pytest.CaptureFixture[str]
) -> None:
    project.edit("pipelines/ocr.yaml", "min: 0.9999", "min: 0.999")

    assert validate_command(["ocr"], HowToValidate(), as_json=False) == 2
    out = capsys.readouterr().out
    assert "bundle 'ocr' is not complete" in out
    assert "run `trtpipe build ocr`" in out
