"""The plug-ins that a stage's body reaches for, as installed with trtpipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtpipe.stages.task import Task


class InstalledPlugins:
    """Frontends and precisions by their files' names; the transform and the validator."""

    def lower(self, parser: str, task: Task, out: Path) -> Mapping[str, Any]:
        """Lower a source to canonical ONNX at `out`; what the frontend reports."""
        from trtpipe.frontends import ModelFiles, frontend_called, lower_model

        frontend = frontend_called(parser)
        source = _source(task)
        named = dict(task.inputs.get("files", {}))
        files = ModelFiles(source, named, _root(task, source))
        options = frontend.Options.model_validate(task.options["options"])
        return lower_model(frontend, files, options, out).to_json()

    def transform(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Apply the transform's options to a canonical model; what changed."""
        from trtpipe.system.transforming import transform_model

        named = dict(task.inputs.get("files", {}))
        root = Path(task.local["root"]).resolve() if "root" in task.local else None
        return {"changes": transform_model(task.input("model"), out, task.options, named, root).to_json()}

    def rewrite(self, precision: str, task: Task, out: Path) -> Mapping[str, Any]:
        """Make the typed model; types per node and the audit of it."""
        from trtpipe.precisions import find_precision
        from trtpipe.precisions.casting.files import rewrite_file

        found = find_precision(precision)
        assert found is not None, f"no precision {precision!r}: the loader knows them"
        return rewrite_file(found, task.input("model"), out, keep=task.options["keep"])

    def validate(self, task: Task, out: Path) -> Mapping[str, Any]:
        """Measure the typed model against its reference; what reports say of it."""
        from trtpipe.runners.validate import run_validation

        return run_validation(task, out)


def _source(task: Task) -> Path | None:
    """The model's file or directory; None for a model that is declared in its options."""
    files = task.inputs.get("source", {})
    if not files or (f"model.{task.options['parser']}" not in files and not task.options.get("directory")):
        return None
    name, first = next(iter(files.items()))
    return first.parents[len(Path(name).parts) - 1] if task.options.get("directory") else first


def _root(task: Task, model: Path | None) -> Path:
    """External data stays in the project; a model from elsewhere keeps its data in its own folder."""
    root = Path(task.local["root"]).resolve()
    if model is None:
        return root
    home = model.resolve()
    return root if home.is_relative_to(root) else home.parent
