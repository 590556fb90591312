"""What the rebuilder decides, value by value: keys, reasons, and what a cell needs whose files are not in place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.building.world import AnyOptions, World, at, plan, step
from trtpipe.digests import digest_bytes
from trtpipe.json_values import Malformed
from trtpipe.plan.decisions import Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change, Fingerprint, changes_between
from trtpipe.plan.graph import Cell, FromStep, Plan, Source, Step, action_of, plan_of
from trtpipe.plan.options.stage_options import UNPLACED
from trtpipe.plan.reasons import Changed, First, Forced, MissingOutput, NoTrace
from trtpipe.plan.rebuilder import Past, Rebuilder, decide_all

A, B = digest_bytes(b"a"), digest_bytes(b"b")
ONE = step("one", source=b"x", level=1)
KEY = action_of(ONE, {}).key
RECORD = action_of(ONE, {}).fingerprint.record()


def past(
    *,
    outputs: Mapping[str, object] | None = None,
    last: Mapping[str, object] | None = None,
    gone: frozenset = frozenset(),
) -> Past:
    """A history that knows the one step alone, and fails when it is asked of another."""

    def outputs_of(address, key):
        assert (address, key) == (at("one"), KEY)
        return outputs

    def last_record(address):
        assert address == at("one")
        return last

    return Past(outputs_of, last_record, lambda digest: {A: True, B: True}[digest] and digest not in gone)


@pytest.mark.parametrize(
    ("known", "options", "decision"),
    [
        (past(), {}, Run(KEY, First())),
        (past(last=RECORD), {}, Run(KEY, NoTrace())),
        (
            past(last={**RECORD, "options": {"level": 0}}),
            {},
            Run(KEY, Changed((Change("options.level", 0, 1),))),
        ),
        (past(outputs={"out": A}), {}, UpToDate(KEY, {"out": A})),
        (past(outputs={"out": A}), {"forced": frozenset({at("one")})}, Run(KEY, Forced())),
        (
            past(outputs={"out": A, "more": B}, gone=frozenset({B})),
            {"lost": frozenset({at("one")})},
            Run(KEY, MissingOutput(("more",))),
        ),
        (
            past(outputs={"out": A}),
            {"lost": frozenset({at("one")})},
            Run(KEY, MissingOutput(("one:import",))),
        ),
    ],
    ids=["first", "no trace", "changed", "up to date", "forced", "lost", "lost and back"],
)
def test_a_step_whose_inputs_are_known(known, options, decision):
    assert Rebuilder(known, **options)(ONE, {}) == decision


def test_of_a_slot_that_is_known_in_part_the_known_part_is_compared():
    """A source beside an input from a step that must run first."""

    def joint(data: bytes) -> Step:
        inputs = {
            "files": (Source("source", Path("/nowhere"), digest_bytes(data)), FromStep(at("a"), ("out",)))
        }
        return Step(at("b"), AnyOptions(values={}, origins=UNPLACED), {}, inputs)

    before = action_of(joint(b"1"), {at("a"): {"out": A}}).fingerprint.record()
    known = Past(lambda address, key: None, lambda address: before, lambda digest: True)

    same, other = (Rebuilder(known)(joint(data), {}) for data in (b"1", b"2"))

    assert same == Pending((at("a"),))
    assert [change.field for change in other.changes] == ["inputs.files.source"]


def test_a_step_that_was_never_built_has_no_changes_of_its_own():
    assert Rebuilder(World().past())(step("b", "a"), {}) == Pending((at("a"),))


def test_a_change_knows_its_way_into_the_record():
    (change,) = changes_between({"a": [{"b": 1}]}, {"a": [{"b": 2}]})

    assert (change.field, change.path) == ("a[0].b", ("a", 0, "b"))


def test_a_tuple_is_the_list_that_it_was_when_it_was_written():
    assert changes_between({"a": [1, "b"]}, {"a": (1, "b")}) == ()

    (change,) = changes_between({"a": (1, 2)}, {"a": (1, 3)})

    assert (change.old, change.new) == ([1, 2], [1, 3])


# -- a fingerprint's record


def test_a_fingerprint_comes_back_from_its_record():
    one = Fingerprint("import", 3, {"level": 1}, {"onnx": "1.22"}, {"source": {"m.onnx": A}, "none": {}})

    assert one.record() == {
        "schema": 1,
        "stage": "import",
        "version": 3,
        "options": {"level": 1},
        "tools": {"onnx": "1.22"},
        "inputs": {"source": {"m.onnx": str(A)}, "none": {}},
    }
    assert Fingerprint.from_record(one.record()) == one


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"schema": 2}, "a fingerprint of schema 2"),
        ({"stage": 1}, "stage"),
        ({"version": "1"}, "version"),
        ({"options": []}, "options"),
        ({"tools": None}, "tools"),
        ({"inputs": []}, "inputs"),
        ({"inputs": {"source": "x"}}, "source"),
        ({"inputs": {"source": {"m.onnx": 1}}}, "m.onnx"),
    ],
    ids=str,
)
def test_a_damaged_record_is_refused_by_the_name_of_what_is_wrong(damage, told):
    with pytest.raises(Malformed, match=told):
        Fingerprint.from_record({**RECORD, **damage})


# -- cells


class Delivering(World):
    """A world in which the files of cells may be missing, and whole traces as well."""

    def __init__(self) -> None:
        super().__init__()
        self.absent: set[str] = set()
        self.lost_traces: set[str] = set()
        self.asked: list[tuple[str, dict]] = []

    def past(self) -> Past:
        def delivered(cell, keys):
            self.asked.append((cell.name, dict(keys)))
            return cell.name not in self.absent

        known = super().past()
        return Past(
            known.outputs_of,
            known.last_record,
            known.has,
            lambda key: key not in self.lost_traces,
            delivered,
        )

    def lose(self, name: str) -> None:
        """What a step yielded is gone from the store."""
        del self.bytes_of[self.traces[self.last[name]].outputs["out"]]


def cell(variant: str, engine: str) -> Cell:
    steps = {"import": at("net"), "build_engine": at(engine)}
    return Cell(f"net/{variant}@ada", "net", variant, "ada", steps)


@pytest.fixture
def world() -> Delivering:
    made = Delivering()
    made.source(b"x")
    return made


def two_cells(level: int = 1, **other: int) -> Plan:
    steps = plan(
        step("net", source=b"x"),
        step("fp32", "net", bits=32, level=level),
        step("fp16", "net", bits=16, level=other.get("fp16", level)),
    ).steps
    return plan_of(steps, (cell("fp32", "fp32"), cell("fp16", "fp16")))


def promised(world: Delivering, wanted: Plan, *addresses: str):
    decided = decide_all(wanted, world.rebuilder(), [at(name) for name in addresses])
    return {one.pipeline: decision for one, decision in decided.decisions.items()}, set(decided.undelivered)


def test_cells_whose_files_are_in_place_are_up_to_date(world):
    world.build(two_cells())

    decisions, undelivered = promised(world, two_cells())

    assert {type(one) for one in decisions.values()} == {UpToDate}
    assert undelivered == set()
    keys = world.last
    assert world.asked[-1] == ("net/fp16@ada", {"import": keys["net"], "build_engine": keys["fp16"]})


def test_a_cell_whose_files_are_missing_is_restored(world):
    world.build(two_cells())
    world.absent = {"net/fp16@ada"}

    decisions, undelivered = promised(world, two_cells())

    trace = world.traces[world.last["fp16"]]
    assert decisions["fp16"] == Restore(trace.key, trace.outputs, ("net/fp16@ada/",))
    assert isinstance(decisions["fp32"], UpToDate) and isinstance(decisions["net"], UpToDate)
    assert undelivered == {"net/fp16@ada"}


def test_cells_that_share_an_engine_restore_it_once(world):
    shared = plan_of(two_cells().steps, (cell("fp32", "fp32"), cell("again", "fp32")))
    world.build(shared)
    world.absent = {"net/fp32@ada", "net/again@ada"}

    decisions, undelivered = promised(world, shared)

    assert decisions["fp32"].missing == ("net/fp32@ada/",)
    assert undelivered == world.absent


def test_what_a_missing_cell_is_made_of_and_the_store_lost_is_made_again(world):
    world.build(two_cells())
    world.absent = {"net/fp16@ada"}
    world.lose("fp16")
    world.lose("fp32")

    decisions, undelivered = promised(world, two_cells())

    assert decisions["fp16"].reason == MissingOutput(("out",))
    assert isinstance(decisions["fp32"], UpToDate), "nobody needs it: its cell is in place"
    assert undelivered == {"net/fp16@ada"}


def test_a_missing_cell_needs_the_traces_as_well(world):
    world.build(two_cells())
    world.absent = {"net/fp16@ada"}
    world.lost_traces = {world.last["fp16"]}

    decisions, _ = promised(world, two_cells())

    assert decisions["fp16"].reason == MissingOutput(("fp16:import",))


def test_a_cell_one_of_whose_steps_runs_needs_all_that_it_is_made_of(world):
    """The import is up to date and no step takes it from the store, but the cell delivers it."""
    world.build(two_cells())
    world.lost_traces = {world.last["net"]}

    same, _ = promised(world, two_cells())
    changed, undelivered = promised(world, two_cells(fp16=2))

    assert isinstance(same["net"], UpToDate)
    assert changed["net"].reason == MissingOutput(("net:import",))
    assert undelivered == {"net/fp32@ada", "net/fp16@ada"}, "both wait for the import"


def test_a_cell_that_is_not_built_keeps_another_from_nothing(world):
    world.build(two_cells())

    decisions, undelivered = promised(world, two_cells(fp16=2))

    assert isinstance(decisions["fp16"], Run)
    assert isinstance(decisions["fp32"], UpToDate)
    assert undelivered == {"net/fp16@ada"}


def test_what_was_asked_for_is_made_again_when_it_is_lost(world):
    world.build(two_cells())
    world.lose("fp32")

    unasked, _ = promised(world, two_cells())
    asked, undelivered = promised(world, two_cells(), "fp32")

    assert isinstance(unasked["fp32"], UpToDate)
    assert asked["fp32"].reason == MissingOutput(("out",))
    assert undelivered == {"net/fp32@ada"}


def test_a_loss_behind_a_loss_is_found(world):
    world.build(two_cells())
    world.lose("fp32")
    world.lose("net")

    decisions, _ = promised(world, two_cells(), "fp32")

    assert decisions["net"].reason == MissingOutput(("out",))
    assert decisions["fp32"] == Pending((at("net"),))
