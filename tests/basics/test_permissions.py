"""What code a project may run: what identifies it, who may allow it, what a child inherits, and how a refusal reads."""

from __future__ import annotations

from typing import get_args

import pytest

from trtpipe import permissions
from trtpipe.errors import SpecError
from trtpipe.permissions import ALLOW_ALL, Kind, code_of, grant, is_granted, not_allowed, require
from trtpipe.problem_codes import Code

CODE = code_of("code", "calibration/waves.py", [b"x = 1"])


@pytest.fixture(autouse=True)
def _nothing_granted(monkeypatch):
    monkeypatch.setattr(permissions, "_granted", set())
    monkeypatch.delenv(ALLOW_ALL, raising=False)


def test_code_is_what_it_contains_and_of_which_kind_it_is():
    same = code_of("code", "elsewhere.py", [b"x = 1"])
    others = [
        code_of("code", "calibration/waves.py", [b"x = 2"]),
        code_of("library", "calibration/waves.py", [b"x = 1"]),
        code_of("code", "calibration/waves.py", [b"x", b" = 1"]),
        code_of("code", "calibration/waves.py", [b"x = 1", b""]),
    ]

    assert same.digest == CODE.digest
    assert len({CODE.digest, *(one.digest for one in others)}) == 5


def test_what_has_no_contents_here_is_known_by_its_name():
    assert code_of("interpreter", "python3.9").digest == code_of("interpreter", "python3.9").digest
    assert code_of("interpreter", "python3.9").digest != code_of("interpreter", "python3.8").digest


WORDS = {
    "interpreter": "this project runs the program 'X'",
    "library": "this project runs the library 'X'",
    "code": "this project runs the Python file 'X'",
    "directory": "this project reads files in the directory 'X'",
    "link": "this project has a link that is written through, to 'X'",
    "store": "this project uses the store 'X'",
}


@pytest.mark.parametrize(("kind", "words"), WORDS.items())
def test_a_refusal_names_what_would_happen_and_how_to_allow_it(kind, words):
    problem = not_allowed(code_of(kind, "X"), ("model", "source"))

    assert problem.code == Code.CODE_NOT_ALLOWED
    assert problem.fact == f"{words}, and you have not allowed it"
    assert problem.remedy == ("`trtpipe allow` shows it and asks you; in CI set TRTPIPE_ALLOW_PROJECT_CODE=1")
    assert problem.path == ("model", "source")


def test_no_kind_of_code_is_forgotten_above():
    assert set(WORDS) == set(get_args(Kind))


def test_nothing_runs_until_its_own_digest_is_granted():
    other = code_of("code", "calibration/waves.py", [b"x = 2"])
    with pytest.raises(SpecError, match=r"the Python file 'calibration/waves.py'"):
        require(CODE)

    grant([CODE.digest])

    require(CODE)
    assert permissions.granted_digests() == {CODE.digest}
    assert not is_granted(other)
    permissions.forget_grants()
    assert not is_granted(CODE)


@pytest.mark.parametrize(
    ("value", "allowed"), [("1", True), ("0", False), ("", False), ("yes", False), ("true", False)]
)
def test_the_variable_allows_all_with_its_one_value_only(monkeypatch, value, allowed):
    monkeypatch.setenv(ALLOW_ALL, value)

    assert is_granted(CODE) is allowed
    assert permissions.grants_for_children() == ({ALLOW_ALL: "1"} if allowed else {})


def test_a_child_may_run_what_its_parent_may_and_no_more(monkeypatch):
    assert permissions.grants_for_children() == {}

    grant(["b" * 64, "a" * 64])

    assert permissions.grants_for_children() == {"TRTPIPE_GRANTED_CODE": f"{'a' * 64},{'b' * 64}"}
