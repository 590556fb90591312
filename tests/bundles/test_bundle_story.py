"""A bundle of three nets from `check` to the lockfile, as its users run it."""

from __future__ import annotations

import importlib.util
import json
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
import yaml

from tests.bundles.conftest import EXAMPLE
from tests.projects import Project

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="not run: needs a tensorrt_rtx wheel"
    ),
]
DRIVER = """\
import numpy as np


def run(models, inputs):
    crop = models.det(image=inputs["det.image"])["crop"]
    probs = models["cls"](crop=crop)["probs"]
    digits = models.rec(x=np.ascontiguousarray(crop), prior=probs)["logits"]
    return {"digits": digits, "upright": probs}
"""


def bundle_of(project: Project) -> dict:
    return json.loads((project.root / "build/ocr/bundle.json").read_bytes())


def locked(project: Project) -> dict:
    return yaml.safe_load((project.root / "trtpipe.lock").read_text())


def test_a_bundle_builds_its_members_and_nothing_else(built: Project) -> None:
    manifests = (built.root / "build").glob("*/*/manifest.json")
    cells = sorted(path.parent.relative_to(built.root / "build").as_posix() for path in manifests)
    again = built.run("build", "ocr")

    assert cells == ["ocr-cls/fp16@ada", "ocr-det/fp16@ada", "ocr.rec/fp16@ada"]
    assert again.out == "nothing to do\n"
    assert built.leftovers() == []


def test_the_typed_models_give_as_a_whole_what_onnxruntime_gives_by_hand(built: Project) -> None:
    def run(cell: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(built.root / "build" / cell / "model.onnx")
        names = [one.name for one in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    golden = np.load(built.root / "build/ocr/golden.npz")
    image = golden["0/in:det.image"]
    crop = run("ocr-det/fp16@ada", image=image)["crop"]
    probs = run("ocr-cls/fp16@ada", crop=crop)["probs"]
    logits = run("ocr.rec/fp16@ada", x=crop, prior=probs)["logits"]  # its reshape and cast are in the model

    wanted = golden["0/out:rec.logits"]
    assert np.abs(logits - wanted).max() < 0.1
    assert (logits.argmax(1) == wanted.argmax(1)).all()


def test_the_reference_is_the_canonical_models_run_one_after_the_other(built: Project) -> None:
    models = EXAMPLE / "pipelines/models"
    det, cls, rec = (
        onnxruntime.InferenceSession(models / f"{name}.onnx")
        for name in ("detector", "classifier", "recogniser")
    )
    golden = np.load(built.root / "build/ocr/golden.npz")

    crop, score = det.run(["crop", "score"], {"image": golden["0/in:det.image"]})
    (probs,) = cls.run(["probs"], {"crop": crop})
    (logits,) = rec.run(["logits"], {"x": crop, "prior": probs.reshape(-1, 1, 2).astype(np.float16)})

    assert np.allclose(golden["0/out:rec.logits"], logits, atol=1e-4)
    assert np.allclose(golden["0/out:det.score"], score, atol=1e-5)
    assert "0/out:det.crop" not in golden, "an edge consumes it"
    assert "0/out:cls.probs" in golden, "an edge consumes it, and the spec names it all the same"


def test_what_was_not_run_is_said_by_name(built: Project) -> None:
    verdict = bundle_of(built)["validation"]["ada"]

    assert verdict["outcome"] == "passed"
    assert verdict["not_run"] == ["the whole on engines: needs sm89"]
    assert [one["member"] for one in verdict["blame"]] != []
    assert "## Not run" in (built.root / "build/ocr/summary.md").read_text()


def test_the_network_of_a_member_behind_a_reshape_is_run_on_its_pipelines_data(built: Project) -> None:
    cell = built.root / "build/ocr.rec/fp16@ada"
    manifest = json.loads((cell / "manifest.json").read_text())
    report = json.loads((cell / "readback.json").read_text())

    assert not any("network" in text for text in manifest["not_run"])
    assert [one["outcome"] for one in manifest["reach"] if one["part"] == "network"] == ["proved"]
    assert {one["samples"] for one in report["places"] if one["place"] == "data"} == {96}
    assert len(report["places"]) == 4, "and at every corner, of the shapes before the reshape"
    assert report["not_run"] == []


def test_the_lockfile_has_one_entry_for_all_members(built: Project) -> None:
    entry = locked(built)["bundles"]["ocr"]

    assert list(entry["members"]) == ["ada cls", "ada det", "ada rec"]
    for name, cell in {"ada cls": "ocr-cls/fp16@ada", "ada rec": "ocr.rec/fp16@ada"}.items():
        assert entry["members"][name] == f"{cell} {locked(built)['cells'][cell]['engine']}"
    assert entry["edges"]["rec.prior"] == "cls.probs reshaped to [-1, 1, 2] as float16"
    assert entry["validated"] == "passed"
    assert built.run("lock", "--check", "--only", "ocr").code == 0
    assert built.run("build", "ocr", "--frozen").code == 0


def test_a_member_that_changed_is_the_reason_that_the_bundle_did(copy: Project) -> None:
    before = (copy.root / "trtpipe.lock").read_text()
    copy.edit("pipelines/ocr-det.yaml", "max: 32x1x8x8", "max: 24x1x8x8")

    checked = copy.run("lock", "--check", "--only", "ocr")
    planned = copy.run("plan", "ocr", "--exit-code")
    frozen = copy.run("build", "ocr", "--frozen")
    assert (checked.code, planned.code, frozen.code) == (3, 1, 3)
    assert "ocr:\n" in checked.out
    assert "members ada det: ocr-det/fp16@ada" in checked.out
    assert "to be built" in checked.out
    assert "bundle ocr would be completed:" in planned.out
    assert (copy.root / "trtpipe.lock").read_text() == before

    done = copy.run("build", "ocr")
    assert done.code == 0, done.err
    assert done.out.startswith("built 1 engine, 2 up to date")
    copy.write("old.lock", before)
    diff = copy.run("diff", "old.lock", "trtpipe.lock")
    assert "members.ada det" in diff.out
    assert "1 bundle: members.ada det" in diff.out
    assert "1 cell: " in diff.out and "2 cells as before" in diff.out
    told = json.loads(copy.run("diff", "old.lock", "trtpipe.lock", "--json").out)
    assert [one["cell"] for one in told["changed"]] == ["ocr-det/fp16@ada"]
    assert [one["cell"] for one in told["bundles"]["changed"]] == ["ocr"]
    assert copy.run("build", "ocr").out == "nothing to do\n"


def test_a_merge_conflict_about_a_bundle_is_resolved_by_a_build(copy: Project) -> None:
    path = copy.root / "trtpipe.lock"
    text = path.read_text()
    key = next(line for line in text[text.index("bundles:") :].splitlines() if line.startswith("    key:"))
    path.write_text(
        text.replace(f"{key}\n", f"<<<<<<< ours\n{key}\n=======\n    key: {'0' * 64}\n>>>>>>> theirs\n")
    )

    alone = copy.run("build", "ocr-det/fp16@ada")
    whole = copy.run("build", "ocr")

    assert alone.code != 0
    assert "merge conflict about ocr" in alone.err
    assert whole.code == 0, whole.err
    assert path.read_text() == text


def test_a_missed_threshold_blames_the_member_whose_precision_costs_most(copy: Project) -> None:
    before = (copy.root / "trtpipe.lock").read_text()
    copy.edit(
        "pipelines/ocr.yaml",
        "{output: rec.logits, metric: cosine, min: 0.9999}",
        "{output: rec.logits, metric: cosine, min: 0.99999999}",
    )

    done = copy.run("build", "ocr")

    assert done.code == 1
    assert "ocr failed:\noutput 'rec.logits' has cosine 0.99999" in done.err
    assert "allow a wider variant for member 'rec'" in done.err
    (suite,) = ElementTree.parse(copy.root / "build/junit.xml").iterfind("testsuite[@name='ocr']")
    assert suite.get("failures") == "1"
    table = done.err[done.err.index("what each member's precision costs:") :].splitlines()
    assert [line.split()[0] for line in table[1:5]] == ["member", "rec", "cls", "det"]
    assert (copy.root / "trtpipe.lock").read_text() == before, "all members or none"


def test_a_golden_recording_replaces_the_reference(copy: Project) -> None:
    (copy.root / "golden.npz").write_bytes((copy.root / "build/ocr/golden.npz").read_bytes())
    copy.edit("pipelines/ocr.yaml", "  data: ocr-e2e", "  golden: golden.npz")

    done = copy.run("build", "ocr")

    assert done.code == 0, done.err
    assert bundle_of(copy)["validation"]["ada"]["reference"] == "golden"
    assert "golden" in locked(copy)["bundles"]["ocr"]


def test_a_driver_runs_only_if_it_is_allowed_and_is_part_of_the_key(example: Project) -> None:
    example.write("drivers/ocr.py", DRIVER)
    example.edit("pipelines/ocr.yaml", "outputs: [cls.probs]", "python: drivers.ocr:run")
    example.edit("pipelines/ocr.yaml", "output: rec.logits, metric: cosine", "output: digits, metric: cosine")
    example.edit("pipelines/ocr.yaml", "output: rec.logits, metric: top1", "output: digits, metric: top1")

    example.env["TRTPIPE_ALLOW_PROJECT_CODE"] = "0"
    refused = example.run("build", "ocr")
    shown = example.run("allow")
    assert refused.code == 1
    assert "pipelines/ocr.yaml:" in refused.err
    assert "runs the Python file 'drivers/ocr.py', and you have not allowed it" in refused.err
    assert "drivers/ocr.py" in shown.out

    example.env["TRTPIPE_ALLOW_PROJECT_CODE"] = "1"
    done = example.run("build", "ocr")
    assert done.code == 0, done.err
    assert sorted(bundle_of(example)["validation"]["ada"]["outputs"]) == ["digits", "upright"]
    assert example.run("build", "ocr").out == "nothing to do\n"

    example.edit("drivers/ocr.py", '"upright": probs', '"upright": 1 - probs')
    assert example.run("lock", "--check", "--only", "ocr").code == 3
    assert "done     ocr:validate" in example.run("build", "ocr").err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 5", "returns int instead of a mapping"),
        ("return models.det(picture=1)", "lacks image: its inputs are image"),
        ("raise ValueError('no')", "failed at ocr.py:5: ValueError: no"),
        (
            "open('trtpipe.yaml').close(); return {'a': inputs['det.image']}",
            "reads files that the data set does not declare: trtpipe.yaml",
        ),
    ],
    ids=["no mapping", "an unknown input", "an error", "an undeclared file"],
)
def test_a_driver_that_is_wrong_is_told_where(copy: Project, body: str, said: str) -> None:
    head = DRIVER[: DRIVER.index("    crop")]
    copy.write("drivers/ocr.py", f"{head}    {body}\n")
    copy.edit("pipelines/ocr.yaml", "outputs: [cls.probs]", "python: drivers.ocr:run")
    copy.env["TRTPIPE_ALLOW_PROJECT_CODE"] = "1"

    done = copy.run("build", "ocr")

    assert done.code == 1
    assert said in done.err
    assert "Traceback" not in done.err


def test_which_report_explain_and_events_know_the_bundle(copy: Project) -> None:
    which = copy.run("which", "build/ocr.rec/fp16@ada/model.engine")
    explained = copy.run("explain", "ocr")
    events = copy.run("build", "ocr", "--force", "--json").events

    assert "bundle     ocr (ada rec)" in which.out
    assert "spec       pipelines/ocr.yaml" in which.out
    assert explained.out.startswith("# ocr\n\nbundle ocr is up to date\n")
    assert "ocr:validate" in {one.get("address") for one in events}
    report = json.loads((copy.root / "build/report.json").read_bytes())
    assert [(one["bundle"], one["state"]) for one in report["bundles"]] == [("ocr", "complete")]
    assert "### Bundles" in (copy.root / "build/summary.md").read_text()


def test_members_of_one_pipeline_share_its_engines(example: Project) -> None:
    example.edit(
        "pipelines/ocr.yaml", "  cls: ocr-cls/fp16\n", "  cls: ocr-cls/fp16\n  again: ocr-cls/fp16\n"
    )
    example.edit("pipelines/ocr.yaml", "[cls.crop, rec.x]", "[cls.crop, again.crop, rec.x]")

    done = example.run("build", "ocr")

    assert done.code == 0, done.err
    members = locked(example)["bundles"]["ocr"]["members"]
    assert members["ada again"] == members["ada cls"]
    assert done.out.startswith("built 3 engines")


def test_a_bundle_without_a_member_is_not_written(example: Project) -> None:
    example.edit(
        "pipelines/ocr-cls.yaml",
        "validate: {data: ocr}",
        "validate:\n  data: ocr\n  thresholds: [{output: probs, metric: max_abs, max: 0.0}]",
    )

    done = example.run("build", "ocr", "--keep-going")

    assert done.code == 1
    assert "bundles" not in locked(example)
    assert not (example.root / "build/ocr").exists()


def test_golden_records_the_whole_and_the_spec_takes_the_recording(example: Project) -> None:
    done = example.run("golden", "ocr", "--samples", "8")

    assert done.code == 0, done.err
    assert "recorded 8 samples of the reference in golden/ocr.npz" in done.out
    assert "  golden: golden/ocr.npz" in done.out
    assert list(np.load(example.root / "golden/ocr.npz"))[:2] == ["in:det.image", "out:det.score"]
    assert not (example.root / "build/ocr").exists(), "nothing is built for it"
    assert "exists already" in example.run("golden", "ocr").err
    example.edit("pipelines/ocr.yaml", "  data: ocr-e2e", "  golden: golden/ocr.npz")
    assert example.run("check", "ocr").code == 0
    again = example.run("golden", "ocr", "--force")
    assert again.code == 2
    assert "the reference of ocr is a recording already" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("ocr", "--engine"), "--engine records the engine of one cell"), (("ocr-det",), "ocr-det")],
)
def test_golden_refuses_what_it_cannot_record_in_one_error(
    example: Project, arguments: tuple[str, ...], said: str
) -> None:
    done = example.run("golden", *arguments)

    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
