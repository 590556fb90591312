"""The one property of a build system: after any build, every output equals that of a clean build."""

from __future__ import annotations

import random

import pytest

from tests.building.world import World, plan, step
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, UpToDate
from trtpipe.plan.graph import Outputs
from trtpipe.plan.rebuilder import Rebuilder


def random_plan(world: World, rng: random.Random, size: int, sources: list[bytes]):
    steps = []
    for index in range(size):
        needs = rng.sample([f"s{before}" for before in range(index)], k=min(index, rng.randint(0, 3)))
        source = world.source(rng.choice(sources)) if not needs or rng.random() < 0.3 else None
        options = {"level": rng.randint(0, 2)} | ({"keep": rng.randint(0, 6)} if rng.random() < 0.3 else {})
        steps.append(step(f"s{index}", *needs, source=source, **options))
    return plan(*steps)


def outputs_of(world: World, made) -> dict[str, bytes]:
    return {address: world.output(result) for address, result in made.items()}


def builds_correctly(seed: int, rebuilder_of) -> bool:
    rng = random.Random(seed)
    world = World()
    for _ in range(4):
        wanted = random_plan(world, rng, rng.randint(1, 9), [b"one", b"two", b"three"])
        warm = outputs_of(world, world.build(wanted, rebuilder=rebuilder_of(world)))
        clean = World(bytes_of=dict(world.bytes_of))
        if warm != outputs_of(clean, clean.build(wanted)):
            return False
    return True


@pytest.mark.parametrize("seed", range(60))
def test_a_warm_build_equals_a_clean_one(seed):
    assert builds_correctly(seed, lambda world: world.rebuilder())


WORLD: list[World] = []
"""What the wrong rebuilder looks into; a rebuilder is a frozen value."""


class ByAddress(Rebuilder):
    """Wrong on purpose: believes that a step's address says what it yields."""

    def __call__(self, step, outputs: dict[Address, Outputs]) -> Decision:
        decision = super().__call__(step, outputs)
        traces = WORLD[0].traces
        last = traces.get(WORLD[0].last.get(step.address.pipeline, ""))
        return UpToDate(last.key, last.outputs) if last else decision


def test_the_property_catches_a_wrong_rebuilder():
    def wrong(world: World) -> Rebuilder:
        WORLD[:] = [world]
        return ByAddress(world.past())

    assert not all(builds_correctly(seed, wrong) for seed in range(60))
