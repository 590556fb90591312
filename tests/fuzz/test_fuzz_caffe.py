"""A sample of damaged files of Caffe: each is read or refused, never more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.caffe_readers import (
    caffemodel_corpus,
    fuzz_caffemodel,
    fuzz_prototxt,
    mutated,
    prototxt_corpus,
)

CASES = 300
READERS = {"prototxt": (fuzz_prototxt, prototxt_corpus), "caffemodel": (fuzz_caffemodel, caffemodel_corpus)}


@pytest.mark.parametrize("name", READERS)
def test_some_of_the_corpus_is_read_and_some_is_refused(name):
    fuzz, corpus = READERS[name]

    taken = [fuzz(data) for data in corpus()]

    assert any(taken)
    assert not all(taken)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name):
    fuzz, corpus = READERS[name]
    files = [data for data in corpus() if len(data) < 20_000]

    taken = [fuzz(mutated(files[seed % len(files)], seed)) for seed in range(CASES)]

    assert any(taken), "a damage that does not matter"
    assert not all(taken)


_WORDS = st.sampled_from(
    """layer layers { } < > [ ] : , "a" 'x # name type bottom top input input_dim "ReLU" RELU 1 -1 2147483648 1e400
    shape dim relu_param true""".split()  # noqa: SIM905
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(_WORDS, max_size=40).map("\n".join))
def test_any_row_of_words_is_read_or_refused(text):
    assert fuzz_prototxt(text.encode()) in (0, 1, 2)
