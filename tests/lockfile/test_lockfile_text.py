"""The lockfile's text: what is written comes back, whatever names hold; older, newer and damaged ones."""

from __future__ import annotations

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.errors import TrtpipeError
from trtpipe.lockfile import (
    SCHEMA,
    Update,
    digest_in,
    first_source,
    load_lock,
    read_lock,
    render_lock,
    shown_digest,
    update_lock,
)
from trtpipe.lockfile.comparison import between, grouped, mismatch

HEX = "ab" * 32
ENTRY = {
    "key": HEX,
    "source": {"model.onnx": f"{HEX} (12 bytes)"},
    "engine": f"{HEX} (34 bytes)",
    "validated": "passed",
    "measured": {"logits cosine": "0.9999 (at least 0.999)"},
    "keep_fp32": ["/head/**", 'say "so"', "tensor:a: b"],
}
STEPS = {"digits:import": {"recipe": HEX, "model.onnx": f"{HEX} (12 bytes)"}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trtpipe.lock"


def written(path, cells=None, steps=None):
    path.write_text(render_lock({"digits/fp32@ada": ENTRY} if cells is None else cells, steps or STEPS))
    return load_lock(path)


def update(cells, *, steps=None, known=("digits/fp32@ada", "digits:import"), scope=("digits",)):
    return Update(cells, STEPS if steps is None else steps, frozenset(known), frozenset(scope))


# -- there and back


def test_what_is_written_comes_back(path):
    lock = written(path)

    assert dict(lock.cells) == {"digits/fp32@ada": ENTRY}
    assert dict(lock.steps) == STEPS


@pytest.mark.parametrize(
    "name",
    [
        "a b.onnx",
        "é.onnx",
        "x: y",
        "#z",
        "null",
        "on",
        "1.0",
        "- a",
        "a\nb",
        "'q'",
        '"',
        "{x}",
        "a #b",
        "\x85",
        "end:",
    ],
)
def test_names_of_files_may_hold_anything(path, name):
    entry = {**ENTRY, "source": {name: f"{HEX} (1 bytes)"}, "origin": {name: f"https://h/{name}"}}

    lock = written(
        path, {"digits/fp32@ada": entry}, {f"digits/{name}:calibrate": {"recipe": HEX, name: name}}
    )

    assert lock.cells["digits/fp32@ada"] == entry
    assert lock.steps == {f"digits/{name}:calibrate": {"recipe": HEX, name: name}}


def test_the_text_does_not_depend_on_the_order_of_things():
    backwards = {name: ENTRY[name] for name in reversed(ENTRY)}

    one = render_lock({"b/x@y": ENTRY, "a/x@y": ENTRY}, STEPS)

    assert render_lock({"a/x@y": backwards, "b/x@y": backwards}, STEPS) == one


def test_a_digest_is_read_back_from_what_is_shown():
    digest = digest_bytes(b"bytes")

    assert digest_in(shown_digest(digest)) == digest
    assert [digest_in(text) for text in ("", HEX, f"{HEX} (x bytes)", None, {})] == [None] * 5


# -- other schemas and damage


def test_a_lockfile_of_schema_1_is_read_and_written_anew(path):
    old = f"schema: 1\ncells:\n  other/fp32@ada:\n    key: {HEX}\n    source: {HEX} (12 bytes)\n"
    path.write_text(old)

    lock = load_lock(path)
    update_lock(path, update({"digits/fp32@ada": ENTRY}))

    assert (lock.schema, first_source(lock.cells["other/fp32@ada"])) == (1, f"{HEX} (12 bytes)")
    assert load_lock(path).schema == SCHEMA
    assert set(read_lock(path)) == {"other/fp32@ada", "digits/fp32@ada"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("schema: 4\ncells: {}\n", "has schema 4, this trtpipe knows schema 3"),
        ("cells: {}\n", "has schema None"),
        ("[1, 2", "cannot be read"),
        ("schema: 2\n", "it has no 'cells'"),
        ("schema: 2\ncells: {a: b}\n", "'a' is not a block of facts"),
        ("schema: 2\ncells: {a: {key: [1]}}\n", "'a' is not a block of facts"),
        ("schema: 2\ncells: {a: {source: {b: {c: d}}}}\n", "'a' is not a block of facts"),
        ("schema: 2\ncells: {}\nsteps: []\n", "its 'steps' are not blocks"),
        ("schema: 2\ncells: {}\nsteps: {a: {model.onnx: x}}\n", "'a' is not a block of facts"),
        ("schema: 2\ncells: {? [a]: {key: x}}\n", "cannot be read"),
        ("[" * 5000, "cannot be read"),
        ("schema: 2\ncells: &a\n  b: *a\n", "cannot be read"),
    ],
)
def test_a_damaged_or_newer_lockfile_is_one_sentence(path, text, told):
    path.write_text(text)

    with pytest.raises(TrtpipeError) as caught:
        load_lock(path)

    assert told in str(caught.value)
    assert caught.value.exit_code == 2


# -- updating


def test_cells_that_were_not_built_stay_and_those_that_are_gone_go(path):
    cells = dict.fromkeys(("digits/fp32@ada", "digits/fp16@ada", "digits/old@ada", "other/a@b"), ENTRY)
    steps = dict.fromkeys(("digits:import", "digits:transform", "other:import"), STEPS["digits:import"])
    written(path, cells, steps)
    known = ("digits/fp32@ada", "digits/fp16@ada", "digits:import")
    rebuilt = {**ENTRY, "engine": f"{'cd' * 32} (5 bytes)"}

    changed = update_lock(path, update({"digits/fp32@ada": rebuilt}, known=known))

    lock = load_lock(path)
    assert changed
    assert set(lock.cells) == {"digits/fp32@ada", "digits/fp16@ada", "other/a@b"}
    assert lock.cells["digits/fp32@ada"] == rebuilt
    assert set(lock.steps) == {"digits:import", "other:import"}


def test_an_update_that_changes_nothing_does_not_touch_the_file(path):
    written(path)
    before = path.stat().st_mtime_ns

    assert not update_lock(path, update({"digits/fp32@ada": ENTRY}))
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("new", "kept"),
    [
        ("1 (at least 0.999)", True),
        ("0.9998 (at least 0.999)", True),
        ("0.9997 (at least 0.999)", False),
        ("0.9999 (at least 0.99)", False),
        ("nan (at least 0.999)", False),
        ("-0.9999 (at least 0.999)", False),
    ],
)
def test_a_measured_value_stays_until_it_moves_by_more_than_its_last_digit(path, new, kept):
    written(path)
    now = {**ENTRY, "measured": {"logits cosine": new}}

    update_lock(path, update({"digits/fp32@ada": now}))

    assert (load_lock(path).cells["digits/fp32@ada"] == ENTRY) == kept
    assert (between("c", ENTRY, now) == []) == kept


# -- merge conflicts


def conflict(ours, theirs, *, ancestor=None):
    """A lockfile as git leaves it: the same first and last lines, and what differs between markers."""
    one, two = ours.splitlines(True), theirs.splitlines(True)
    head = 0
    while one[head] == two[head]:
        head += 1
    tail = 1
    while one[-tail] == two[-tail]:
        tail += 1
    tail -= 1
    cut = len(one) - tail, len(two) - tail
    between_them = ["||||||| base\n", *ancestor, "=======\n"] if ancestor is not None else ["=======\n"]
    middle = ["<<<<<<< HEAD\n", *one[head : cut[0]], *between_them, *two[head : cut[1]], ">>>>>>> other\n"]
    return "".join([*one[:head], *middle, *one[cut[0] :]])


@pytest.mark.parametrize("ancestor", [None, ["    key: what it was\n"]])
def test_of_a_merge_conflict_what_one_side_alone_says_counts(path, ancestor):
    other = {**ENTRY, "key": "cd" * 32}
    ours = render_lock({"digits/a@x": ENTRY, "digits/b@x": ENTRY}, STEPS)
    theirs = render_lock({"digits/a@x": other, "digits/c@x": ENTRY}, STEPS)
    path.write_text(conflict(ours, theirs, ancestor=ancestor))

    lock = load_lock(path)

    assert lock.conflict
    assert set(lock.cells) == {"digits/b@x", "digits/c@x"}
    assert lock.disagreeing == {"digits/a@x": (ENTRY, other)}
    assert len(lock.every_entry()) == 4


def test_a_build_of_what_disagrees_settles_a_merge_conflict(path):
    other = {**ENTRY, "key": "cd" * 32}
    path.write_text(
        conflict(render_lock({"digits/a@x": ENTRY}, STEPS), render_lock({"digits/a@x": other}, STEPS))
    )

    update_lock(path, update({"digits/a@x": other}, known=("digits/a@x", "digits:import")))

    assert path.read_text() == render_lock({"digits/a@x": other}, STEPS)


def test_a_conflict_about_cells_that_nobody_built_is_told_with_their_names(path):
    other = {**ENTRY, "key": "cd" * 32}
    ours, theirs = ({"digits/a@x": one, "other/b@y": one} for one in (ENTRY, other))
    path.write_text(conflict(render_lock(ours, STEPS), render_lock(theirs, STEPS)))

    with pytest.raises(
        TrtpipeError, match="merge conflict about other/b@y, which this build does not resolve"
    ):
        update_lock(path, update({"digits/a@x": other}, known=("digits/a@x", "digits:import")))


@pytest.mark.parametrize(
    "broken",
    [
        "<<<<<<< HEAD\n",
        ">>>>>>> other\n",
        "<<<<<<< HEAD\n=======\n",
        "<<<<<<< HEAD\n=======\n=======\n>>>>>>> other\n",
        "<<<<<<< HEAD\n<<<<<<< HEAD\n=======\n>>>>>>> other\n",
        "<<<<<<< HEAD\n||||||| base\n>>>>>>> other\n",
        "<<<<<<< HEAD\n    keeey\n=======\n>>>>>>> other\n",
    ],
)
def test_markers_that_do_not_pair_up_are_refused_where_they_stand(path, broken):
    text = render_lock({"digits/a@x": ENTRY}, STEPS).splitlines(True)
    path.write_text("".join([*text[:5], broken, *text[5:]]))

    with pytest.raises(TrtpipeError, match="contains a merge conflict with unpaired markers") as caught:
        load_lock(path)

    assert caught.value.problems[0].where.line == 6


# -- comparing


def test_differences_are_told_by_field_and_equal_ones_together():
    new = {**ENTRY, "key": "cd" * 32, "source": {"model.onnx": "x", "more.bin": "y"}, "run_on_gpu": "passed"}

    found = [
        *between("a", ENTRY, new),
        *between("b", ENTRY, new),
        *between("c", ENTRY, {**ENTRY, "key": "k"}),
    ]
    said = str(mismatch(found, "do this"))

    assert [cells for cells, _ in grouped(found)] == [["a", "b"], ["c"]]
    assert said == (
        "a, b: differs from the lockfile\n"
        "  key: abababababab -> cdcdcdcdcdcd\n"
        "  source model.onnx: abababababab (12 bytes) -> x\n"
        "  source more.bin: (none) -> y\n"
        "c: differs from the lockfile\n"
        "  key: abababababab -> k\n"
        "  do this"
    )
    assert mismatch(found, "").exit_code == 3
