"""Work that another build may be doing: who waits, who is told, and whose result counts."""

from __future__ import annotations

import contextlib

import pytest

from tests.building.world import step
from trtpipe.errors import Interrupted
from trtpipe.plan.control import Control
from trtpipe.plan.dispatcher import Lookup, run_once
from trtpipe.plan.graph import action_of
from trtpipe.plan.ports import Performed
from trtpipe.plan.trace import Trace

ACTION = action_of(step("a", source=b"x"), {})
MADE, FOUND = (Trace(ACTION.key, "a:import", {}, {}, seconds=seconds) for seconds in (1.0, 2.0))


class Store:
    """A store whose locks are held by another build for some looks."""

    def __init__(self, looks: int = 0) -> None:
        self.looks, self.locked = looks, []

    @contextlib.contextmanager
    def lock(self, key, waiting):
        for _ in range(self.looks):
            waiting()
        self.locked.append(key)
        yield


def nothing(action):
    return None


def found(action):
    assert action is ACTION
    return FOUND


def never(action):
    raise AssertionError("this question is not asked here")


@pytest.mark.parametrize(
    ("looks", "lookup", "performed", "told"),
    [
        (0, Lookup(nothing, never), Performed(MADE), 0),
        (0, Lookup(found, never), Performed(FOUND, ran=False), 0),
        (0, Lookup(None, never), Performed(MADE), 0),
        (3, Lookup(never, found), Performed(FOUND, ran=False), 1),
        (3, Lookup(never, nothing), Performed(MADE), 1),
        (1, Lookup(None, found), Performed(FOUND, ran=False), 1),
    ],
    ids=[
        "not known",
        "known meanwhile",
        "made anew",
        "done by another",
        "another failed",
        "anew, done by another",
    ],
)
def test_an_action_is_run_unless_its_result_is_known_by_then(looks, lookup, performed, told):
    store, waits = Store(looks), []

    result = run_once(ACTION, lambda: MADE, store, Control(), lookup, lambda: waits.append(1))

    assert result == performed
    assert (store.locked, len(waits)) == ([ACTION.key], told)


def test_a_press_ends_the_waiting_for_another_build():
    control = Control()
    control.cancelled.set()

    with pytest.raises(Interrupted):
        run_once(ACTION, lambda: MADE, Store(1), control, Lookup(found, found))
