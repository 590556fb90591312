"""The agreement to expect for a model that rounds to integers at run time, given the rounding of floats.

A value between two steps may be rounded to the other one when a sum is computed in a different order, and a recurrence
carries that on from step to step. So two implementations of such a model agree less than others do, and the agreement
to expect is measured: the model with every float off by up to half a unit in its last place, compared with itself.

How much one such run changes is chance where few values are rounded, and hardly where many are. So every place is tried
once, and all but the largest of several twice more: there that would take the most time and say the least. If the first
trial changes nothing at the largest place, few values are near a step, and it is tried again there too. All trials have
the same errors in the weights, and others in all that is computed from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import nbytes_of, nodes_of
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.rounding.perturbations import Noise, noise_of, perturbed, perturbed_apart

if TYPE_CHECKING:
    from trtpipe.arrays import Array

    Feeds = Mapping[str, Mapping[str, Array]]

_SEED, _TRIALS = 0, 3
_LARGE = 256 << 20
"""Bytes of weights up to which a copy of them is held between runs."""
_NOTHING = 1e-7
"""A difference of cosines that float32 does not tell from none."""
_MARGIN = 5.0
"""Factor on the largest difference seen, because a validation tries more inputs."""
_LARGEST = 0.02
"""The largest tolerance, as 1 minus the cosine: that of int8. With more a threshold proves almost nothing."""


class NothingToExpect(Exception):
    """Rounding alone changes the outputs so much that comparing them proves nothing; holds the measured cosine."""


def expected_cosine(model: RunnableModel, feeds: Feeds, outputs: Feeds) -> float | None:
    """The cosine to expect of another implementation of the model; None for a model that does not round to integers.

    `outputs` are its outputs for these feeds, by place. Raises NothingToExpect.
    """
    if not outputs or not any(node.op_type == "Round" for node in nodes_of(model.proto)):
        return None
    noise = noise_of("fp32", "fp32")
    assert noise is not None, "the noise of float32 is known"
    with _perturbed_runner(model, noise) as infer:

        def differences(places: Iterable[str]) -> dict[str, float]:
            """Every run draws other random numbers: ONNX Runtime's generators go on where they stopped."""
            return {place: 1 - _cosine(outputs[place], infer(feeds[place])) for place in places}

        found = differences(outputs)
        largest = max(outputs, key=lambda place: sum(array.nbytes for array in feeds[place].values()))
        again = [one for one in outputs if one != largest or found[one] < _NOTHING or len(outputs) == 1]
        worst = [*found.values()]
        for _ in range(1, _TRIALS):
            worst += differences(again).values()
    room = _MARGIN * max(worst)
    if room > _LARGEST:
        raise NothingToExpect(f"{1 - max(worst):.3f}")
    return 1 - _rounded_up(room)


@contextmanager
def _perturbed_runner(
    model: RunnableModel, noise: Noise
) -> Iterator[Callable[[Mapping[str, Array]], dict[str, Array]]]:
    """Runs a copy with errors. The errors of weights are drawn once, unless the weights are large: they cost most."""
    if sum(map(nbytes_of, model.proto.graph.initializer)) > _LARGE:
        with open_runner(perturbed(model, noise, _SEED), spinning=False) as runner:
            yield runner.infer
        return
    making, taking = perturbed_apart(model, noise, _SEED)
    weights = {}
    if making.outputs():
        with open_runner(making, spinning=False) as runner:
            weights = runner.infer({})
    with open_runner(taking, spinning=False) as runner:
        yield lambda feed: runner.infer({**feed, **weights})


def _cosine(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> float:
    """The lowest cosine of the numeric outputs."""
    from trtpipe.metrics.metrics import Accumulator

    found = [1.0]
    for name, value in expected.items():
        if value.dtype.kind in "fiu" and value.shape == actual[name].shape:
            accumulator = Accumulator()
            accumulator.add(value, actual[name])
            cosine = accumulator.result().values["cosine"]
            found += [] if cosine is None else [cosine]
    return min(found)


def _rounded_up(room: float) -> float:
    """A number with one digit that is at least as large; 0 for values below float32's resolution."""
    if room < _NOTHING:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(room))
    return math.ceil(room / unit) * unit
