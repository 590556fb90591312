"""Values of the spec converted to options, with their origins: profiles, the transform, data sets."""

from __future__ import annotations

from collections.abc import Mapping

from trtpipe.json_values import Json, JsonObject
from trtpipe.plan.graph import json_ready
from trtpipe.plan.options import TransformOptions
from trtpipe.plan.origins import PACKAGE, PLUGIN, InDataSet, InSpec, Parts
from trtpipe.spec.pipeline import Profile, ProfileInput, TransformSpec

PROFILES = InSpec(("profiles",))
_TRANSFORM = InSpec(("transform",)).each("bind", "outputs", "set_shapes", "simplify", "graft")


def profiles_record(profiles: tuple[Profile, ...]) -> list[Mapping[str, JsonObject]]:
    """Profiles as JSON: input → min, opt and max shapes, or values."""
    return [{name: _entry(entry) for name, entry in sorted(profile.items())} for profile in profiles]


def _entry(entry: ProfileInput) -> dict[str, Json]:
    return dict(json_ready(entry.model_dump(exclude_none=True)))


def transform_options(transform: TransformSpec | None) -> TransformOptions:
    """The transform; its record is empty when it has no effect."""
    if transform is None:
        return TransformOptions(origins=_TRANSFORM)
    return TransformOptions(
        bind=json_ready(transform.bind),
        outputs=transform.outputs,
        set_shapes=transform.set_shapes,
        simplify=transform.simplify,
        graft=json_ready(transform.graft) if transform.graft is not None else None,
        origins=_TRANSFORM,
    )


def data_set_origin(name: str) -> Parts:
    """The origin of a data set's record: its spec comes from its file, the rest from the readers."""
    file = InDataSet(name)
    return Parts(file, {"spec": file, "readers": PLUGIN, "packages": PACKAGE})
