"""What the garbage collector keeps, and what it takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.traces import trace_of
from trtpipe.digests import Digest
from trtpipe.errors import StoreError
from trtpipe.plan.trace import Trace
from trtpipe.stores.collector import Limits, Roots, collect
from trtpipe.stores.local import LocalStore

DAY = 24 * 3600.0
ALL = Limits(older_than=0.0, grace=-1.0)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def put(store: LocalStore, data: bytes) -> Digest:
    with store.scratch() as scratch:
        (scratch / "x").write_bytes(data)
        return store.put(scratch / "x")


def step(store: LocalStore, stage: str, data: bytes, *inputs: Digest, days: float = 40.0) -> Trace:
    """A step that yielded `data`, last asked for `days` ago."""
    record = {"stage": stage, "inputs": {"model": {str(n): str(d) for n, d in enumerate(inputs)}}}
    trace = trace_of(record | {"of": data.hex()}, {"out": put(store, data)}, address=f"digits:{stage}")
    store.record(trace)
    used(store, trace, days)
    return trace


def used(store: LocalStore, trace: Trace, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(store.trace_path(trace.key), (then, then))


def there(store: LocalStore, *traces: Trace) -> list[bool]:
    """Of each step, whether its trace and its artifact are there."""
    return [store.trace_path(one.key).exists() and store.has(one.outputs["out"]) for one in traces]


@pytest.fixture
def chain(store: LocalStore) -> list[Trace]:
    """import -> quantize -> build_engine, and a validation of the typed model; all of them old."""
    first = step(store, "import", b"model")
    typed = step(store, "quantize", b"typed", first.outputs["out"])
    engine = step(store, "build_engine", b"engine", typed.outputs["out"])
    proof = step(store, "validate", b"proof", typed.outputs["out"], first.outputs["out"])
    return [first, typed, engine, proof]


def test_what_nobody_needs_goes_once_it_is_old(store, chain):
    found = collect(store, Roots(), Limits(older_than=30 * DAY, grace=-1.0))

    assert there(store, *chain) == [False] * 4
    assert (len(found.traces), len(found.artifacts), found.freed, found.kept) == (4, 4, 21, 0)


def test_a_dry_run_tells_the_same_and_takes_nothing(store, chain):
    told = collect(store, Roots(), ALL, dry_run=True)

    assert there(store, *chain) == [True] * 4
    assert told == collect(store, Roots(), ALL)


def test_what_a_lockfile_needs_stays_however_old(store, chain):
    """An engine's key brings all that it was made from, and the validation of its typed model."""
    other = step(store, "build_engine", b"of another branch", chain[1].outputs["out"])

    found = collect(store, Roots(keys=frozenset({chain[2].key})), ALL)

    assert there(store, *chain, other) == [True] * 4 + [False]
    assert found.needed == found.kept == 21


def test_an_engine_named_by_its_digest_stays(store, chain):
    collect(store, Roots(artifacts=frozenset({chain[2].outputs["out"].hex})), ALL)

    assert there(store, *chain) == [True] * 4


def test_what_was_used_lately_keeps_what_it_was_made_from(store, chain):
    used(store, chain[2], 2.0)

    collect(store, Roots(), Limits(older_than=30 * DAY, grace=-1.0))

    assert there(store, *chain) == [True, True, True, False]


def test_asking_for_a_trace_is_a_use(store, chain):
    store.trace(chain[3].key)

    collect(store, Roots(), Limits(older_than=30 * DAY, grace=-1.0))

    assert there(store, *chain) == [True, True, False, True]


def test_a_size_limit_takes_what_was_used_longest_ago(store):
    steps = [step(store, "import", bytes([n]) * 1000, days=n) for n in range(5)]

    found = collect(store, Roots(keys=frozenset({steps[4].key})), Limits(max_size=3000, grace=-1.0))

    assert there(store, *steps) == [True, True, False, False, True]
    assert (found.kept, found.needed) == (3000, 1000)


def test_what_is_needed_stays_even_above_the_size_limit(store):
    big = step(store, "import", b"x" * 5000)

    found = collect(store, Roots(keys=frozenset({big.key})), Limits(max_size=100, grace=-1.0))

    assert there(store, big) == [True]
    assert found.needed == 5000


def test_an_artifact_whose_trace_is_about_to_be_written_stays(store):
    old = step(store, "import", b"engine")
    digest = put(store, b"engine")  # it is there already: relied on, and its ctime says so

    found = collect(store, Roots(), Limits(older_than=DAY, grace=60.0))

    assert not store.trace_path(old.key).exists()
    assert store.has(digest)
    assert found.young == 6


def test_relying_on_an_artifact_leaves_the_time_that_delivered_links_are_known_by(store, tmp_path):
    digest = put(store, b"engine")
    store.fetch(digest, tmp_path / "model.engine")
    before = (tmp_path / "model.engine").stat()
    time.sleep(0.05)

    put(store, b"engine")

    after = (tmp_path / "model.engine").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert after.st_ctime_ns > before.st_ctime_ns


def test_an_artifact_that_was_renewed_after_the_survey_stays(store, monkeypatch):
    from trtpipe.stores import collector

    old = step(store, "import", b"engine")
    survey = collector.survey

    def then_put(store_):
        found = survey(store_)
        time.sleep(0.05)
        put(store_, b"engine")
        return found

    monkeypatch.setattr(collector, "survey", then_put)

    found = collect(store, Roots(), ALL)

    assert store.has(old.outputs["out"])
    assert found.artifacts == [] and found.kept == 6


def test_a_trace_that_was_asked_for_after_the_survey_stays(store, monkeypatch):
    from trtpipe.stores import collector

    old = step(store, "import", b"engine")
    survey = collector.survey

    def then_ask(store_):
        found = survey(store_)
        store_.trace(old.key)
        return found

    monkeypatch.setattr(collector, "survey", then_ask)

    collect(store, Roots(), ALL)

    assert there(store, old) == [True]


def test_two_collectors_do_not_work_at_once(store, chain):
    with store.lock("collecting", lambda: None), pytest.raises(StoreError, match="another `cache gc`"):
        collect(LocalStore(store.root), Roots(), ALL)


def test_locks_quarantine_and_rests_of_long_ago_are_swept_but_no_lock_that_is_held(store, chain):
    def old(path: Path) -> Path:
        then = time.time() - 40 * DAY
        os.utime(path, (then, then))
        return path

    (store.root / "quarantine").mkdir()
    (store.root / "quarantine" / "x.1").write_bytes(b"bad")
    aside = old(store.root / "quarantine" / "x.1")
    (store.root / "tmp" / "elsewhere-1-abc").mkdir()
    foreign = old(store.root / "tmp" / "elsewhere-1-abc")
    with store.lock("a" * 64, lambda: None):
        pass
    free = old(store.root / "locks" / ("a" * 64 + ".lock"))
    with store.lock("b" * 64, lambda: None):
        held = old(store.root / "locks" / ("b" * 64 + ".lock"))
        found = collect(store, Roots(), Limits(older_than=30 * DAY, grace=-1.0))
        assert held.exists()

    assert found.swept == 3
    assert not aside.exists() and not foreign.exists() and not free.exists()


def test_names_that_are_no_digests_are_left_alone(store, chain):
    for name in ("objects/ab/README", "objects/ab/" + "G" * 64, "objects/notes.txt", "traces/zz/x.json"):
        path = store.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")

    collect(store, Roots(), ALL)

    assert (store.root / "objects/ab/README").exists()
    assert (store.root / "objects/notes.txt").exists()


def test_a_store_that_is_not_there_holds_no_garbage(tmp_path):
    collect(LocalStore(tmp_path / "nowhere"), Roots(), ALL)

    assert not (tmp_path / "nowhere").exists()
