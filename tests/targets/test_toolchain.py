"""A toolchain's identity and its versions."""

import platform

import pytest

from trtpipe.digests import canonical_json
from trtpipe.targets import interpreters
from trtpipe.targets.toolchain import Toolchain, parse_version, version_matches


def test_facts_are_the_same_wherever_a_toolchain_lies():
    one = Toolchain("tensorrt_rtx", "1.7.1.116", ("/x/python",), ("/x/site",), "cpython 3.11.7", {"l": "1"})
    other = Toolchain("tensorrt_rtx", "1.7.1.116", ("/y/python",), (), "cpython 3.11.7")

    assert canonical_json(one.facts()) == canonical_json(other.facts())
    assert b"/" not in canonical_json(one.facts())


def of_python(python: str, flavour="tensorrt_rtx", version="1.7.1.116") -> Toolchain:
    return Toolchain(flavour, version, ("python",), (), python)


def test_an_interpreter_that_is_proved_to_build_the_same_is_no_identity():
    assert of_python("cpython 3.11.7").facts() == of_python("cpython 3.12.3").facts()
    assert "python" not in of_python("cpython 3.10.0").facts()


@pytest.mark.parametrize(
    "other",
    [
        of_python("cpython 3.99.0"),
        of_python("pypy 3.11.7"),
        of_python("cpython 3.11.7", version="9.9.9.9"),
        of_python("cpython 3.11.7", flavour="tensorrt", version="11.4.0.106"),
    ],
    ids=["a version that nobody tried", "another implementation", "another toolchain", "the other flavour"],
)
def test_any_other_interpreter_is_part_of_the_identity(other):
    assert other.facts()["python"] == other.python_version


def test_where_nothing_was_proved_every_interpreter_is_part_of_the_identity(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    interpreters._proved.cache_clear()
    try:
        assert of_python("cpython 3.11.7").facts()["python"] == "cpython 3.11.7"
    finally:
        interpreters._proved.cache_clear()


def test_a_toolchain_without_a_place_is_not_ready():
    assert not Toolchain("tensorrt", "10.16.1.11", ("python",), (), "cpython 3.12.3").ready


def test_a_version_s_numbers_leave_its_suffix_out():
    assert parse_version("10.13.3.9.post1") == (10, 13, 3, 9)


@pytest.mark.parametrize(
    ("version", "wanted", "matches"),
    [
        ("11.4.0.106", "11.4.0.106", True),
        ("11.4.0.106", "11.4.*", True),
        ("11.4.0.106", "11.4", False),
        ("11.40.0.1", "11.4.*", False),
        ("1.7.1.116", "1.7.1.11", False),
        ("1.7.1.116", "1.7.1.11.*", False),
    ],
)
def test_a_version_matches_exactly_or_by_whole_parts(version, wanted, matches):
    assert version_matches(version, wanted) is matches
