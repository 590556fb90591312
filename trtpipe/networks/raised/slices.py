"""The slice layer as a declared one: dims are numbers or tensors; axes and the fill value are numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.spec.network.shape_layers import Slice

if TYPE_CHECKING:
    from trtpipe.networks.raised.layers import Fields, Raised, Raising


def slice_(one: Raising) -> Raised:
    """A declared slice; start, shape and stride are dims or inputs 1 to 3, the fill value input 4, axes input 5."""
    at = one.at
    mode = at.member("mode")
    fields: Fields = {"input": at.read(0).name}
    for name, index in (("start", 1), ("shape", 2), ("stride", 3)):
        given = at.maybe(index)
        fields[name] = given.name if given else at.sizes(name)
        if fields[name] is None:
            at.refuse(f"has neither {name} nor input {index}")
    axes = (
        one.ints(5, "axes") if at.maybe(5) else at.sizes("axes") if at.parsed.attributes.get("axes") else None
    )
    if axes and tuple(axes) != tuple(range(at.rank(at.read(0)))):
        fields["axes"] = axes
    if mode == "fill" and at.maybe(4):
        fields["fill"] = one.number(4, "fill")
    return Slice, {**fields, "mode": mode}
