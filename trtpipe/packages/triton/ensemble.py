"""A bundle as a Triton ensemble: its members as steps, its edges as names that two steps share.

An edge that reshapes or casts is no step: that is grafted into the consumer's model when it is built. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.config import ModelConfig
from trtpipe.packages.triton.pbtxt import Field, Message, render
from trtpipe.packages.triton.tensors import dims_of, tensor_message


@dataclass(frozen=True, slots=True)
class Step:
    """One member of the bundle, and the model of the repository that it is."""

    member: str
    model: ModelConfig


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The steps in an order in which each follows those that it consumes from."""

    name: str
    steps: tuple[Step, ...]
    edges: Sequence[tuple[str, str]]
    """`member.output` → `member.input`."""
    outputs: Sequence[str]
    """What the whole gives: `member.output`."""

    @property
    def max_batch_size(self) -> int:
        """The largest batch that every step takes; 0 when one of them takes none: then requests are whole tensors."""
        return min(step.model.max_batch_size for step in self.steps)


def ensemble_text(ensemble: Ensemble) -> str:
    """The text of the ensemble's `config.pbtxt`."""
    fed = {target: source for source, target in ensemble.edges}
    fields: list[Field] = [
        ("name", ensemble.name),
        ("platform", "ensemble"),
        ("max_batch_size", ensemble.max_batch_size),
    ]
    for step in ensemble.steps:
        free = [one for one in step.model.inputs if f"{step.member}.{one.name}" not in fed]
        fields += [("input", _port(ensemble, step, one)) for one in free]
    for step in ensemble.steps:
        given = [one for one in step.model.outputs if f"{step.member}.{one.name}" in ensemble.outputs]
        fields += [("output", _port(ensemble, step, one)) for one in given]
    steps: list[Field] = [("step", _step(step, fed)) for step in ensemble.steps]
    return render([*fields, ("ensemble_scheduling", Message(steps))])


def _port(ensemble: Ensemble, step: Step, tensor: Tensor) -> Message:
    """An input or output of the whole, of the shape that its step has for requests.

    A step that takes batches in an ensemble that takes none is given whole tensors, batch and all.
    """
    batching = step.model.max_batch_size > 0
    shape = dims_of(tensor, batching=batching) or (1,)
    if batching:
        shape = (-1, *shape)
    named = replace(tensor, name=f"{step.member}.{tensor.name}", shape=shape)
    return tensor_message(named, step.model.backend, batching=ensemble.max_batch_size > 0)


def _step(step: Step, fed: Mapping[str, str]) -> Message:
    fields: list[Field] = [("model_name", step.model.name), ("model_version", -1)]
    inputs = {one.name: f"{step.member}.{one.name}" for one in step.model.inputs}
    outputs = {one.name: f"{step.member}.{one.name}" for one in step.model.outputs}
    fields += [("input_map", _entry(name, fed.get(whole, whole))) for name, whole in inputs.items()]
    fields += [("output_map", _entry(name, whole)) for name, whole in outputs.items()]
    return Message(fields)


def _entry(key: str, value: str) -> Message:
    return Message([("key", key), ("value", value)])
