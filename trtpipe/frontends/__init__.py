"""Frontends: from a source format to canonical ONNX. One module for each format, with a module-level `frontend`.

A frontend reads its format as ONNX; `lower_model` then makes that canonical, in the same way for all formats. The
packages beside the frontends contain their parts. Frontends do not depend on precisions, targets or stores. This module
imports neither onnx nor numpy because specs are loaded with it.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import SpecModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's files on this machine.

    `source` is what `model.source` names; None for a parser that needs none. `named` maps places in the options (fields
    of type `ProjectFile`) to files: `weights`, `layers.3.weights`. Nothing else may be read outside `root`.
    """

    source: Path | None
    named: Mapping[str, Path] = field(default_factory=dict)
    root: Path | None = None

    @property
    def model(self) -> Path:
        """The source, for a parser that needs one."""
        assert self.source is not None, "the loader refuses a spec without the source that its parser needs"
        return self.source


@dataclass(frozen=True, slots=True)
class Proposal:
    """What `init` writes for a file: the source, which may be another file than the one given, and the options.

    `options` are written as they are; values that are paths lie relative to the project's root, or are absolute
    Paths, which `init` makes relative. `comment` is one line about what the user may want to change; `ranges` are the
    least and largest size that the model's author gave, by dimension, None where there is no end; `same` names
    dimensions of one input that are one size.
    """

    source: Path | None
    options: Mapping[str, object] = field(default_factory=dict)
    comment: str = ""
    ranges: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)


class Frontend(Protocol):
    """The interface that each module here provides as `frontend`. Importing a module imports no onnx or numpy."""

    name: str
    version: int
    """Enters the key; raised when the same source would give other bytes."""
    Options: type[SpecModel]
    """`model.options` of the spec; fields of type `ProjectFile` name files. Methods take an instance of it."""
    needs_source: bool
    """Whether `model.source` must be given."""
    takes_directory: bool
    """Whether `model.source` may be a directory, whose files all belong to it."""
    companion: str
    """The option that takes the file which `--with` names; empty where a model is one file, or names its others."""
    packages: tuple[str, ...]
    """Distributions beside onnx, numpy and onnxruntime whose versions can change what is made."""
    extra: str
    """The extra of trtpipe that brings `packages`; empty when they come with trtpipe."""

    def belonging(self, files: ModelFiles, options: Any) -> list[Path]:  # noqa: ANN401 - a parser's own class
        """Further files that the result depends on, referenced by those in `files`. Raises ModelError."""

    def read(
        self,
        files: ModelFiles,
        options: Any,  # noqa: ANN401 - a parser's own class
        workplace: Path,
    ) -> onnx.ModelProto:
        """The source as an ONNX model, valid but not canonical; as made by `canonical.builder.GraphBuilder`.

        Large weights refer to files: the source's own, or some in `workplace`, an empty directory that outlives the
        model. The same source gives the same model, names included. Raises ModelError with every problem, each with its
        `path` where it belongs to a place in the options: ("model", "options", "layers", 3, "kernel_size").
        """

    def propose(self, path: Path) -> Proposal | None:
        """What `init` writes for this file or directory; None when it is not of this format, told by its content."""


@dataclass(frozen=True, slots=True)
class LowerReport:
    """The result of lowering a source.

    `files` are those written, the model first; `changes` counts what each pass did, with notes; `summary` describes the
    canonical model; `warnings` are sentences for the user; `claims` is the source's own metadata.
    """

    files: tuple[Path, ...]
    changes: dict[str, Json]
    summary: dict[str, Json]
    warnings: tuple[str, ...]
    claims: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The report as plain JSON values, files by name alone."""
        return {
            "files": [file.name for file in self.files],
            "changes": self.changes,
            "summary": self.summary,
            "warnings": list(self.warnings),
            "claims": self.claims,
        }


def lower_model(frontend: Frontend, files: ModelFiles, options: SpecModel, out: Path) -> LowerReport:
    """Writes the canonical form of a model to `out`, large weights to `<out>.data` beside it. Raises ModelError.

    If the parser has an option `opset`, the model is converted to at least that opset.
    """
    from trtpipe.canonical.claims import claims_of
    from trtpipe.canonical.evaluation import Evaluator
    from trtpipe.canonical.summary import summarize
    from trtpipe.canonical.support import warnings_about
    from trtpipe.canonical.writer import write_model
    from trtpipe.legalization.legalize import legalize

    with tempfile.TemporaryDirectory(prefix=".lower-", dir=out.parent) as workplace:
        places = Path(workplace, "read"), Path(workplace, "evaluate")
        for place in places:
            place.mkdir()
        model = frontend.read(files, options, places[0])
        claims = claims_of(model)
        with Evaluator(places[1]) as evaluator:
            changes = legalize(model, evaluator, opset=getattr(options, "opset", None))
            written = write_model(model, out)
    summary = summarize(model)
    warnings = (*warnings_about(summary), *changes.costs)
    return LowerReport(tuple(written), changes.to_json(), summary.to_json(), warnings, claims)


def is_installed(distribution: str) -> bool:
    """Whether a distribution is installed beside trtpipe."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache  # asked for with every spec
def frontend_names() -> tuple[str, ...]:
    """The names of all parsers, taken from the module names; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def find_frontend(name: str) -> Frontend | None:
    """The frontend of this name; None when there is none."""
    if name not in frontend_names():
        return None
    found: Frontend = importlib.import_module(f"{__name__}.{name}").frontend
    return found


def frontend_called(name: str) -> Frontend:
    """The frontend of a name that the loader has accepted. Raises ModelError when it no longer exists."""
    found = find_frontend(name)
    if found is None:
        raise ModelError(Code.UNKNOWN_NAME, f"no parser {name!r}")
    return found
