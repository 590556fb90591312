"""`diff`: compares two files, directories or cells of one kind, either of which may be from a git revision.

The kind is recognised by content, as in `inspect`. Nothing is built or run, and weights are read a piece at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.app.look.inspect import Subject as Described
from trtpipe.app.look.inspect import describe, find_subject
from trtpipe.digests import digest_file
from trtpipe.errors import ModelError, SpecError
from trtpipe.files import temporary_folder
from trtpipe.frontends.recognition import refuse_companion
from trtpipe.inspection.engine_files import ENGINE, MANIFEST
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

_KINDS = {
    "engine": "an engine",
    "model": "a model",
    "weights": "a file of weights",
    "lockfile": "a lockfile",
    "scales": "scales",
    "calibration cache": "a calibration cache",
    "pipeline": "a spec",
    "unconverted model": "a model that is not ONNX",
}


def diff(a: str, b: str, cwd: Path, companions: Sequence[Path] = ()) -> dict[str, Any]:
    """The differences as plain JSON values. Raises SpecError, ModelError and TrtpipeError.

    `companions` are the second files of models: of `a`, and then of `b`.
    """
    first, second = _for_each(companions)
    with ExitStack() as stack:
        paths = [_found(text, cwd, stack) for text in (a, b)]
        kinds = [_kind(path) for path in paths]
        if kinds[0] != kinds[1]:
            one, other = (_KINDS[kind] for kind in kinds)
            raise SpecError(
                Code.NOT_COMPARABLE, f"{a!r} is {one}, and {b!r} is {other}: there is nothing to compare"
            )
        if companions and kinds[0] != "model":
            refuse_companion(f"goes with models, and {a!r} is {_KINDS[kinds[0]]}")
        compare: Mapping[str, Callable[[Path, Path, ExitStack], dict[str, Any]]] = {
            "engine": _engines,
            "model": partial(_models, companions=(first, second)),
            "weights": _weights,
            "lockfile": _locks,
        }
        if kinds[0] in ("pipeline", "unconverted model"):
            remedy = "git diff compares specs; give the models or the built cells instead"
            raise SpecError(
                Code.NOT_COMPARABLE, f"{a!r} is {_KINDS[kinds[0]]}, which is not compared", remedy
            )
        found = compare.get(kinds[0], _records)(paths[0], paths[1], stack)
        return {"kind": kinds[0], "a": a, "b": b, **found}


def _for_each(companions: Sequence[Path]) -> tuple[Path | None, Path | None]:
    """The second file of each model. Raises SpecError for more than two."""
    if len(companions) > 2:
        fact = f"--with is given {len(companions)} times, and there are two models"
        raise SpecError(Code.BAD_ARGUMENT, fact, "give it once for OLD and once for NEW")
    first, second = (*companions, None, None)[:2]
    return first, second


def _found(text: str, cwd: Path, stack: ExitStack) -> Path:
    """What the user's text refers to: a path, a cell, or a file extracted from a revision."""
    if ":" in text and not (cwd / text).exists():
        from trtpipe.git.revisions import file_of_revision

        folder = Path(stack.enter_context(temporary_folder("diff")))
        return file_of_revision(text, cwd, folder)
    return cwd / find_subject(text, cwd)


def _kind(path: Path) -> str:
    """The kind of a file or directory, as far as comparing needs it. Raises ModelError."""
    from trtpipe.app.look.records import is_manifest
    from trtpipe.inspection.file_kind import kind_of_file

    if path.is_dir():
        holds = (path / ENGINE).exists() or (path / MANIFEST).exists()
        return "engine" if holds else str(describe(Described(path))["kind"])
    kind = kind_of_file(path)
    if kind == "json":
        return "engine" if is_manifest(path) else str(describe(Described(path))["kind"])
    if kind == "model":
        from trtpipe.app.look.models import kind_of_model

        return kind_of_model(path)
    return "calibration cache" if kind == "cache" else kind


def _models(
    a: Path, b: Path, stack: ExitStack, companions: tuple[Path | None, Path | None] = (None, None)
) -> dict[str, Any]:
    from trtpipe.app.look.models import readable_proto

    if (
        not any(companions)
        and a.is_file()
        and b.is_file()
        and a.stat().st_size == b.stat().st_size
        and _alone(a, b)
    ):
        return {"differs": False, "identical": True}
    sides = [readable_proto(path, stack, one) for path, one in zip((a, b), companions, strict=True)]
    return _protos(sides[0], sides[1], (a, b))


def _alone(a: Path, b: Path) -> bool:
    """Whether two files have the same bytes, and no differing weights beside them."""
    from trtpipe.canonical.reader import external_locations

    if digest_file(a) != digest_file(b):
        return False
    try:
        return not external_locations(a)
    except ModelError:
        return False


def _protos(a: onnx.ModelProto, b: onnx.ModelProto, files: tuple[Path, Path]) -> dict[str, Any]:
    from trtpipe.inspection.diff.models import diff_models

    changes = diff_models(a, b).to_json()
    changes["size"] = _sizes(a, b, files)
    return {"identical": False, **changes}


def _sizes(a: onnx.ModelProto, b: onnx.ModelProto, files: tuple[Path, Path]) -> dict[str, Any]:
    """The costs of the two, if they differ; arithmetic and activations if both are computed for the same shape."""
    from trtpipe.inspection.inspect_model import describe_graph

    sides = describe_graph(a), describe_graph(b)
    found: dict[str, tuple[Any, ...]] = {
        "file bytes": tuple(path.stat().st_size if path.is_file() else None for path in files),
        "parameters": tuple(one.summary.parameters for one in sides),
        "weight bytes": tuple(one.summary.weight_bytes for one in sides),
    }
    if sides[0].at == sides[1].at:
        found["FLOPs"] = tuple(one.costs.flops for one in sides)
        found["activation bytes"] = tuple(one.costs.activation_bytes for one in sides)
    return {name: list(pair) for name, pair in found.items() if pair[0] != pair[1]}


def _weights(a: Path, b: Path, stack: ExitStack) -> dict[str, Any]:
    from dataclasses import asdict

    from trtpipe.inspection.diff.tensors import compare_tensors
    from trtpipe.weights import open_weights
    from trtpipe.weights.pieces import streams_of_file

    sides = [{one.name: one for one in streams_of_file(open_weights(path, root=None))} for path in (a, b)]
    both = [name for name in sides[0] if name in sides[1]]
    changes = [compare_tensors(sides[0][name], sides[1][name]) for name in both]
    graph = {
        "weights": [asdict(change) for change in changes if change is not None],
        "added_weights": [name for name in sides[1] if name not in sides[0]],
        "removed_weights": [name for name in sides[0] if name not in sides[1]],
    }
    return {"differs": any(graph.values()), "unchanged": changes.count(None), "graph": graph}


def _locks(a: Path, b: Path, stack: ExitStack) -> dict[str, Any]:
    from trtpipe.inspection.diff.lockfiles import diff_locks
    from trtpipe.lockfile import load_lock

    old, new = load_lock(a), load_lock(b)
    cells, bundles = diff_locks(old.cells, new.cells), diff_locks(old.bundles, new.bundles)
    return {**cells.to_json(), "differs": cells.any or bundles.any, "bundles": bundles.to_json()}


def _records(a: Path, b: Path, stack: ExitStack) -> dict[str, Any]:
    """Scales, or calibration caches: their fields and tensors."""
    from dataclasses import asdict

    from trtpipe.inspection.diff.records import diff_records

    changes = diff_records(describe(Described(a)), describe(Described(b)), without=("path",))
    return {"differs": bool(changes), "changes": [asdict(change) for change in changes]}


def _engines(a: Path, b: Path, stack: ExitStack) -> dict[str, Any]:
    from trtpipe.inspection.diff.engines import diff_engines

    folders = [path if path.is_dir() else path.parent for path in (a, b)]
    sides = [describe(Described(path)) for path in (a, b)]
    normalised = _normalised(sides[0]), _normalised(sides[1])
    found = diff_engines(*sides, normalised=normalised)
    changes = found.to_json()
    models = [_typed_model(folder, side) for folder, side in zip(folders, sides, strict=True)]
    if models[0] is not None and models[1] is not None and found.digests[0] != found.digests[1]:
        changes["typed model"] = _models(models[0], models[1], stack)
    return changes


def _normalised(record: Mapping[str, Any]) -> str:
    """The digest without generated names: from a manifest of these bytes, or computed from the file."""
    from trtpipe.toolchains.engine_digest import normalised_digest

    manifest = record["manifest"]
    known = manifest.get("engine") if isinstance(manifest, Mapping) else None
    said = known.get("normalised") if isinstance(known, Mapping) else None
    return said if isinstance(said, str) else normalised_digest(Path(record["path"]))


def _typed_model(folder: Path, record: Mapping[str, Any]) -> Path | None:
    """The ONNX model beside the engine, if its digest is the one in the manifest."""
    path = folder / "model.onnx"
    try:
        known = record["manifest"]["model"]["model.onnx"]["blake3"]
        return path if path.is_file() and digest_file(path).hex == known else None
    except (KeyError, TypeError, OSError):
        return None
