"""Converts a model to an opset that every later step and every TensorRT version understands.

onnx's own version converter does the work, on the skeleton. A model that it cannot convert stays at its opset, and
TensorRT, which hardly looks at the number, decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.checks import check_model
from trtpipe.canonical.legacy_operators import (
    BROADCASTING_SINCE,
    RESIZED_SINCE,
    drop_marks,
    keep_places,
    modernize,
)
from trtpipe.canonical.tensors import nodes_of
from trtpipe.errors import ModelError

if TYPE_CHECKING:
    import onnx

OLDEST = 13
"""Axes of reductions and of Squeeze, and Q/DQ per channel, look the same to every step from this opset on."""

CHOSEN = 17
"""What older models are brought to: known to TensorRT 10.12 to 11 and RTX 1.4 to 1.7 alike."""


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of the standard operators; 0 when the model imports none."""
    return next((int(item.version) for item in proto.opset_import if item.domain in ("", "ai.onnx")), 0)


def normalize_domains(proto: onnx.ModelProto) -> None:
    """Writes `ai.onnx` as the empty domain, removes duplicate imports, and imports custom domains in use.

    Imports are the highest version where several are given. A missing import of the standard operators is
    reported by the checker.
    """
    versions: dict[str, int] = {}
    for item in proto.opset_import:
        domain = "" if item.domain == "ai.onnx" else item.domain
        versions[domain] = max(item.version, versions.get(domain, 0))
    used = set()
    for node in nodes_of(proto):
        if node.domain == "ai.onnx":
            node.domain = ""
        used.add(node.domain)
    for domain in sorted(used - versions.keys() - {""}):
        versions[domain] = 1
    del proto.opset_import[:]
    for domain in sorted(versions):
        if domain in used or domain == "":
            proto.opset_import.add(domain=domain, version=versions[domain])


def upgrade(proto: onnx.ModelProto, *, oldest: int = OLDEST, chosen: int = CHOSEN) -> str:
    """Raises the opset to `chosen` in place when it is below `oldest`; returns a description, empty if unchanged."""
    current = opset_of(proto)
    if current >= oldest or current == 0:
        return ""
    reason, converted = "", None
    forgotten = current < BROADCASTING_SINCE and any(node.op_type == "PRelu" for node in nodes_of(proto))
    if not forgotten:  # the converter does not reshape a slope for each channel
        converted, reason = _converted(_named(proto), chosen)
    if converted is None:
        converted = _converted_plainer(_named(proto), current, chosen)
    if converted is None:
        why = f" ({reason[-160:]})" if reason else ""
        return f"opset {current} kept: it could not be converted to {chosen}{why}"
    if current < RESIZED_SINCE:
        keep_places(converted)
    if _differ(proto, converted):
        return f"opset {current} kept: the conversion to {chosen} would change inputs or outputs"
    for old, new in zip(_ends(proto), _ends(converted), strict=True):
        new.CopyFrom(old)  # the converter gives names to unnamed dims
    proto.CopyFrom(converted)
    return f"opset {current} converted to {chosen}"


def _converted_plainer(model: onnx.ModelProto, current: int, chosen: int) -> onnx.ModelProto | None:
    """Converts after rewriting old operators into forms that the converter accepts even if sizes are unknown."""
    if current < _ATTRIBUTES_UNTIL:
        drop_marks(model)
        older, _ = _converted(model, _ATTRIBUTES_UNTIL)
        if older is None:
            return None
        model, current = older, _ATTRIBUTES_UNTIL
    return _converted(model, chosen)[0] if modernize(model, current) else None


_ATTRIBUTES_UNTIL = 6
"""The opset to which the converter goes without asking for sizes."""


def _converted(model: onnx.ModelProto, chosen: int) -> tuple[onnx.ModelProto | None, str]:
    """The model in another opset, or None and the reason."""
    import onnx

    try:
        converted: onnx.ModelProto = onnx.version_converter.convert_version(model, chosen)
        normalize_domains(converted)
        check_model(converted)
    except (
        RuntimeError,
        ValueError,
        ModelError,
        onnx.shape_inference.InferenceError,
        onnx.version_converter.ConvertError,
    ) as error:
        return None, " ".join(str(error).split())
    return converted, ""


def _ends(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*proto.graph.input, *proto.graph.output]


def _differ(proto: onnx.ModelProto, converted: onnx.ModelProto) -> bool:
    """Whether inputs or outputs changed; the converter drops the batch axis of Scan-8, for one.

    Names of dims are not compared, nor are shapes that the model does not declare: the converter fills them in.
    """
    before, after = _ends(proto), _ends(converted)
    if len(before) != len(after):
        return True
    for old, new in zip(before, after, strict=True):
        bare = not old.type.tensor_type.HasField("shape")
        if _nameless(old.type, bare=bare) != _nameless(new.type, bare=bare):
            return True
    return False


def _nameless(kind: onnx.TypeProto, *, bare: bool) -> bytes:
    copy = type(kind)()
    copy.CopyFrom(kind)
    if bare and copy.HasField("tensor_type"):
        copy.tensor_type.ClearField("shape")
    for dim in copy.tensor_type.shape.dim if copy.HasField("tensor_type") else ():
        dim.ClearField("dim_param")
    return bytes(copy.SerializeToString(deterministic=True))


def _named(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Sets the IR version and the graph's name, because the converter rejects a model with IR below 3 or no name."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.ir_version = max(copy.ir_version, 4)
    copy.graph.name = copy.graph.name or "main"
    return copy
