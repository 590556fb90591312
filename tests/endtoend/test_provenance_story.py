"""Who asks where an engine came from: the statements beside it, and `which`."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.provenance.formats import assert_valid_bill, assert_valid_statement

STATEMENTS = ("provenance.json", "model.cdx.json")


def folder_of(project, cell="fp16@ada"):
    return project.root / "build" / "digits" / cell


def git(project, *arguments):
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(["git", *who, *arguments], cwd=project.root, check=True, capture_output=True)


def test_every_engine_has_statements_in_the_published_formats(built):
    for cell in ("fp32@ada", "fp16@ada", "fp32@ampere", "fp16@ampere"):
        folder = folder_of(built, cell)
        statement = json.loads((folder / "provenance.json").read_bytes())
        bill = json.loads((folder / "model.cdx.json").read_bytes())

        sha256 = hashlib.sha256((folder / "model.engine").read_bytes()).hexdigest()
        assert statement["subject"][0]["digest"]["sha256"] == sha256
        assert_valid_statement(statement)
        assert_valid_bill(bill)


def test_the_source_is_named_by_the_digest_that_anyone_can_compute(built):
    statement = json.loads((folder_of(built) / "provenance.json").read_bytes())
    listed = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    model = next(one for one in listed if one["annotations"]["kind"] == "model")
    wheels = [one["annotations"] for one in listed if one["annotations"]["kind"] == "toolchain"]

    source = (built.root / "models" / "digits.onnx").read_bytes()
    assert model["digest"]["sha256"] == hashlib.sha256(source).hexdigest()
    assert {one["package"] for one in wheels} >= {"tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings"}
    assert all(len(one["contents_sha256"]) == 64 for one in wheels)


def test_a_restored_engine_gets_the_same_statements(copy):
    before = {name: (folder_of(copy) / name).read_bytes() for name in STATEMENTS}
    shutil.rmtree(copy.root / "build")

    done = copy.run("build", "--json")

    assert (done.code, done.ran) == (0, [])
    assert {name: (folder_of(copy) / name).read_bytes() for name in STATEMENTS} == before


def test_statements_name_no_user_no_machine_and_no_path_of_it(built):
    for name in STATEMENTS:
        text = (folder_of(built) / name).read_text()
        for told in (str(built.root), str(Path.home()) + "/", str(Path(sys.prefix)), "/tmp/"):
            assert told not in text
        user = getpass.getuser()
        assert user not in text or user in ("root", "builder", "build")


@pytest.fixture(scope="module")
def committed(built, tmp_path_factory):
    """A repository whose history has two engines of one cell, and one that was taken out again."""
    root = tmp_path_factory.mktemp("committed") / "project"
    shutil.copytree(built.root, root, symlinks=True)
    project = type(built)(root)
    git(project, "init", "-q")
    git(project, "add", "pipelines", "models", "trtpipe.lock")
    git(project, "commit", "-q", "-m", "Build digits")
    return project


def test_an_engine_is_known_by_its_bytes_wherever_it_lies(committed, tmp_path):
    lone = tmp_path / "model_final_v2.bin"
    shutil.copy(folder_of(committed) / "model.engine", lone)

    done = committed.run("which", str(lone), "--json")

    found = json.loads(done.out)
    assert done.code == 0
    assert found["cells"] == ["digits/fp16@ada"]
    assert found["specs"] == {"digits": "pipelines/digits.yaml"}
    assert {one["where"] for one in found["found"]} == {"build", "lockfile", "store"}
    assert [one["subject"] for one in found["commits"]] == ["Build digits"]
    assert found["found"][0]["report"].startswith("build/digits/fp16@ada/")


def test_the_answer_for_people_says_where_each_thing_was_found(committed):
    done = committed.run("which", "build/digits/fp16@ada/model.engine")

    assert done.code == 0
    for part in (
        "cell       digits/fp16@ada",
        "spec       pipelines/digits.yaml",
        "the manifest beside it: build/digits/fp16@ada/manifest.json",
        "the lockfile: trtpipe.lock",
        "Build digits",
    ):
        assert part in done.out


def test_a_digest_is_enough_be_it_short_or_sha256(committed):
    digests = json.loads((folder_of(committed) / "provenance.json").read_bytes())["subject"][0]["digest"]

    for asked in (digests["blake3"], digests["blake3"][:8], digests["sha256"], digests["sha256"].upper()):
        done = committed.run("which", asked, "--json")

        assert (done.code, json.loads(done.out)["cells"]) == (0, ["digits/fp16@ada"]), asked


def test_an_engine_of_last_year_is_known_by_the_lockfiles_history(committed, tmp_path):
    engine = committed.engine("fp32@ampere")
    project = type(committed)(tmp_path / "later")
    shutil.copytree(committed.root, project.root, symlinks=True)
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    assert project.run("build").code == 0
    git(project, "commit", "-q", "-a", "-m", "Drop the Ampere cards")
    shutil.rmtree(project.root / ".trtpipe")
    shutil.rmtree(project.root / "build")
    old = tmp_path / "old.engine"
    old.write_bytes(engine)

    found = json.loads(project.run("which", str(old), "--json").out)

    assert found["cells"] == ["digits/fp32@ampere"]
    assert [(one["subject"], one["cells"]) for one in found["commits"]] == [
        ("Drop the Ampere cards", []),
        ("Build digits", ["digits/fp32@ampere"]),
    ]


def test_an_engine_that_nobody_knows_is_told_by_its_header(committed, tmp_path):
    stranger = tmp_path / "stranger.engine"
    engine = bytearray(committed.engine())
    engine[-1] ^= 1
    stranger.write_bytes(engine)

    done = committed.run("which", str(stranger))

    assert done.code == 1
    assert "unknown" in done.out
    assert "header     TensorRT 1." in done.out
    assert "sm89" in done.out


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "the file is empty"), (b"vtrt", "damaged"), (b"\x89PNG", "not a TensorRT")]
)
def test_a_file_that_is_no_engine_is_unknown_and_says_why(committed, tmp_path, content, said):
    other = tmp_path / "other"
    other.write_bytes(content)

    done = committed.run("which", str(other))

    assert done.code == 1
    assert said in done.out or "not a TensorRT engine" in done.out
    assert "Traceback" not in done.err


def test_a_models_digest_in_the_lockfile_is_no_engine(committed):
    done = committed.run("which", "models/digits.onnx", "--json")

    found = json.loads(done.out)
    assert (done.code, found["cells"], found["commits"]) == (1, [], [])


@pytest.mark.parametrize("asked", ["nope", "1234567", "build"])
def test_what_is_neither_file_nor_digest_is_refused(committed, asked):
    done = committed.run("which", asked)

    assert done.code == 2
    assert asked in done.err


def test_damage_around_an_engine_stops_nobody_from_knowing_it(committed, tmp_path):
    project = type(committed)(tmp_path / "damaged")
    shutil.copytree(committed.root, project.root, symlinks=True)
    (folder_of(project) / "manifest.json").write_text("[1")
    (project.root / "trtpipe.lock").write_text("cells: [\n")

    found = json.loads(project.run("which", "build/digits/fp16@ada/model.engine", "--json").out)

    assert found["cells"] == ["digits/fp16@ada"]
    assert {one["where"] for one in found["found"]} == {"store"}
    assert any("lockfile" in note for note in found["notes"])


NONSENSE = [
    "[" * 100_000,
    '{"engine": 5, "steps": 5, "subject": 5, "outputs": 5}',
    '{"engine": {"blake3": "deadbeefdeadbeef"}, "steps": 5, "toolchain": 7, "cell": ["a"], "compute_capabilities": 3}',
    '{"subject": [5, {"digest": 5}, {"digest": {"sha256": "deadbeefdeadbeef"}}], "fingerprint": {"tools": 5}}',
    '{"outputs": {"model.engine": "deadbeefdeadbeef/1"}, "fingerprint": 5, "address": 3}',
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_where_answers_should_be_is_passed_over(new_project, tmp_path, text):
    project = new_project(tmp_path / "project")
    for name in (
        "build/x/y/manifest.json",
        "build/x/y/provenance.json",
        ".trtpipe/store/traces/de/adbeef.json",
    ):
        project.write(name, text)

    for arguments in ((), ("--json",)):
        done = project.run("which", "deadbeefdeadbeef", *arguments)

        assert done.code in (0, 1)
        assert "Traceback" not in done.err


DOCS = Path(__file__).resolve().parents[2] / "docs" / "provenance.md"
EXAMPLES = re.findall(r"^trtpipe (.+)$", DOCS.read_text(), re.M)


@pytest.mark.parametrize("line", EXAMPLES)
def test_every_example_of_the_documentation_works(committed, line):
    done = committed.run(*line.split())

    assert done.code == 0, done.err


def test_what_the_documentation_says_of_the_statements_fields_is_so(built):
    statement = json.loads((folder_of(built) / "provenance.json").read_bytes())["predicate"]
    definition, run = statement["buildDefinition"], statement["runDetails"]

    text = DOCS.read_text()
    assert f"`{definition['buildType']}`" in text
    assert f"`{run['builder']['id']}`" in text
    for name in (*definition, *run.keys() - {"metadata"}):
        assert name in text
