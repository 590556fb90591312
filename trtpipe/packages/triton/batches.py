"""The largest batch that Triton may make for a model: what its dimensions and its profiles allow.

Triton sends a batch of any size from 1 to `max_batch_size`, whatever the other dimensions are, and the TensorRT backend
then looks for a profile that takes it. So every size must be taken together with everything else that is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtpipe.errors import PackageError
from trtpipe.json_values import JsonObject, Malformed, integers_in, object_in
from trtpipe.packages.index import Tensor
from trtpipe.problem_codes import Code

Follows = Mapping[str, bool | None]
"""Output → whether its first dimension is the batch; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Batches:
    """`max_batch_size`, and why it is not larger."""

    most: int
    why: str


def most_batches(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], profiles: Sequence[JsonObject], follows: Follows
) -> Batches:
    """The largest batch that may be made without being asked for; 0 for none. Raises Malformed."""
    allowed = _allowed(inputs, outputs, profiles)
    unsure = [one.name for one in outputs if not follows.get(one.name)]
    if allowed.most and unsure:
        return Batches(0, f"it is not known that the first dimension of '{unsure[0]}' is the batch")
    return allowed


def asked_batches(
    asked: int,
    model: str,
    tensors: tuple[Sequence[Tensor], Sequence[Tensor]],
    profiles: Sequence[JsonObject],
    follows: Follows,
) -> int:
    """The `max_batch_size` that a spec asks for. Raises PackageError when the model does not take such batches."""
    if asked == 0:
        return 0
    allowed = _allowed(*tensors, profiles)
    denied = [name for name, found in follows.items() if found is False]
    why = f"the first dimension of '{denied[0]}' is not the batch" if denied else allowed.why
    if denied or allowed.most < asked:
        most = 0 if denied else allowed.most
        raise PackageError(
            Code.NOT_SERVABLE,
            f"max_batch_size {asked} is too large for {model}: {why}",
            f"write max_batch_size: {most}",
        )
    return asked


def _allowed(inputs: Sequence[Tensor], outputs: Sequence[Tensor], profiles: Sequence[JsonObject]) -> Batches:
    for one in (*inputs, *outputs):
        if one.shape_tensor:
            return Batches(0, f"'{one.name}' is a shape tensor, which has no batch")
        if not one.shape or one.shape[0] != -1:
            return Batches(0, f"the first dimension of '{one.name}' is fixed")
    if not inputs or not profiles:
        return Batches(0, "no profile says which batches it takes")
    return _covered(inputs, profiles)


def _covered(inputs: Sequence[Tensor], profiles: Sequence[JsonObject]) -> Batches:
    """The largest n such that every size from 1 to n is taken, whatever the other dimensions are."""
    tiers: dict[object, list[tuple[int, int]]] = defaultdict(list)
    for profile in profiles:
        ranges = [_range(profile, one) for one in inputs]
        rest = tuple((low[1:], high[1:]) for low, high in ranges)
        tiers[rest].append((max(low[0] for low, _ in ranges), min(high[0] for _, high in ranges)))
    reached = [_contiguous(spans) for spans in tiers.values()]
    most = min(reached)
    if most == 0:
        return Batches(0, "not every profile takes a batch of 1")
    return Batches(most, f"profiles take batches of up to {most}")


def _contiguous(spans: Sequence[tuple[int, int]]) -> int:
    most = 0
    for low, high in sorted(spans):
        if low > most + 1:
            break
        most = max(most, high)
    return most


def _range(profile: JsonObject, tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    entry = object_in(profile, tensor.name)
    low, high = tuple(integers_in(entry, "min")), tuple(integers_in(entry, "max"))
    if len(low) != len(tensor.shape) or len(high) != len(tensor.shape):
        raise Malformed(f"a profile of {tensor.name} has another number of dimensions")
    return low, high
