"""A team builds the same commit with other packages and on other processors: results count, and not what made them.

Another version of a package is played by its metadata alone, which stands before the installed one: what it computes
stays the same, so every result must. Other results are played by the lockfile, which claims them.
"""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.projects import Project, make_project
from trtpipe.digests import digest_file
from trtpipe.lockfile import load_lock, shown_digest

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  int8: {precision: int8, calibration: {data: digits-calib, samples: 16}}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
builder: {workspace: 1GiB}
validate: {data: digits-val, samples: 16, corners: false, thresholds: [{metric: cosine, min: 0.9}]}
"""
LOCK, CELL = "trtpipe.lock", "digits/int8@ada"
CALIBRATE = "digits/digits-calib+entropy+16:calibrate"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One int8 cell, built."""
    project = make_project(tmp_path_factory.mktemp("small") / "project", SPEC)
    add_data(project)
    done = project.run("build")
    assert done.code == 0, done.err
    return project


def add_data(project):
    from tests.projects import ROOT

    shutil.copytree(ROOT / "calibration", project.root / "calibration")


@pytest.fixture
def clone(small, tmp_path):
    """What is in version control, on a machine that never built anything."""
    shutil.copytree(small.root, tmp_path / "clone", ignore=shutil.ignore_patterns("build", ".trtpipe"))
    return Project(tmp_path / "clone")


@pytest.fixture
def mine(small, tmp_path):
    """A copy of what was built, store included."""
    shutil.copytree(small.root, tmp_path / "mine", symlinks=True)
    return Project(tmp_path / "mine")


def lock_of(project):
    return (project.root / LOCK).read_text()


def with_version(project, tmp_path, package, version):
    """The same project where that version of a package is installed."""
    folder = tmp_path / f"{package}-{version}"
    about = folder / f"{package}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    other = Other(project.root)
    other.overlay = str(folder)
    return other


class Other(Project):
    """A project whose commands find other metadata first."""

    overlay = ""

    def environment(self):
        import os

        found = super().environment()
        return {**found, "PYTHONPATH": f"{self.overlay}{os.pathsep}{found['PYTHONPATH']}"}


def steps_in(text):
    """The steps of a lockfile, by address."""
    import yaml

    return yaml.safe_load(text)["steps"]


# -- packages


def test_the_lockfile_names_what_made_a_result(small):
    steps = load_lock(small.root / LOCK).steps

    made = {address: entry.get("made_with", "") for address, entry in steps.items()}
    assert "onnxruntime " in made["digits:import"] and "numpy " in made[CALIBRATE]
    assert steps[CALIBRATE]["made_on"].startswith(("x86_64", "aarch64", "arm64"))


def test_equal_results_of_another_version_pass_and_are_noted(small, clone, tmp_path):
    here = with_version(clone, tmp_path, "numpy", "9.9.9")

    checked = here.run("lock", "--check")
    built = here.run("build", "--frozen")

    assert checked.code == 0
    assert f"{CELL} agrees except for versions, not proved: numpy " in checked.out
    assert " in the lockfile, 9.9.9 here" in checked.out
    assert built.code == 0, built.err
    assert "in the lockfile, 9.9.9 here: same results" in built.err + built.out
    assert clone.engine("int8@ada") == small.engine("int8@ada")
    assert lock_of(clone) == lock_of(small)

    again = here.run("build", "--frozen", "--json")
    assert again.code == 0
    assert {"name": "numpy", "here": "9.9.9"}.items() <= again.events[0].items()
    report = json.loads(here.run("lock", "--check", "--json").out)
    assert (report["agrees"], report["agrees_but_for_versions"]) == (True, {})  # by now it is proved


def test_a_plain_build_with_another_version_builds_no_engine_and_keeps_the_lockfile(small, mine, tmp_path):
    here = with_version(mine, tmp_path, "onnx", "9.9.9")

    built = here.run("build", "--json")

    assert built.code == 0, built.err
    assert "digits:import" in built.ran
    assert f"{CELL}:build_engine" not in built.ran
    assert lock_of(mine) == lock_of(small)


# -- scales


def other_scales(project, folder):
    """A file of scales that another processor could have come to."""
    path = next(project.root.glob(f"build/{CELL}/scales.json"))
    text = path.read_text()
    record = json.loads(text)
    for scale in record["tensors"].values():
        scale["amax"] *= 1.01
    folder.mkdir(exist_ok=True)
    out = folder / "digits.scales.json"
    out.write_text(json.dumps(record, indent=1) + "\n")
    return out


def claimed(project, scales):
    """The lockfile of somebody whose machine came to those scales."""
    lock = lock_of(project)
    own = steps_in(lock)[CALIBRATE]["scales.json"]
    project.write(LOCK, lock.replace(own, shown_digest(digest_file(scales))))


@pytest.fixture(scope="module")
def theirs(small, tmp_path_factory):
    """The same commit, built by somebody whose processor came to other scales, which were committed."""
    ignored = shutil.ignore_patterns("build", ".trtpipe")
    root = tmp_path_factory.mktemp("theirs") / "project"
    shutil.copytree(small.root, root, ignore=ignored)
    project = Project(root)
    claimed(project, other_scales(small, root / "calibration"))
    done = project.run("build")
    assert done.code == 0, done.err
    return project


def test_committed_scales_of_the_lockfile_are_taken_instead_of_ones_own(small, theirs):
    (scales,) = (theirs.root / "calibration").glob("*.scales.json")

    assert theirs.manifest("int8@ada")["calibration"]["from"] == "the lockfile"
    assert (theirs.root / "build" / CELL / "scales.json").read_bytes() == scales.read_bytes()
    assert theirs.engine("int8@ada") != small.engine("int8@ada")
    assert theirs.run("build", "--frozen").out == "nothing to do\n"


def test_a_forced_build_calibrates_anew(small, theirs, tmp_path):
    shutil.copytree(theirs.root, tmp_path / "mine", symlinks=True)
    mine = Project(tmp_path / "mine")

    anew = mine.run("build", "--force")

    assert anew.code == 0, anew.err
    assert "from" not in mine.manifest("int8@ada")["calibration"]
    assert mine.engine("int8@ada") == small.engine("int8@ada")


def test_building_again_to_check_calibrates_anew(theirs):
    """It is to tell what comes out here, and not what the lockfile says."""
    checked = theirs.run("build", "--check")

    grades = dict(re.findall(r"^(\S+) +(\w+)  ", checked.out, re.M))
    assert (grades["digits:import"], grades[CALIBRATE]) == ("identical", "different")


def without_scales(theirs, tmp_path):
    """A clone of theirs, where nobody committed the scales."""
    shutil.copytree(
        theirs.root, tmp_path / "clone", ignore=shutil.ignore_patterns("build", ".trtpipe", "*.scales.json")
    )
    return Project(tmp_path / "clone")


def test_other_bytes_are_refused_with_the_version_that_explains_them(theirs, tmp_path):
    """Early: what stands behind the step is not built."""
    clone = without_scales(theirs, tmp_path)
    here = with_version(clone, tmp_path, "onnxruntime", "9.9.9")

    refused = here.run("build", "--frozen", "--json")

    assert refused.code == 3
    (failed,) = refused.events[-1]["failed"]
    (told,) = failed["problems"]
    assert told["fact"] == f"{failed['step']} does not yield what the lockfile says"
    assert failed["step"] == CALIBRATE
    assert "scales.json: " in told["remedy"] and "onnxruntime " in told["remedy"]
    assert "in the lockfile, 9.9.9 here" in told["remedy"]
    assert not any("build_engine" in one for one in refused.ran)
    assert not (clone.root / "build").exists()
    assert lock_of(clone) == lock_of(theirs)


def test_scales_that_nobody_has_are_told_apart_from_a_change(theirs, tmp_path):
    """The same packages and processor, and other scales: nothing explains it, and nothing is delivered."""
    clone = without_scales(theirs, tmp_path)

    refused = clone.run("build", "--frozen")

    assert refused.code == 3
    assert f"{CALIBRATE} does not yield what the lockfile says" in refused.err
    assert not (clone.root / "build").exists()


def test_what_was_calibrated_here_gives_way_to_the_lockfile_that_was_pulled(small, mine):
    scales = other_scales(small, mine.root / "calibration")
    claimed(mine, scales)

    built = mine.run("build", "--json")

    assert built.code == 0, built.err
    assert CALIBRATE in built.ran
    assert (mine.root / "build" / CELL / "scales.json").read_bytes() == scales.read_bytes()


# -- a store that says something else


def test_a_store_that_contradicts_the_lockfile_stops_the_build(mine):
    lock = lock_of(mine)
    honest = steps_in(lock)["digits/int8:quantize"]["model.onnx"]
    mine.write(LOCK, lock.replace(honest, "0" * 64 + honest[64:]))
    forged = lock_of(mine)

    planned = mine.run("plan", "--exit-code")
    stopped = mine.run("build")

    assert planned.code == 1
    assert "the build would stop: digits/int8:quantize has another result" in planned.err
    assert stopped.code == 3
    assert "digits/int8:quantize has another result in the store than in the lockfile" in stopped.err
    assert lock_of(mine) == forged

    assert mine.run("build", "--force").code == 0  # the remedy
    assert lock_of(mine) == lock


def test_an_engine_that_contradicts_the_lockfile_stops_the_build(mine):
    lock = lock_of(mine)
    forged = lock.replace("normalised: ", "normalised: 0000").replace("engine: ", "engine: 0000")
    mine.write(LOCK, forged)
    shutil.rmtree(mine.root / "build")

    stopped = mine.run("build")

    assert (stopped.code, lock_of(mine)) == (3, forged)
    assert "model.engine" in stopped.err
