"""The user's own `config.yaml`: what is read of it, and that `trtpipe allow` writes its own section alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtpipe import permissions
from trtpipe.errors import SpecError
from trtpipe.loader.user import allowed_in, grant_allowed, load_user, write_allowed
from trtpipe.problem_codes import Code

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(permissions, "_granted", set())
    return tmp_path / "config" / "trtpipe" / "config.yaml"


@pytest.fixture
def project(tmp_path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def test_without_a_file_all_is_as_by_default(config):
    user = load_user()

    assert (user.remotes, user.trust, user.allowed, user.store.path) == ((), (), (), None)
    assert not config.exists()


def test_what_was_allowed_is_granted_to_this_project_alone(config, project, tmp_path):
    assert write_allowed(project, [B, A]) == config

    assert config.read_text() == (
        "schema: 1\n\n"
        "# What projects may run, by the digest of what would run. Written by `trtpipe allow`.\n"
        "allowed:\n"
        f'  - project: "{project}"\n'
        "    code:\n"
        f"      - {A}\n"
        f"      - {B}\n"
    )
    assert allowed_in(load_user(), project) == {A, B}
    assert allowed_in(load_user(), tmp_path) == set()
    grant_allowed(tmp_path)
    assert permissions.granted_digests() == frozenset()
    grant_allowed(project)
    assert permissions.granted_digests() == {A, B}


def test_a_project_is_known_by_its_real_path(config, project, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(project)

    write_allowed(link, [A])

    assert allowed_in(load_user(), project) == allowed_in(load_user(), link) == {A}


def test_what_is_allowed_anew_takes_the_place_of_what_was_and_leaves_other_projects(
    config, project, tmp_path
):
    write_allowed(tmp_path, [C])
    write_allowed(project, [A])

    write_allowed(project, [B])

    assert [(one.project, one.code) for one in load_user().allowed] == [
        (str(tmp_path), (C,)),
        (str(project), (B,)),
    ]


def test_what_the_user_wrote_stays_to_the_letter(config, project):
    written = "schema: 1\n# mine\nremotes:   [ 's3://b/p' ]  # why\n"
    config.parent.mkdir(parents=True)
    config.write_text(written)

    write_allowed(project, [A])
    write_allowed(project, [])

    assert config.read_text() == written
    assert load_user().remotes == ("s3://b/p",)


def test_a_section_in_the_middle_is_rewritten_at_the_end(config, project):
    config.parent.mkdir(parents=True)
    config.write_text(f"schema: 1\nallowed:\n- project: /x\n  code: [{C}]\n\nremotes: []\n")

    write_allowed(project, [A])

    assert config.read_text().startswith("schema: 1\nremotes: []\n")
    assert {one.project: one.code for one in load_user().allowed} == {"/x": (C,), str(project): (A,)}


def test_a_project_whose_path_yaml_would_misread_is_found_again(config, tmp_path):
    odd = tmp_path / "a: 'b' \"c\" # d"
    odd.mkdir()

    write_allowed(odd, [A])

    assert allowed_in(load_user(), odd) == {A}


def test_a_wrong_configuration_is_told_and_not_overwritten(config, project):
    config.parent.mkdir(parents=True)
    config.write_text("schema: 1\nremote: s3://b/p\n")

    with pytest.raises(SpecError, match="remote"):
        write_allowed(project, [A])

    assert config.read_text() == "schema: 1\nremote: s3://b/p\n"


def test_where_nothing_can_be_written_the_file_is_named(config, project):
    config.parent.parent.mkdir()
    config.parent.write_text("a file in place of the directory")

    with pytest.raises(SpecError) as caught:
        write_allowed(project, [A])

    (problem,) = caught.value.problems
    assert problem.code == Code.CANNOT_WRITE
    assert problem.fact.startswith(f"cannot write {config}: ")


def test_a_user_without_a_home_is_told_what_to_set(config, project, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", homeless)

    assert load_user().allowed == ()
    with pytest.raises(SpecError, match="there is no home directory to keep it in") as caught:
        write_allowed(project, [A])
    assert caught.value.problems[0].remedy == "set XDG_CONFIG_HOME to a directory"
