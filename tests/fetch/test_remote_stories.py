"""A project whose model lies on a server, as its user meets it."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import yaml

from tests.fetch import servers
from tests.fetch.remote_project import ROOT, Project
from tests.fetch.servers import Server

DIGITS = (ROOT / "pipelines/models/digits_cnn.onnx").read_bytes()
SHA256 = hashlib.sha256(DIGITS).hexdigest()
PATH = "/models/digits.onnx"


@pytest.fixture
def url(server: Server) -> str:
    return server.put(PATH, DIGITS)


def waited(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def external(tmp_path: Path, location: str = "net.onnx.data") -> tuple[bytes, bytes]:
    """The digits model with its weights in a file beside it, wherever it says that this is."""
    model = onnx.load_from_string(DIGITS)
    onnx.save(
        model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="data", size_threshold=64
    )
    proto = onnx.load(str(tmp_path / "net.onnx"), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    return proto.SerializeToString(), (tmp_path / "data").read_bytes()


def test_a_plan_shows_the_fetch_and_asks_nobody(server: Server, url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}'}}")

    done = project.run("plan")

    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[1:3]] == [
        ["digits:fetch", "run"], ["digits:import", "pending"],
    ]  # fmt: skip
    assert not server.seen


def test_a_pin_that_is_pasted_fetches_nothing_again(server: Server, url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}'}}")

    first = project.run("check")

    assert first.code == 0, first.err
    assert first.err.startswith(
        f"fetch    {url} (61.4 KiB)\npipelines/digits.yaml:3:17: warning: {url} is not pinned\n"
    )
    assert f"  pin it in model:\n    sha256: {SHA256}\n" in first.err
    project.spec(f"{{source: '{url}', sha256: {SHA256.upper()}}}")
    second = project.run("check")
    assert (second.code, second.err) == (0, "")
    assert len(server.seen) == 1
    assert not project.partials()


@pytest.mark.slow
def test_offline_takes_the_store_or_says_all_that_is_missing(
    server: Server, url: str, project: Project
) -> None:
    project.spec(f"{{source: '{url}', sha256: {SHA256}}}")
    project.spec("{source: 's3://bucket/other.onnx'}", "other")

    for command in ("check", "build"):
        done = project.run(command, "--offline")
        assert done.code == 2
        assert f"pipelines/digits.yaml:3:17: not in the store: {url}\n" in done.err
        assert "pipelines/other.yaml:3:17: not in the store: s3://bucket/other.onnx\n" in done.err
        assert "  run `trtpipe build` once without --offline" in done.err
    assert not server.seen
    project.run("check", "pipelines/digits.yaml")
    assert project.run("check", "pipelines/digits.yaml", "--offline").code == 0


def test_another_file_than_the_pinned_one_is_told_at_its_place(url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}', sha256: {'0' * 64}}}")

    done = project.run("check")

    assert done.code == 2
    assert (
        f"pipelines/digits.yaml:3:17: cannot fetch {url}: it is not the pinned file: its sha256 is {SHA256}"
        in done.err
    )
    assert project.run("check", "--offline").code == 2


def test_a_model_that_is_none_is_told(server: Server, url: str, project: Project) -> None:
    server.put(PATH, b"<!DOCTYPE html><html>sign in</html>")
    project.spec(f"{{source: '{url}'}}")

    done = project.run("check")

    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("source", "fact"),
    [
        ("https://user:geheim@example.com/net.onnx", "it contains a user name or password"),
        ("http://example.com/net.onnx", "plain http can be altered in transit"),
        ("http://example.com/net.onnx?sig=geheim", "its credential could be read in transit"),
        ("https:///net.onnx", "it has no host"),
        ("https://example.com/models/", "it names no file"),
        ("https://example.com/a/../net.onnx", "its path contains an empty part, '.', '..' or a backslash"),
        ("https://example.com/%2e%2e/net.onnx", "its path contains an empty part, '.', '..' or a backslash"),
        ("https://example.com/net.onnx#geheim", "it holds a '#'"),
        ("s3://key:geheim@bucket/net.onnx", "it contains a key or a password"),
        ("s3:///net.onnx", "it has no bucket"),
        ("gs://bucket", "it names no file"),
        ("gs://bucket/a//b", "its path contains an empty part, '.', '..' or a backslash"),
        ("hf://org", "it does not begin with ORG/REPO"),
        ("hf://org/repo", "it names no file"),
        ("hf://org/repo@a b/net.onnx", "'a b' is not a revision"),
        ("hf://org/repo@main/../../etc/passwd", "its path contains an empty part, '.', '..' or a backslash"),
    ],
)
def test_a_bad_address_is_one_error_at_its_place(project: Project, source: str, fact: str) -> None:
    project.spec(f"{{source: '{source}'}}")

    done = project.run("check")

    assert done.code == 2
    assert done.err.startswith("pipelines/digits.yaml:3:17: not an address that can be fetched: ")
    assert fact in done.err
    assert done.err.count("pipelines/") == 1
    assert "geheim" not in done.err.replace("#geheim", "")


@pytest.mark.slow
def test_weights_beside_the_model_are_fetched_with_it(
    server: Server, project: Project, tmp_path: Path
) -> None:
    model, data = external(tmp_path, "weights/net data.bin")
    url = server.put("/models/net.onnx", model)
    server.put("/models/weights/net data.bin", data)
    pins = [hashlib.sha256(one).hexdigest() for one in (model, data)]
    project.spec(f"{{source: '{url}', sha256: {pins[0]}}}")

    first = project.run("check")

    assert first.code == 0, first.err
    assert f'    "weights/net data.bin": {pins[1]}\n' in first.err
    assert server.seen[-1].written == "/models/weights/net%20data.bin"
    pinned = f"{{source: '{url}', sha256: {pins[0]}, files: {{'weights/net data.bin': {pins[1]}}}}}"
    project.spec(pinned)
    second = project.run("check")
    assert (second.code, second.err) == (0, "")
    assert len(server.seen) == 2
    project.spec(pinned.replace(pins[1], "0" * 64))
    assert "it is not the pinned file" in project.run("check").err
    project.spec(pinned.replace("net data.bin", "other.bin"))
    assert (
        "pipelines/digits.yaml:3:" in (err := project.run("check").err)
        and "the model refers to no file 'weights/other.bin'" in err
        and "  its external data is: weights/net data.bin" in err
    )


@pytest.mark.parametrize(
    "location", ["../digits.yaml", "/etc/passwd", "C:\\net.data", "a/../../b", "model.onnx"]
)
def test_weights_that_lie_elsewhere_are_refused(
    server: Server, project: Project, tmp_path: Path, location: str
) -> None:
    url = server.put("/models/net.onnx", external(tmp_path, location)[0])
    project.spec(f"{{source: '{url}'}}")

    done = project.run("check")

    assert done.code == 2
    assert f"the model's external data is at {location!r}, which is not a plain relative name" in done.err
    assert [one.path for one in server.seen] == ["/models/net.onnx"]


def test_pins_beside_a_model_that_is_here_are_misplaced(project: Project) -> None:
    (project.root / "digits.onnx").write_bytes(DIGITS)
    project.spec(f"{{source: digits.onnx, files: {{a.data: {SHA256}, ../b: {SHA256}}}}}")

    done = project.run("check")

    assert done.code == 2
    assert "'../b' is not a plain relative name" in done.err
    assert "'files' pins data files of a remote ONNX model, but this model is not one" in done.err


def test_two_at_once_fetch_once(server: Server, url: str, project: Project) -> None:
    server.always[PATH] = servers.trickle(20, 0.1, 1000)
    project.spec(f"{{source: '{url}', sha256: {SHA256}}}")

    both = [project.start("check") for _ in range(2)]

    assert [one.wait(timeout=60) for one in both] == [0, 0]
    for one in both:
        one.communicate()
    assert server.asked(PATH) == 1


@pytest.mark.parametrize("command", ["check", "build"])
def test_an_interrupt_keeps_what_came_and_the_next_goes_on(
    server: Server, url: str, project: Project, command: str
) -> None:
    server.acts[PATH] = [servers.trickle(50, 0.2, 1000)]
    project.spec(f"{{source: '{url}'}}")
    process = project.start(command)
    waited(
        lambda: any(
            (one / "file").exists() and (one / "file").stat().st_size > 3000 for one in project.partials()
        )
    )

    process.send_signal(signal.SIGINT)

    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    kept = [one.name.partition("-")[0] for one in project.partials()]
    assert kept == ["partial"]
    assert not list((project.root / ".trtpipe/store/objects").rglob("?" * 64))
    assert project.run("check").code == 0
    assert int(server.seen[-1].headers["Range"].removeprefix("bytes=").rstrip("-")) > 3000
    assert len(server.seen) == 2
    assert not project.partials()


@pytest.mark.slow
def test_killed_at_random_moments_it_still_arrives(server: Server, url: str, project: Project) -> None:
    server.always[PATH] = servers.trickle(30, 0.05, 2000)
    project.spec(f"{{source: '{url}', sha256: {SHA256}}}")
    for pause in (0.7, 1.0, 1.3):
        process = project.start("check")
        time.sleep(pause)
        process.kill()
        process.communicate()

    assert project.run("check").code == 0


@pytest.mark.slow
def test_what_a_query_holds_is_written_nowhere(server: Server, url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}?X-Amz-Signature=geheim&v=offen'}}")

    done = project.run("check")
    plan = project.run("plan", "--json")
    story = project.run("explain", "digits/fp32@ada")

    assert server.seen[0].written.endswith("?X-Amz-Signature=geheim&v=offen")
    said = done.out + done.err + plan.out + plan.err + story.out + story.err
    kept = [path.read_bytes() for path in (project.root / ".trtpipe").rglob("*") if path.is_file()]
    for word in ("geheim", "offen"):
        assert word not in said
        assert not any(word.encode() in text for text in kept)
    project.spec(f"{{source: '{url}?X-Amz-Signature=anders&v=offen'}}")
    assert project.run("check", "--offline").code == 0
    project.spec(f"{{source: '{url}?X-Amz-Signature=anders&v=2'}}")
    assert project.run("check", "--offline").code == 2


@pytest.mark.slow
def test_a_branch_moves_and_a_commit_does_not(server: Server, project: Project) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    project.env["HF_ENDPOINT"] = server.url("")
    for revision in ("main", commit):
        server.put(f"/org/repo/resolve/{revision}/digits.onnx", DIGITS)
        served = servers.served_with(X_Repo_Commit=commit)
        server.always[f"/org/repo/resolve/{revision}/digits.onnx"] = served
    project.spec(f"{{source: 'hf://org/repo@main/digits.onnx', sha256: {SHA256}}}")

    done = project.run("check")

    assert done.code == 0
    assert f"warning: 'main' may change: it is commit {commit} now\n" in done.err
    assert f"  write hf://org/repo@{commit}/digits.onnx\n" in done.err
    project.spec(f"{{source: 'hf://org/repo@{commit}/digits.onnx', sha256: {SHA256}}}")
    assert project.run("check").err == ""
    assert len(server.seen) == 1


STAND_IN = """\
from typing import Annotated

from trtpipe.frontends import ModelFiles
from trtpipe.spec.fields import AsTuple, ProjectFile, SpecModel


class Layer(SpecModel):
    weights: ProjectFile


class Options(SpecModel):
    layers: Annotated[tuple[Layer, ...], AsTuple]


class StandIn:
    name, version, Options, needs_source, takes_directory = "standin", 1, Options, False, False
    companion = ""
    packages, extra = (), ""

    def belonging(self, files, options):
        return []

    def read(self, files, options, workplace):
        from trtpipe.canonical.reader import read_skeleton

        file = files.named["layers.1.weights"]
        assert file.suffix == ".onnx" and options.layers[1].weights == "digits.onnx"
        assert files.named["layers.0.weights"].read_bytes() == b"here"
        return read_skeleton(file).proto

    def propose(self, path):
        return None


frontend = StandIn()
"""


@pytest.fixture
def stand_in(project: Project, tmp_path: Path) -> None:
    """A parser whose options name files; every process of trtpipe finds it."""
    folder = tmp_path / "more"
    (folder / "frontends").mkdir(parents=True)
    (folder / "frontends/standin.py").write_text(STAND_IN)
    (folder / "sitecustomize.py").write_text(
        f"import trtpipe.frontends\ntrtpipe.frontends.__path__.append({str(folder / 'frontends')!r})\n"
    )
    project.env["PYTHONPATH"] = f"{folder}:{ROOT}"


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_files_of_a_parser_s_options_are_fetched_too(server: Server, url: str, project: Project) -> None:
    (project.root / "here.bin").write_bytes(b"here")
    here = hashlib.sha256(b"here").hexdigest()
    there = f"{{source: '{url}?sig=geheim', sha256: {SHA256}}}"
    layers = f"[{{weights: {{source: here.bin, sha256: {here}}}}}, {{weights: {there}}}]"
    project.spec(f"{{parser: standin, options: {{layers: {layers}}}}}")

    done = project.run("check")

    assert (done.code, server.asked(PATH)) == (0, 1), done.err
    assert "not pinned" not in done.err
    assert project.run("check", "--offline").err == ""
    kept = [path.read_bytes() for path in (project.root / ".trtpipe").rglob("*") if path.is_file()]
    assert not any(b"geheim" in text for text in kept)
    project.spec(f"{{parser: standin, options: {{layers: {layers.replace(here, '0' * 64)}}}}}")
    assert f"here.bin is not the pinned file: its sha256 is {here}" in project.run("check").err
    project.spec(f"{{parser: standin, options: {{layers: {layers.replace('sha256: ' + SHA256, '')}}}}}")
    loose = project.run("check")
    assert loose.code == 0, loose.err
    assert f'pin it: weights: {{source: "{url}?…", sha256: {SHA256}}}' in loose.err


@pytest.mark.slow
@pytest.mark.engine
def test_an_engine_is_built_from_what_was_fetched(server: Server, url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}', sha256: {SHA256}}}")

    done = project.run("build")

    assert done.code == 0, done.err
    assert project.run("build").out == "nothing to do\n"
    assert project.manifest()["origin"] == {
        "source/model.onnx": {"url": url, "pinned": True, "sha256": SHA256}
    }
    lock = (project.root / "trtpipe.lock").read_text()
    assert f"model.onnx: {url} (sha256 {SHA256})" in lock

    # The same bytes elsewhere rebuild nothing, and a pin that was verified is not asked for again.
    project.spec(f"{{source: '{server.url('/elsewhere.onnx')}', sha256: {SHA256}}}")
    moved = project.run("build", "--json")
    assert (moved.code, moved.ran) == (0, [])
    assert project.manifest()["origin"]["source/model.onnx"]["url"] == server.url("/elsewhere.onnx")
    server.put("/unpinned.onnx", DIGITS)
    project.spec(f"{{source: '{server.url('/unpinned.onnx')}'}}")
    loose = project.run("build", "--json")
    assert (loose.code, loose.ran) == (0, [])
    without = [
        line
        for line in (project.root / "trtpipe.lock").read_text().splitlines()
        if "://" not in line and "recipe" not in line
    ]
    assert without == [line for line in lock.splitlines() if "://" not in line and "recipe" not in line]
    assert [one.path for one in server.seen] == [PATH, "/unpinned.onnx"]
    assert project.run("build").out == "nothing to do\n"

    # The model from the project's own directory gives the same engine under the same key.
    (project.root / "digits.onnx").write_bytes(DIGITS)
    project.spec("{source: digits.onnx}")
    here = project.run("build", "--json")
    assert (here.code, here.ran) == (0, [])
    assert "origin" not in project.manifest()


@pytest.mark.slow
@pytest.mark.engine
def test_force_fetches_anew_what_may_have_changed(server: Server, url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}'}}")
    assert project.run("build").code == 0

    assert project.run("build", "--force").code == 0
    assert server.asked(PATH) == 2
    project.spec(f"{{source: '{url}', sha256: {SHA256}}}")
    assert project.run("build", "--force").code == 0
    assert project.run("build", "--offline").out == "nothing to do\n"

    assert server.asked(PATH) == 2


@pytest.mark.slow
@pytest.mark.engine
def test_what_the_store_lost_is_fetched_again(server: Server, url: str, project: Project) -> None:
    project.spec(f"{{source: '{url}', sha256: {SHA256}}}")
    assert project.run("build").code == 0
    for path in (project.root / ".trtpipe/store/objects").rglob("?" * 64):
        path.unlink()
    for path in (project.root / "build/digits/fp32@ada").iterdir():
        path.unlink()

    assert project.run("build").code == 0
    assert server.asked(PATH) == 2


@pytest.mark.engine
@pytest.mark.parametrize(
    "kind", ["http", pytest.param("hf", marks=pytest.mark.slow), pytest.param("s3", marks=pytest.mark.slow)]
)
def test_init_writes_a_spec_that_builds(server: Server, project: Project, tmp_path: Path, kind: str) -> None:
    model, data = external(tmp_path)
    commit = "0123456789abcdef0123456789abcdef01234567"
    address = {
        "http": server.url("/models/net.onnx"),
        "hf": "hf://org/repo/onnx/net.onnx",
        "s3": "s3://bucket/net.onnx",
    }
    homes = {
        "http": ["/models"],
        "hf": [f"/org/repo/resolve/{one}/onnx" for one in ("main", commit)],
        "s3": ["/bucket"],
    }
    for home in homes[kind]:
        for name, content in (("net.onnx", model), ("net.onnx.data", data)):
            server.put(f"{home}/{name}", content)
            if kind == "hf":
                server.always[f"{home}/{name}"] = servers.served_with(X_Repo_Commit=commit)
    project.env["HF_ENDPOINT"] = server.url("")
    if kind == "s3":
        pytest.importorskip("obstore", reason="not run: needs the extra 'remote'")
        project.env |= {"AWS_ENDPOINT_URL": server.url(""), "AWS_SKIP_SIGNATURE": "true"}
    (project.root / "pipelines").mkdir()

    begun = project.run("init", address[kind])

    assert begun.code == 0, begun.err
    text = (project.root / "pipelines/net.yaml").read_text()
    pins = [hashlib.sha256(one).hexdigest() for one in (model, data)]
    source = address[kind].replace("hf://org/repo/", f"hf://org/repo@{commit}/")
    expected = {"source": source, "sha256": pins[0], "files": {"net.onnx.data": pins[1]}}
    assert yaml.safe_load(text)["model"] == expected
    asked = len(server.seen)
    built = project.run("build", "--only", "*/fp32@sm89")
    assert built.code == 0, built.err
    assert "warning" not in built.err
    assert len(server.seen) == asked


def test_init_says_what_is_wrong_with_an_address(server: Server, project: Project) -> None:
    for address, fact in {
        "s3://bucket": "it names no file",
        server.url("/nothing.onnx"): "the server answered 404 not found",
    }.items():
        done = project.run("init", address)
        assert done.code == 2
        assert fact in done.err
        assert "Traceback" not in done.err
    server.put("/page.onnx", b"<html></html>")
    done = project.run("init", server.url("/page.onnx"))
    assert (done.code, "Traceback" in done.err) == (2, False)


def test_a_build_without_remote_files_loads_nothing_for_them(project: Project) -> None:
    (project.root / "digits.onnx").write_bytes(DIGITS)
    project.spec("{source: digits.onnx}")
    code = (
        "import sys; from trtpipe.building.planned import make_plan; "
        "from trtpipe.workspace.workspace import open_workspace; "
        "make_plan(open_workspace([])); "
        "print([name for name in sys.modules if name.startswith(('trtpipe.fetch', 'obstore', 'http', 'ssl'))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.root, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == "[]\n"
