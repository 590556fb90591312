"""Formats profiles as spec text that a user can paste."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.loader.scalars import flow_yaml
from trtpipe.shapes import format_shape
from trtpipe.spec.pipeline import Profile, ProfileInput

if TYPE_CHECKING:
    from trtpipe.json_values import Json


def yaml_profiles(profiles: tuple[Profile, ...]) -> str:
    """The `profiles:` block of a spec, one input a line."""
    lines = ["profiles:"]
    for profile in profiles:
        for index, (name, entry) in enumerate(profile.items()):
            lines.append(f"  {'-' if index == 0 else ' '} {flow_yaml(name)}: {flow_yaml(plain_entry(entry))}")
    return "\n".join(lines)


def plain_entry(entry: ProfileInput) -> str | dict[str, Json]:
    """One input's range as plain data: a lone shape when min, opt and max are the same."""
    plain: dict[str, Json] = {}
    if entry.min is not None and entry.opt is not None and entry.max is not None:
        shapes = [format_shape(shape) for shape in (entry.min, entry.opt, entry.max)]
        if len(set(shapes)) == 1 and entry.values is None:
            return shapes[0]
        plain |= dict(zip(("min", "opt", "max"), shapes, strict=True))
    if entry.values is not None:
        plain["values"] = {corner: list(getattr(entry.values, corner)) for corner in ("min", "opt", "max")}
    return plain
