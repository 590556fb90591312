"""`check` for calibration caches: whether they can be read, and cover the model that they are used with.

Import changes some names, and a cache is matched against the names after import: so the model is imported and
transformed once, as a build would do it. Only a pipeline with a cache needs that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.calibration.caches.reader import read_cache
from trtpipe.calibration.caches.report import TIED_TO_WEIGHTS, refuse_uncovered, report_of_cache
from trtpipe.errors import ModelError, Problem, SpecPath
from trtpipe.files import temporary_folder
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.lockfile import first_source, shown_digest
from trtpipe.problem_codes import Code
from trtpipe.spec.variant import CalibrationSpec
from trtpipe.stages.cache_scales import located, matched
from trtpipe.workspace.workspace import Workspace

if TYPE_CHECKING:
    import onnx

    from trtpipe.calibration.caches.entries import Cache


@dataclass(slots=True)
class CacheProver:
    """Proves the caches of one pipeline's variants."""

    pipeline: LoadedPipeline
    workspace: Workspace
    offline: bool = False
    imported: onnx.ModelProto | None = field(default=None, init=False)

    def prove(self, variant: str) -> tuple[list[Problem], str]:
        """Problems of a variant's cache, and a line about its coverage; both empty when the variant uses no cache.

        Raises TrtpipeError when the model cannot be imported.
        """
        asked = self.pipeline.spec.variants[variant].calibration
        if asked is None or asked.cache is None:
            return [], ""
        place: SpecPath = ("variants", variant, "calibration")
        file = self.pipeline.files["variants", variant, "calibration", "cache"]
        try:
            with located(place):
                cache = read_cache(file, asked.format)  # reported before the model is imported
        except ModelError as error:
            return list(error.problems), ""
        model = self._model()
        try:
            with located(place):
                report = _report(asked, cache, model)
        except ModelError as error:
            return list(error.problems), ""
        line = _line(f"{self.pipeline.spec.pipeline}/{variant}", asked.cache, report)
        return list(self._drifted(variant, file, (*place, "cache"))), line

    def _model(self) -> onnx.ModelProto:
        """The model after import and transform, without its weights."""
        from trtpipe.building.canonical_models import transformed_model
        from trtpipe.canonical.reader import read_skeleton

        if self.imported is None:
            store, state = self.workspace.store, self.workspace.state
            with temporary_folder("cache") as name:
                model = transformed_model(self.pipeline, store, state, Path(name), offline=self.offline)
                self.imported = read_skeleton(model).proto
        return self.imported

    def _drifted(self, variant: str, file: Path, place: SpecPath) -> Iterator[Problem]:
        """A warning when the model has changed since the lockfile was written, but its cache has not."""
        model, state = self.pipeline.model_file, self.workspace.state
        if model is None or not model.is_file():
            return
        now = shown_digest(state.digest(model)), shown_digest(state.digest(file))
        cells = f"{self.pipeline.spec.pipeline}/{variant}@"
        locked = self.workspace.site.lock.cells
        for name in (one for one in locked if one.startswith(cells)):
            entry = locked[name]
            then = first_source(entry), entry.get("calibration_cache")
            if then[1] == now[1] and then[0] != now[0]:
                fact = f"the model changed since the lockfile was written for {name}, but its calibration cache did not"
                yield Problem(Code.CACHE_OUTDATED, fact, TIED_TO_WEIGHTS, path=place, severity="warning")
                return


def _report(asked: CalibrationSpec, cache: Cache, model: onnx.ModelProto) -> dict[str, Any]:
    match = matched(cache, model, asked.rename)
    refuse_uncovered(match, asked.min_coverage)
    return report_of_cache(cache, match, asked.min_coverage)


def _line(name: str, file: str, report: Mapping[str, Any]) -> str:
    cache = report["cache"]
    covered = cache["wanted"] - cache["counts"]["missing"]
    repaired = cache["counts"]["repaired"]
    return (
        f"{name}: {file}: {cache['matched']} of {cache['entries']} entries match"
        + (f", {repaired} of them repaired" if repaired else "")
        + f"; {covered} of {cache['wanted']} tensors have a scale"
    )
