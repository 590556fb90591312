"""After any history of edits, partial builds, crashes and losses, a build equals a clean one."""

from __future__ import annotations

import pytest

from tests.building.histories import SOURCES, InMemory, OnDisk, lives_through
from trtpipe.digests import digest_bytes
from trtpipe.plan.decisions import Decision, Run, UpToDate
from trtpipe.plan.graph import action_of
from trtpipe.plan.rebuilder import Rebuilder


def right(world):
    return Rebuilder(world.past())


def in_memory():
    return InMemory(bytes_of={digest_bytes(data): data for data in SOURCES})


@pytest.mark.parametrize("block", range(8))
def test_a_build_after_any_history_equals_a_clean_one(block):
    wrong = [
        seed
        for seed in range(block * 50, block * 50 + 50)
        if not lives_through(seed, in_memory, right, events=14)
    ]

    assert wrong == []


@pytest.mark.parametrize("seed", range(12))
def test_so_it_is_with_the_real_store_whose_files_are_damaged(tmp_path, seed):
    assert lives_through(seed, lambda: OnDisk(tmp_path), right, events=10)


WORLD = []
"""What the wrong rebuilders look into; a rebuilder is a frozen value."""


class ByAddress(Rebuilder):
    """Wrong: believes that what a step yielded last is what it yields."""

    def __call__(self, step, outputs) -> Decision:
        decision = super().__call__(step, outputs)
        last = WORLD[0].traces.get(WORLD[0].last.get(step.address.pipeline, ""))
        return UpToDate(last.key, last.outputs) if last and isinstance(decision, Run) else decision


class WithoutOptions(Rebuilder):
    """Wrong: a key that has forgotten the options."""

    def __call__(self, step, outputs) -> Decision:
        decision = super().__call__(step, outputs)
        if not isinstance(decision, Run):
            return decision
        inputs = {
            slot: sorted(map(str, files.values())) for slot, files in self._inputs(step, outputs).items()
        }
        for trace in WORLD[0].traces.values():
            known = {slot: sorted(files.values()) for slot, files in trace.fingerprint["inputs"].items()}
            if trace.address == str(step.address) and known == inputs:
                return UpToDate(trace.key, trace.outputs)
        return decision

    def _inputs(self, step, outputs):
        return action_of(step, outputs).fingerprint.inputs


@pytest.mark.parametrize("kind", [ByAddress, WithoutOptions])
def test_rebuilders_that_are_wrong_on_purpose_are_found_out(kind):
    def wrong(world):
        WORLD[:] = [world]
        return kind(world.past())

    assert not all(lives_through(seed, in_memory, wrong, events=14) for seed in range(60))
