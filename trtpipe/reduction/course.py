"""The steps of a reduction: fixed shapes, bisection from both ends, delta debugging over nodes, then shrinking each
node.

Every step keeps a model that still fails in the same way, so the best so far is always there. Independent of how a
trial is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from trtpipe.reduction.budget import Spent, Trials
from trtpipe.reduction.candidates import Candidate, Whole
from trtpipe.reduction.extraction import NotAModel
from trtpipe.reduction.shrink import (
    attributes_of,
    is_valid,
    resized,
    sizes_of,
    without_attribute,
    without_weights_values,
)
from trtpipe.search.minimization import ddmin, trim

_MOST_ATTRIBUTES = 60


@dataclass(frozen=True)
class Reduced:
    """The result of a reduction."""

    candidate: Candidate
    nodes_before: int
    minimal: bool
    """Whether no single node can go."""
    stopped_by: str = ""
    """What was used up, when it was not finished."""
    trials: int = 0


def reduce_model(
    trials: Trials[Candidate],
    fixed: Callable[[Candidate], Candidate | None],
    keep: Collection[str] = (),
    *,
    shrink: bool = True,
) -> Reduced:
    """The smallest model found that fails as `trials.best` does, which must have been tried.

    `fixed` gives the model with its shapes fixed, or None; `keep` names outputs that stay; without `shrink` only nodes
    are taken away.
    """
    before, minimal = trials.best.nodes, False
    try:
        trials.phase = "fixed shapes"
        if not trials.best.is_static and (static := fixed(trials.best)) is not None:
            trials.still_fails(static)
        minimal = fewer_nodes(trials, keep)
        while minimal and _bypassed(trials, keep):
            minimal = False
            minimal = fewer_nodes(trials, keep)
        if shrink:
            _fewer_attributes(trials)
            _smaller_sizes(trials)
            trials.phase = "weights"
            if (zeroed := without_weights_values(trials.best.model)) is not None:
                trials.still_fails(Candidate(zeroed, trials.best.profiles))
    except Spent as spent:
        return Reduced(trials.best, before, minimal, str(spent), trials.count)
    return Reduced(trials.best, before, minimal, trials=trials.count)


def fewer_nodes(
    trials: Trials[Candidate], keep: Collection[str] = (), may_be_inputs: Collection[str] | None = None
) -> bool:
    """Removes nodes until no single one can be removed; False when even the extraction of all nodes does not fail."""
    whole = Whole(trials.best, may_be_inputs)

    def does(nodes: Sequence[int]) -> bool:
        try:
            return bool(nodes) and trials.still_fails(whole.part(nodes, keep))
        except NotAModel:
            return False

    trials.phase = "ends"
    every = range(whole.candidate.nodes)
    if not does(every):  # extracting all nodes already changes the failure
        return False
    left = trim(every, does)
    trials.phase = "nodes"
    does(ddmin(left, does))  # the last trial need not be the final candidate
    return True


def _bypassed(trials: Trials[Candidate], keep: Collection[str]) -> bool:
    """Removes single nodes and connects their readers to their inputs; whether any could be removed."""
    trials.phase = "bypasses"
    went = False
    for index in reversed(range(trials.best.nodes)):
        if index >= trials.best.nodes:  # it was removed together with another node
            continue
        for model in Whole(trials.best).parts.without(index, keep):
            if trials.still_fails(Candidate(model, trials.best.profiles)):
                went = True
                break
    return went


def _fewer_attributes(trials: Trials[Candidate]) -> None:
    trials.phase = "attributes"
    for node, name in reversed(attributes_of(trials.best.model)[:_MOST_ATTRIBUTES]):
        model = without_attribute(trials.best.model, node, name)
        if is_valid(model):
            trials.still_fails(Candidate(model, trials.best.profiles))


def _smaller_sizes(trials: Trials[Candidate]) -> None:
    trials.phase = "sizes"
    if not trials.best.is_static:
        return
    tried: set[int] = set()
    while left := [size for size in sizes_of(trials.best.model) if size not in tried]:
        tried.add(left[0])
        for model in resized(trials.best.model, left[0]):
            if trials.still_fails(Candidate(model)):
                break
