"""What a frozen build may say of results that agree: only what was computed here proves that versions do no harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.lockfile import Lock, shown_digest
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.plan.address import STAGE_VERSIONS, address
from trtpipe.plan.events import SameDespite
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.graph import Action
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.workspace.held_steps import agreement_events, held_step

SCALES = {"scales.json": digest_bytes(b"scales")}
AT = address("calibrate", "digits", "calib+max")


def held(root: Path, summary, outputs=SCALES):
    """A calibration that is done here with numpy 2, beside a lockfile that names numpy 1 and another processor."""
    record = Fingerprint("calibrate", STAGE_VERSIONS["calibrate"], {}, {"numpy": "2"}, {})
    action = Action(AT, record)
    store = LocalStore(root)
    store.record(Trace(action.key, str(AT), record.record(), dict(outputs), summary))
    entry = {
        "recipe": recipe_of(record.record()),
        "scales.json": shown_digest(SCALES["scales.json"]),
        "made_with": "numpy 1",
        "made_on": "x86_64 avx512f",
    }
    found = held_step(Lock({}, {str(AT): entry}), AT, outputs, lambda: action, store)
    assert found is not None
    return found


def test_an_equal_result_that_was_computed_here_is_worth_a_note(tmp_path):
    computed = held(tmp_path, {"processor": "x86_64 avx2"})

    assert list(agreement_events([computed], [])) == [
        SameDespite("numpy", "1", "2"),
        SameDespite("processor", "x86_64 avx512f", "x86_64 avx2"),
    ]


def test_what_was_taken_over_from_the_lockfile_proves_nothing(tmp_path):
    taken = held(tmp_path, {"from": "the lockfile"})

    assert list(agreement_events([taken], [])) == []


@pytest.mark.parametrize("summary", [{}, {"processor": "x86_64 avx2"}])
def test_another_result_is_never_called_the_same(tmp_path, summary):
    other = held(tmp_path, summary, {"scales.json": digest_bytes(b"others")})

    assert list(agreement_events([other], [])) == []
    assert "numpy 1 in the lockfile, 2 here" in other.cause()
