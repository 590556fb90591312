"""A toolchain's identity and its versions."""

import pytest

from trtpipe.digests import canonical_json
from trtpipe.targets.toolchain import Toolchain, parse_version, version_matches


def test_facts_are_the_same_wherever_a_toolchain_lies():
    one = Toolchain("tensorrt_rtx", "1.7.1.116", ("/x/python",), ("/x/site",), "cpython 3.11.7", {"l": "1"})
    other = Toolchain("tensorrt_rtx", "1.7.1.116", ("/y/python",), (), "cpython 3.11.7")

    assert canonical_json(one.facts()) == canonical_json(other.facts())
    assert b"/" not in canonical_json(one.facts())


def test_another_interpreter_is_another_identity():
    one = Toolchain("tensorrt_rtx", "1.7.1.116", ("python",), (), "cpython 3.11.7")
    other = Toolchain("tensorrt_rtx", "1.7.1.116", ("python",), (), "cpython 3.12.3")

    assert one.facts() != other.facts()


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
