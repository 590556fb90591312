"""Opens the archive of an exported program without PyTorch, and writes the part of it that PyTorch may load.

A `.pt2` is a zip of uncompressed members under one folder: a JSON description, raw weights, and pickles (the example
inputs always; weights of unusual kinds). The written archive contains no pickle. Every size is checked against the file
before it is used.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.torch_format.kinds import DAMAGED
from trtpipe.frontends.torch_format.program import ProgramFacts, facts_of
from trtpipe.json_values import Malformed, integer_in, object_in, objects_in, text_in
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject

_MODEL = "models/model.json"
_WEIGHTS, _CONSTANTS = "data/weights/", "data/constants/"
_CONFIGS = {_WEIGHTS: "model_weights_config.json", _CONSTANTS: "model_constants_config.json"}
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_KEPT = ("archive_format", "archive_version", "byteorder", ".data/version")
_LARGEST_JSON = 512 << 20
_MOST_MEMBERS = 200_000
_AGAIN = "export the model again: torch.export.save(torch.export.export(model, (example,)), 'model.pt2')"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Pt2Archive:
    """An exported program's archive: its facts, and the members that are copied, checked."""

    path: Path
    facts: ProgramFacts
    description: JsonObject
    members: Mapping[str, zipfile.ZipInfo]
    """Name below the archive's one folder → the member."""

    def targets(self) -> list[str]:
        """The operators that the program's nodes call, in order. Raises ModelError when they are not described."""
        try:
            graph = object_in(object_in(self.description, "graph_module"), "graph")
            return [text_in(node, "target") for node in objects_in(graph, "nodes")]
        except Malformed as error:
            raise ModelError(
                Code.NOT_PYTORCH, f"'{self.path.name}' does not describe its nodes", "export it again"
            ) from error


def read_pt2(path: Path) -> Pt2Archive:
    """The archive at `path`. Raises ModelError when it is damaged, inconsistent, or would have to be unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except DAMAGED as error:
        raise _damaged(path, error) from error


def write_bare(archive: Pt2Archive, out: Path) -> None:
    """Writes the program without example inputs, guards and everything else that is not part of the network.

    Raises ModelError when a member turns out to be damaged.
    """
    root = "model/"
    with archive.path.open("rb") as file, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        source = _opened(archive.path, file)
        target.writestr(root + _MODEL, json.dumps(_bare(archive.description)))
        target.writestr(root + _SAMPLE_INPUTS, b"")
        for name, member in archive.members.items():
            info = zipfile.ZipInfo(root + name)
            info.file_size = member.file_size
            with target.open(info, "w") as writing:
                for piece in _pieces(archive.path, source, member):
                    writing.write(piece)


def _bare(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description without guards, and without ranges of sums and products, at which torch.onnx stops."""
    ranges = description["range_constraints"]
    plain = {symbol: ends for symbol, ends in ranges.items() if symbol.isidentifier()}
    return {**description, "guards_code": [], "range_constraints": plain}


def _opened(path: Path, file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _pieces(path: Path, source: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member's bytes. Reading is separate from writing, so that a full disk is not reported as a damaged archive."""
    try:
        with source.open(member) as reading:
            while piece := reading.read(_PIECE):
                yield piece
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        Code.PYTORCH_DAMAGED, f"'{path.name}' is a damaged archive: {error}", "fetch or export it again"
    )


def _read(path: Path, archive: zipfile.ZipFile) -> Pt2Archive:
    found = archive.infolist()
    if len(found) > _MOST_MEMBERS:
        raise ModelError(
            Code.PYTORCH_DAMAGED,
            f"'{path.name}' has {len(found)} members; an exported program has only one for each weight",
        )
    members = {one.filename.partition("/")[2]: one for one in found}
    if _MODEL not in members:
        raise ModelError(
            Code.NOT_PYTORCH,
            f"'{path.name}' contains no exported program: there is no {_MODEL}",
            _other(members),
        )
    description = _json(archive, members, _MODEL)
    facts = facts_of(description)
    configs = {folder: _json(archive, members, folder + name) for folder, name in _CONFIGS.items()}
    problems = [
        problem
        for folder, config in configs.items()
        for problem in _payload_problems(folder, config, members)
    ]
    if problems:
        raise ModelError(problems)
    kept = [name for name in _KEPT if name in members]
    kept += [folder + name for folder, name in _CONFIGS.items()]
    kept += [
        folder + _stored(one) for folder, config in configs.items() for one in _payloads(config).values()
    ]
    for name in kept:
        _require_stored(path, members[name])
    return Pt2Archive(path, facts, description, {name: members[name] for name in dict.fromkeys(kept)})


def _other(members: Iterable[str]) -> str:
    if any(name.startswith("data/aotinductor/") for name in members):
        return "it was compiled by AOTInductor; take the program before that: torch.export.save(program, 'model.pt2')"
    return _AGAIN


def _json(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> JsonObject:
    if name not in members:
        raise ModelError(Code.PYTORCH_DAMAGED, f"the exported program has no {name}", _AGAIN)
    _require_stored(Path(archive.filename or ""), members[name])
    if members[name].file_size > _LARGEST_JSON:
        raise ModelError(
            Code.FILE_TOO_LARGE, f"{name} in the exported program is larger than {_LARGEST_JSON >> 20} MiB"
        )
    try:
        value = json.loads(archive.read(members[name]))
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ModelError(
            Code.PYTORCH_DAMAGED, f"{name} in the exported program is not JSON: {error}", "export it again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(Code.PYTORCH_DAMAGED, f"{name} in the exported program is not a JSON object")
    return value


def _require_stored(path: Path, member: zipfile.ZipInfo) -> None:
    """Rejects members that are compressed or larger than the file; PyTorch never writes such members."""
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ModelError(
            Code.PYTORCH_DAMAGED,
            f"'{member.filename}' in '{path.name}' is compressed, which PyTorch never does",
        )
    if member.file_size > path.stat().st_size:
        raise ModelError(
            Code.PYTORCH_DAMAGED, f"'{member.filename}' in '{path.name}' claims to be larger than the file"
        )


def _payloads(config: JsonObject) -> JsonObject:
    payloads = config.get("config")
    return payloads if isinstance(payloads, dict) else {}


def _payload_problems(
    folder: str, config: JsonObject, members: Mapping[str, zipfile.ZipInfo]
) -> Iterator[Problem]:
    noun = "weight" if folder == _WEIGHTS else "constant"
    if not isinstance(config.get("config"), dict):
        yield Problem(Code.PYTORCH_DAMAGED, f"the {noun}s of the exported program are not described", _AGAIN)
    for name, payload in _payloads(config).items():
        fact = _misfit(payload, folder, members)
        if fact:
            remedy = (
                "use only plain tensors of strided layout, which are stored unchanged"
                if "pickle" in fact
                else _AGAIN
            )
            yield Problem(
                Code.PYTORCH_DAMAGED, f"{noun} {name[:80]!r} of the exported program {fact}", remedy
            )


def _stored(payload: Json) -> str:
    """The name of a weight's member below its folder; empty when it is not given."""
    name = payload.get("path_name") if isinstance(payload, Mapping) else None
    return name if isinstance(name, str) else ""


def _misfit(payload: Json, folder: str, members: Mapping[str, zipfile.ZipInfo]) -> str:
    """Why a weight's bytes cannot be where the description says; empty when they can."""
    stored = _stored(payload)
    if not isinstance(payload, Mapping) or not stored or folder + stored not in members:
        return "has no data in the archive"
    if payload.get("use_pickle") is not False or not stored.startswith(("weight_", "tensor_")):
        return "is a pickle, which can run any code when it is loaded"
    try:
        sizes = [integer_in(one, "as_int") for one in objects_in(object_in(payload, "tensor_meta"), "sizes")]
    except Malformed:
        return "has no fixed shape"
    if members[folder + stored].file_size == 0 and 0 not in sizes:
        return f"claims the shape {'x'.join(map(str, sizes)) or 'scalar'} but has no bytes"
    return ""
