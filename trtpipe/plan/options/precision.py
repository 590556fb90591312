"""The options of the stages that produce the typed model: calibrate (from data or from a cache) and quantize."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    flag_in,
    integer_in,
    list_in,
    number_in,
    object_in,
    text_in,
    texts_in,
)
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions, given, if_given


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions(StageOptions):
    """How scales, ranges or both are measured on a data set."""

    backend: str
    backend_version: int
    provider: str
    """Where the model is run: `cpu` or `cuda`."""
    data: JsonObject
    """The data set: its spec after defaults and the versions of what reads it."""
    samples: int | None
    method: str | None
    """How values become scales; None where no scales are asked for."""
    percentile: float | None
    ranges: bool
    """Whether the ranges of all float tensors are asked for."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {
            "backend": self.backend,
            "backend_version": self.backend_version,
            "provider": self.provider,
            "data": self.data,
            "samples": self.samples,
            "method": self.method,
            "percentile": self.percentile,
            "ranges": self.ranges,
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> CalibrateOptions:
        """The options read back. Raises Malformed."""
        return cls(
            backend=text_in(record, "backend"),
            backend_version=integer_in(record, "backend_version"),
            provider=text_in(record, "provider"),
            data=object_in(record, "data"),
            samples=if_given(integer_in, record, "samples"),
            method=if_given(text_in, record, "method"),
            percentile=if_given(number_in, record, "percentile"),
            ranges=flag_in(record, "ranges"),
            origins=UNPLACED,
        )


@dataclass(frozen=True, slots=True)
class CacheReading:
    """How a calibration cache is read."""

    format: str
    min_coverage: float
    """The least share of tensors that the cache must have scales of."""
    rename: Mapping[str, str]

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {"format": self.format, "min_coverage": self.min_coverage, "rename": dict(self.rename)}

    @classmethod
    def from_record(cls, record: JsonObject) -> CacheReading:
        """The options read back. Raises Malformed."""
        rename = object_in(record, "rename")
        names = {name: text_in(rename, name) for name in rename}
        return cls(text_in(record, "format"), number_in(record, "min_coverage"), names)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions(StageOptions):
    """How scales are taken from a calibration cache of another tool."""

    cache: CacheReading
    reader_version: int

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {"cache": self.cache.record(), "reader_version": self.reader_version}

    @classmethod
    def from_record(cls, record: JsonObject) -> CacheOptions:
        """The options read back. Raises Malformed."""
        cache = CacheReading.from_record(object_in(record, "cache"))
        return cls(cache=cache, reader_version=integer_in(record, "reader_version"), origins=UNPLACED)


def calibrating(record: JsonObject) -> CalibrateOptions | CacheOptions:
    """The options of a calibrate step read back, of either kind. Raises Malformed."""
    return CacheOptions.from_record(record) if "cache" in record else CalibrateOptions.from_record(record)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions(StageOptions):
    """How the typed model is made. Options that a variant does not use are not in the record."""

    precision: str
    precision_version: int | Mapping[str, int]
    """The version of the precision; of one that is searched for, those of all that may be chosen."""
    keep: Mapping[str, tuple[str, ...]]
    """Precision → globs of nodes that stay in it."""
    base: str | None = None
    block_size: int | None = None
    io: tuple[tuple[str, str], ...] = ()
    """Globs of inputs and outputs with `keep` or `convert`, in the order in which they count."""
    overflow: str | None = None
    """`refuse`, or None."""
    graft: JsonObject | None = None
    """Layers in front of the typed model's inputs, as `transform.graft` has them: the edges of a bundle."""

    def version_of(self, precision: str) -> int:
        """The version of a precision that this may result in."""
        versions = self.precision_version
        return versions[precision] if isinstance(versions, Mapping) else versions

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        versions = self.precision_version
        return given(
            {
                "precision": self.precision,
                "precision_version": dict(versions) if isinstance(versions, Mapping) else versions,
                "keep": {name: list(globs) for name, globs in self.keep.items()},
                "base": self.base,
                "block_size": self.block_size,
                "io": [list(one) for one in self.io] or None,
                "overflow": self.overflow,
                "graft": self.graft,
            }
        )

    @classmethod
    def from_record(cls, record: JsonObject) -> QuantizeOptions:
        """The options read back. Raises Malformed."""
        keep = object_in(record, "keep")
        return cls(
            precision=text_in(record, "precision"),
            precision_version=_versions_in(record),
            keep={name: tuple(texts_in(keep, name)) for name in keep},
            base=if_given(text_in, record, "base"),
            block_size=if_given(integer_in, record, "block_size"),
            io=_io_in(record) if "io" in record else (),
            overflow=if_given(text_in, record, "overflow"),
            graft=if_given(object_in, record, "graft"),
            origins=UNPLACED,
        )


def _versions_in(record: JsonObject) -> int | Mapping[str, int]:
    if not isinstance(record.get("precision_version"), Mapping):
        return integer_in(record, "precision_version")
    versions = object_in(record, "precision_version")
    return {name: integer_in(versions, name) for name in versions}


def _io_in(record: JsonObject) -> tuple[tuple[str, str], ...]:
    found = []
    for one in list_in(record, "io"):
        match one:
            case [str(glob), str(choice)]:
                found.append((glob, choice))
            case _:
                raise Malformed("an entry of io is not a glob with a choice")
    return tuple(found)
