"""Every example of docs/store.md can be written, and every command of it run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from tests.stores.places import needs, step
from trtpipe.cli.main import app
from trtpipe.digests import digest_bytes, key_of
from trtpipe.homes import user_file
from trtpipe.loader.project import load_project
from trtpipe.loader.schema import project_schema
from trtpipe.loader.user import load_user
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import STATE_FILE, ProjectState
from trtpipe.workspace.stores import open_store

TEXT = (Path(__file__).resolve().parents[2] / "docs/store.md").read_text()
SPECS = re.findall(r"```yaml\n# trtpipe\.yaml\n(.*?)```", TEXT, re.S)
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
]


@pytest.mark.parametrize("text", SPECS)
def test_a_store_can_be_declared_so(tmp_path, text):
    jsonschema.Draft202012Validator(project_schema()).validate(yaml.safe_load(text))
    (tmp_path / "trtpipe.yaml").write_text(text)

    store = open_store(load_project(tmp_path))

    assert not list(tmp_path.glob(".trtpipe*"))
    assert store.has(digest_bytes(b"x")) is False or "remote" in text


def commands(*kinds: str) -> list[str]:
    return [line for line in COMMANDS if line.split()[2] in kinds]


@pytest.mark.parametrize("line", commands("ls", "stats", "gc", "verify", "path"))
def test_a_command_about_the_store_runs(tmp_path, monkeypatch, line):
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")
    monkeypatch.chdir(tmp_path)
    store, state = LocalStore(tmp_path / ".trtpipe/store"), ProjectState.load(tmp_path / STATE_FILE)
    with store.scratch() as scratch:
        (scratch / "x").write_bytes(b"engine")
        digest = store.put(scratch / "x")
    record = {"stage": "build_engine"}
    trace = Trace(
        key_of(record),
        "digits/fp32@ada:build_engine",
        record,
        {"model.engine": digest, "network.json": digest},
    )
    store.record(trace)
    state.remember_step(trace.address, trace.key, trace.outputs)
    state.save()

    done = CliRunner().invoke(app, shlex.split(line)[1:])

    assert done.exit_code == 0, done.output
    assert done.output


def test_a_former_store_is_taken_over(tmp_path, monkeypatch):
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / "own"))
    step(LocalStore(tmp_path / ".trtpipe/store"), "digits", b"engine")
    (line,) = commands("adopt")

    done = CliRunner().invoke(app, shlex.split(line)[1:])

    assert done.exit_code == 0, done.output
    told = f"1 artifact (6 B) and 1 trace went into {tmp_path / 'own'}; only this project trusts them"
    assert told in done.output


def test_the_users_configuration_can_be_written_so(tmp_path, monkeypatch):
    text = (Path(__file__).resolve().parents[2] / "docs/security.md").read_text()
    (block,) = re.findall(r"```yaml\n(schema: 1\n.*?)```", text, re.S)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = user_file()
    assert file is not None
    file.parent.mkdir()
    file.write_text(block)

    found = load_user()

    assert found.store.path == "/data/trtpipe"
    assert found.remotes == ("s3://team/trtpipe",)
    assert len(found.trust) == len(found.credentials) == 1


@needs("cryptography")
def test_keygen_prints_what_trust_takes_and_never_replaces_a_key(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    (line,) = commands("keygen")

    done = CliRunner().invoke(app, shlex.split(line)[1:])

    assert done.exit_code == 0, done.output
    public = done.stdout.strip()
    secret = tmp_path / "signing.key"
    assert secret.stat().st_mode & 0o777 == 0o600
    (tmp_path / "project/trtpipe.yaml").write_text(
        f"schema: 1\nstore: {{remote: r, mode: read-write, sign: ../signing.key, trust: ['{public}']}}\n"
    )
    terms = open_store(load_project(tmp_path / "project")).remote.terms
    assert terms.trusted == (public,) and terms.writes and terms.secret == secret.read_text().strip()
    again = CliRunner().invoke(app, shlex.split(line)[1:])
    assert again.exit_code == 2
    assert "exists already" in again.output


def test_every_command_of_the_page_is_proved_somewhere():
    told = commands("push", "pull", "--require-remote")
    assert told == ["trtpipe cache push", "trtpipe cache pull", "trtpipe build --require-remote"]
    stories = (Path(__file__).resolve().parents[1] / "endtoend/test_store_story.py").read_text()
    for words in ('"cache", "push"', '"cache", "pull"', '"build", "--require-remote"'):
        assert words in stories


class TestSettings:
    """What the environment says of a store."""

    def project(self, tmp_path: Path, store: str):
        (tmp_path / "trtpipe.yaml").write_text(f"schema: 1\nstore: {store}\n")
        return load_project(tmp_path)

    def test_the_remote_can_be_turned_off_and_replaced(self, tmp_path, monkeypatch):
        project = self.project(tmp_path, "{remote: s3://bucket/x}")
        assert open_store(project).remote.shown == "s3://bucket/x"
        monkeypatch.setenv("TRTPIPE_REMOTE", "/mnt/cache")
        assert open_store(project).remote.shown == "/mnt/cache"
        monkeypatch.setenv("TRTPIPE_REMOTE", "")
        assert type(open_store(project)) is LocalStore

    def test_who_may_write_is_said_by_the_spec_or_the_environment(self, tmp_path, monkeypatch):
        project = self.project(tmp_path, "{remote: s3://bucket/x}")
        assert not open_store(project).remote.terms.writes
        monkeypatch.setenv("TRTPIPE_REMOTE_MODE", "read-write")
        assert open_store(project).remote.terms.writes

    @pytest.mark.parametrize(
        ("name", "value", "fact"),
        [
            ("TRTPIPE_REMOTE_MODE", "rw", r"\$TRTPIPE_REMOTE_MODE is 'rw'"),
            ("TRTPIPE_REMOTE_TIMEOUT", "soon", r"\$TRTPIPE_REMOTE_TIMEOUT is 'soon'"),
            ("TRTPIPE_REMOTE", "http://cache.example.com/x", "plain http can be altered in transit"),
            ("TRTPIPE_REMOTE", "https://me:secret@host/x", "credentials come from the environment"),
        ],
    )
    def test_a_setting_that_is_none_is_refused(self, tmp_path, monkeypatch, name, value, fact):
        from trtpipe.errors import SpecError

        monkeypatch.setenv(name, value)
        with pytest.raises(SpecError, match=fact) as caught:
            open_store(self.project(tmp_path, "{remote: s3://bucket/x}"))
        assert "secret" not in str(caught.value)

    def test_who_lacks_the_signing_key_sends_nothing(self, tmp_path):
        store = open_store(self.project(tmp_path, "{remote: r, mode: read-write, sign: $NOWHERE}"))

        assert not store.remote.terms.writes
        assert store.warnings == ["nothing is sent to the remote store: $NOWHERE holds no signing key"]

    @needs("cryptography")
    def test_a_signing_key_that_is_none_is_refused(self, tmp_path, monkeypatch):
        from trtpipe.errors import SpecError

        monkeypatch.setenv("KEY", "-----BEGIN PRIVATE KEY-----")
        with pytest.raises(SpecError, match="the signing key is invalid"):
            open_store(self.project(tmp_path, "{remote: r, mode: read-write, sign: $KEY}"))
