"""The options of the stages that produce the canonical model: fetch, import and transform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.json_values import (
    Json,
    JsonObject,
    flag_in,
    integer_in,
    integers_in,
    object_in,
    text_in,
    texts_in,
)
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions, if_given


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions(StageOptions):
    """The files to fetch, with addresses without credentials."""

    files: Mapping[str, JsonObject]
    """Output name → what identifies the remote file, and its pin (null without one)."""
    beside: bool
    """Whether the model may refer to files beside it, which are then fetched too."""
    pins: Mapping[str, str]
    """The SHA-256 of files beside the model, by relative name, in lower case."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {"files": dict(self.files), "beside": self.beside, "pins": dict(self.pins)}

    @classmethod
    def from_record(cls, record: JsonObject) -> FetchOptions:
        """The options read back. Raises Malformed."""
        files, pins = object_in(record, "files"), object_in(record, "pins")
        return cls(
            files={name: object_in(files, name) for name in files},
            beside=flag_in(record, "beside"),
            pins={name: text_in(pins, name) for name in pins},
            origins=UNPLACED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions(StageOptions):
    """How the source is converted to canonical ONNX."""

    parser: str
    parser_version: int
    options: JsonObject
    """The parser's own, after defaults."""
    directory: bool = False
    """Whether the source is a directory."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        record: dict[str, Json] = {
            "parser": self.parser,
            "parser_version": self.parser_version,
            "options": dict(self.options),
        }
        return record | ({"directory": True} if self.directory else {})

    @classmethod
    def from_record(cls, record: JsonObject) -> ImportOptions:
        """The options read back. Raises Malformed."""
        return cls(
            parser=text_in(record, "parser"),
            parser_version=integer_in(record, "parser_version"),
            options=object_in(record, "options"),
            directory="directory" in record and flag_in(record, "directory"),
            origins=UNPLACED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformOptions(StageOptions):
    """Changes to the canonical model. Options without effect are not in the record."""

    bind: JsonObject = field(default_factory=dict)
    outputs: Sequence[str] = ()
    set_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    simplify: bool = False
    graft: JsonObject | None = None

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        record: dict[str, Json] = {
            "bind": dict(self.bind),
            "outputs": list(self.outputs),
            "set_shapes": {name: list(dims) for name, dims in self.set_shapes.items()},
            "simplify": self.simplify,
            "graft": self.graft,
        }
        return {name: value for name, value in record.items() if value}

    @classmethod
    def from_record(cls, record: JsonObject) -> TransformOptions:
        """The options read back. Raises Malformed."""
        return cls(
            bind=if_given(object_in, record, "bind") or {},
            outputs=if_given(texts_in, record, "outputs") or (),
            set_shapes=_shapes_in(record) if "set_shapes" in record else {},
            simplify=if_given(flag_in, record, "simplify") or False,
            graft=if_given(object_in, record, "graft"),
            origins=UNPLACED,
        )


def _shapes_in(record: JsonObject) -> dict[str, list[int]]:
    shapes = object_in(record, "set_shapes")
    return {name: integers_in(shapes, name) for name in shapes}


NO_TRANSFORM = TransformOptions(origins=UNPLACED)
"""Changes nothing."""
