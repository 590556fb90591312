"""What changed between two lockfiles: cell by cell, and by the cause that many cells share."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trtpipe.inspection.diff.lockfiles import FactChange, diff_locks

DIGEST = "ab" * 32


def cell(**facts: Any) -> dict[str, Any]:
    return {
        "key": "k1",
        "source": "s1",
        "model": "m1",
        "engine": f"{DIGEST} (100 bytes)",
        "toolchain": "rtx 1.6",
        **facts,
    }


def test_one_cause_is_told_once_for_all_its_cells() -> None:
    old = {f"net/fp16@gpu{i}": cell() for i in range(40)}
    new = {
        name: {**one, "key": "k2", "engine": f"{DIGEST} (150 bytes)", "toolchain": "rtx 1.7"}
        for name, one in old.items()
    }
    new["net/fp16@gpu7"] = {**new["net/fp16@gpu7"], "source": "s2"}
    changes = diff_locks(old, new)
    first, second = changes.groups
    assert first.causes == (FactChange("toolchain", "rtx 1.6", "rtx 1.7"),)
    assert (len(first.cells), first.follows, first.bytes) == (39, {"key": 39, "engine": 39}, (3900, 5850))
    assert second.causes == (FactChange("source", "s1", "s2"), FactChange("toolchain", "rtx 1.6", "rtx 1.7"))
    assert second.cells == ("net/fp16@gpu7",)


def test_cells_that_came_and_went_are_named() -> None:
    changes = diff_locks({"a/x@t": cell(), "b/x@t": cell()}, {"b/x@t": cell(), "c/x@t": cell()})
    assert (changes.added, changes.removed, changes.changed, changes.unchanged) == (
        ("c/x@t",),
        ("a/x@t",),
        (),
        1,
    )


def test_a_change_without_a_cause_in_the_lockfile_says_what_lies_behind_it() -> None:
    def why(**facts: str) -> str:
        (group,) = diff_locks({"a/x@t": cell()}, {"a/x@t": cell(**facts)}).groups
        return group.why

    assert why(model="m2", key="k2").startswith("the spec")
    assert why(key="k2", engine="e2").startswith("the engine's options")
    assert (
        why(engine="e2") == "a rebuild from the same inputs yielded other bytes, equal up to generated names"
    )
    assert why(engine="e2", normalised="n2") == "a rebuild from the same inputs yielded other bytes"
    assert why(validated="failed") == "the proofs"


def test_globs_to_keep_are_causes_and_fields_that_are_not_known_are_not() -> None:
    changes = diff_locks({"a/x@t": cell()}, {"a/x@t": cell(keep_fp16=["/a", "/b"], latency="3 ms")})
    (group,) = changes.groups
    assert group.causes == (FactChange("keep_fp16", "", "/a, /b"),)
    assert group.follows == {"latency": 1}


def test_facts_that_are_texts_by_name_are_compared_one_by_one() -> None:
    old, new = (
        {"a/x@t": cell(data={"val.npz": one, "same.npz": "d"}, measured={"y": one})} for one in ("d1", "d2")
    )
    (group,) = diff_locks(old, new).groups
    assert group.causes == (FactChange("data.val.npz", "d1", "d2"),)
    assert group.follows == {"measured.y": 1}


facts = st.dictionaries(
    st.sampled_from(["key", "source", "model", "engine", "odd"]), st.text(max_size=3), min_size=1
)
locks = st.dictionaries(st.sampled_from(["a/x@t", "b/x@t", "c/x@t"]), facts)


@given(locks)
def test_a_lockfile_does_not_differ_from_itself(lock: Any) -> None:
    assert not diff_locks(lock, lock).any


@given(locks, locks)
def test_the_difference_turned_round_swaps_old_and_new(a: Any, b: Any) -> None:
    there, back = diff_locks(a, b), diff_locks(b, a)
    assert (there.added, there.removed) == (back.removed, back.added)
    assert {(one.cell, f.field, f.old, f.new) for one in there.changed for f in one.facts} == {
        (one.cell, f.field, f.new, f.old) for one in back.changed for f in one.facts
    }
