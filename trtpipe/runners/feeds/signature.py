"""The inputs of a model or an engine: names, types, shapes and profiles, read from a manifest or a typed model.

Types are named as in `runners.inference`. Runs nothing, and reads no weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import ModelError, Problem, SpecError
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    flag_in,
    integer_in,
    integers_in,
    list_in,
    objects_in,
    text_in,
)
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import shapes_at, values_at
from trtpipe.runners.inference.engine_process.arrays import ElementType
from trtpipe.runners.inference.engine_process.events import Failure
from trtpipe.runners.inference.engine_process.signature import Port, Range, choose_profile
from trtpipe.shapes import Shape
from trtpipe.spec.pipeline import Profile, ProfileInput

_ONNX_NAMES = {
    "float8_e4m3fn": "float8e4m3fn",
    "float8_e8m0fnu": "float8e8m0",
    "float4_e2m1fn": "float4e2m1",
}
"""The typed model's names of types, where the runner has others."""
_PROFILES: TypeAdapter[list[dict[str, ProfileInput]]] = TypeAdapter(list[dict[str, ProfileInput]])


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs in order, with their profiles; a dim is an int; a dynamic one is a name or None."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[str, ...]
    profiles: tuple[Profile, ...] = ()

    def input(self, name: str) -> TensorInfo:
        """The input with this name, which must exist."""
        return next(one for one in self.inputs if one.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs' names."""
        return tuple(one.name for one in self.inputs)

    def shapes(self, profile: int) -> dict[str, Shape]:
        """Every input's shape at the opt of a profile; inputs of unknown shape are left out."""
        return shapes_at(self.inputs, self._profile(profile), "opt")

    def values(self, profile: int) -> dict[str, tuple[int, ...]]:
        """The values of shape tensors at the opt of a profile."""
        return values_at(self._profile(profile), "opt")

    def _profile(self, index: int) -> Profile:
        return self.profiles[index] if self.profiles else {}

    def described(self) -> str:
        """The inputs as text for people: `'image' float32 ?x1x8x8`."""
        return ", ".join(f"'{one.name}' {one.dtype} {dims_text(one.dims)}" for one in self.inputs) or "none"


def dims_text(dims: Sequence[object] | None) -> str:
    """`?x1x8x8`."""
    if dims is None:
        return "of any shape"
    return "x".join(str(dim) if isinstance(dim, int) else "?" for dim in dims) or "scalar"


def signature_of_manifest(manifest: JsonObject, path: Path) -> Signature:
    """The inputs of an engine according to its manifest. Raises ModelError when they are missing."""
    try:
        profiles = _PROFILES.validate_json(json.dumps(list_in(manifest, "profiles")))
        io = [_port(one) for one in objects_in(manifest, "io")]
    except (ValueError, RecursionError) as error:  # Malformed, or pydantic's ValidationError
        raise ModelError(
            Code.MANIFEST_DAMAGED, f"{path} is a damaged manifest", "build the cell again, or copy it again"
        ) from error
    inputs = tuple(info for is_input, info in io if is_input)
    return Signature(inputs, tuple(info.name for is_input, info in io if not is_input), tuple(profiles))


def _port(record: JsonObject) -> tuple[bool, TensorInfo]:
    """Whether it is an input, and its name, type and shape. Raises Malformed."""
    name, dtype, shape = text_in(record, "name"), text_in(record, "dtype"), integers_in(record, "shape")
    dims = tuple(dim if dim >= 0 else None for dim in shape)
    return text_in(record, "mode") == "input", TensorInfo(name, dtype, dims)


def signature_of_model(path: Path, profiles: Iterable[Profile] = ()) -> Signature:
    """The inputs of a typed model. Raises ModelError."""
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.canonical.summary import summarize

    summary = summarize(read_skeleton(path).proto)
    inputs = tuple(
        TensorInfo(one.name, _ONNX_NAMES.get(one.dtype, one.dtype), one.dims) for one in summary.inputs
    )
    return Signature(inputs, tuple(one.name for one in summary.outputs), tuple(profiles))


def signature_of_engine(facts: JsonObject) -> Signature:
    """The inputs from an engine's own description (`Inference.engine`). Raises Malformed."""
    ports = objects_in(facts, "io")
    inputs = [one for one in ports if flag_in(one, "is_input")]
    outputs = tuple(text_in(one, "name") for one in ports if not flag_in(one, "is_input"))
    profiles = []
    for index in range(integer_in(facts, "profiles")):
        entries = {text_in(one, "name"): _entry(one, index) for one in inputs}
        profiles.append({name: entry for name, entry in entries.items() if entry is not None})
    return Signature(tuple(map(_info, inputs)), outputs, tuple(profiles) if any(profiles) else ())


def _info(port: JsonObject) -> TensorInfo:
    dims = tuple(dim if dim >= 0 else None for dim in integers_in(port, "shape"))
    return TensorInfo(text_in(port, "name"), text_in(port, "dtype"), dims)


def _entry(port: JsonObject, index: int) -> ProfileInput | None:
    """A port's limits in a profile; empty for a static one."""
    record: dict[str, Json] = {}
    shapes, values = list_in(port, "shapes"), list_in(port, "values")
    if index < len(shapes) and -1 in integers_in(port, "shape"):
        record |= _limits(shapes[index])
    if index < len(values) and values[index] is not None:
        record["values"] = _limits(values[index])
    return ProfileInput.model_validate_json(json.dumps(record)) if record else None


def _limits(three: Json) -> dict[str, Json]:
    if not isinstance(three, (list, tuple)) or len(three) != 3:
        raise Malformed("a profile's limits are not three")
    return dict(zip(("min", "opt", "max"), three, strict=True))


def profile_for(
    signature: Signature,
    shapes: Mapping[str, Shape],
    values: Mapping[str, tuple[int, ...]],
    wanted: int | None,
) -> int:
    """The index of the profile that an engine would use for these shapes and shape tensor values; 0 without profiles.

    Raises SpecError with the ranges that were missed.
    """
    count = len(signature.profiles)
    if wanted is not None and not 0 <= wanted < max(count, 1):
        remedy = f"choose from 0 to {count - 1}" if count else "leave it out"
        raise SpecError(Code.NO_SUCH_PROFILE, f"there is no profile {wanted}", remedy)
    ports = [_ranges(signature, info) for info in signature.inputs]
    try:
        return choose_profile(ports, shapes, values, wanted)
    except Failure as failure:
        fact = "no profile takes these shapes" if wanted is None else f"profile {wanted} does not take them"
        lines = "\n".join(str(one) for one in failure.details) or failure.message
        raise SpecError(Problem(Code.NO_PROFILE_TAKES, fact, lines)) from failure


def _ranges(signature: Signature, info: TensorInfo) -> Port:
    entries = [profile.get(info.name) for profile in signature.profiles]
    shapes = [_three(entry.min, entry.opt, entry.max) for entry in entries if entry is not None and entry.min]
    values: list[Range | None] = [
        (entry.values.min, entry.values.opt, entry.values.max) if entry and entry.values else None
        for entry in entries
    ]
    whole = tuple(shapes) if len(shapes) == len(entries) else ()
    return Port(info.name, True, ElementType(info.dtype, 0, None), (), False, whole, tuple(values))


def _three(least: Shape | None, likeliest: Shape | None, greatest: Shape | None) -> Range:
    assert least is not None and likeliest is not None and greatest is not None, "one of them means all"
    return least, likeliest, greatest
