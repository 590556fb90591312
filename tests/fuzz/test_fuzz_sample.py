"""A sample of the fuzzing, the same every time; `run.py` does more of it."""

from __future__ import annotations

import random
import sys

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("not run: memory is bounded as Linux does it", allow_module_level=True)

from tests.fuzz import fuzzing
from tests.fuzz.fuzz_readers import READERS, Reader
from tests.fuzz.mutations import mutated

CASES = 80


@pytest.mark.parametrize("name", fuzzing.available())
def test_damaged_files_are_read_or_refused(tmp_path, name):
    tally = fuzzing.fuzz(name, seed=1, keep=tmp_path, cases=CASES)

    assert not tally.found, "\n".join(f"{one.saved}: {one.why}" for one in tally.found)
    assert tally.counts["refused"] > CASES / 20
    assert sum(tally.counts.values()) == CASES


def test_the_same_seed_damages_alike():
    data = bytes(range(256))

    def damaged(first):
        return [mutated(random.Random(first + number), data, [data]) for number in range(20)]

    assert damaged(0) == damaged(0)
    assert damaged(0) != damaged(100)


def test_a_reader_that_fails_is_found_and_its_case_kept(tmp_path, monkeypatch):
    child = (fuzzing.HERE / "fuzz_child.py").read_text()
    wrong = (
        'READERS["npy"] = Reader(READERS["npy"].corpus, "x.npy", lambda folder: int("x"))\n\n\nif __name__'
    )
    (tmp_path / "fuzz_child.py").write_text(child.replace("if __name__", wrong))
    monkeypatch.setattr(fuzzing, "HERE", tmp_path)

    tally = fuzzing.fuzz("npy", seed=1, keep=tmp_path / "kept", cases=2)

    assert [one.number for one in tally.found] == [0, 1]
    assert "ValueError" in tally.found[0].why
    assert (tally.found[0].saved / "x.npy").exists()


def test_every_reader_has_a_corpus_that_reads(tmp_path):
    from tests.fuzz.fuzz_child import outcome

    for name in fuzzing.available():
        reader = READERS[name]
        assert isinstance(reader, Reader)
        assert "ok" in {outcome(reader, files) for files in reader.corpus()}, name
