"""npz: one zip archive of .npy members.

Members that are stored are mapped where they lie; compressed ones are unpacked into an unnamed temporary file and
mapped there, so that samples can be drawn in any order and memory stays that of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locating import Files
from trtpipe.datasets.sampling.mapped import MappedArray, told_at
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.weights.archive import Archive

LARGEST_UNPACKED = 16 << 30
"""Bytes that compressed members may claim together: beyond it is a zip bomb, or better stored as .npy."""

_WHERE = ("npz",)


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    return {spec.npz: files(spec.npz)} if spec.npz else {}


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    text = spec.npz or ""
    with told_at(_WHERE):
        return _Members(Archive(files(text), text, stack))


class _Members(Mapping[str, Source]):
    """Arrays by name; each is opened, and unpacked, when it is first asked for."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.opened: dict[str, Source] = {}
        self.unpacked = 0

    def __getitem__(self, name: str) -> Source:
        if name not in self.opened:
            self._count(self.archive.unpacked_size(name))
            with told_at(_WHERE):
                self.opened[name] = MappedArray(self.archive.array(name))
        return self.opened[name]

    def __contains__(self, name: object) -> bool:
        return name in self.archive.infos

    def __iter__(self) -> Iterator[str]:
        return iter(self.archive.infos)

    def __len__(self) -> int:
        return len(self.archive.infos)

    def _count(self, size: int) -> None:
        self.unpacked += size
        if self.unpacked <= LARGEST_UNPACKED:
            return
        unpacked, allowed = format_size(self.unpacked), format_size(LARGEST_UNPACKED)
        fact = f"'{self.archive.text}' would unpack to {unpacked} or more; {allowed} are allowed"
        remedy = "store its arrays uncompressed (numpy.savez) or as .npy files"
        raise SpecError(Problem(Code.FILE_TOO_LARGE, fact, remedy, path=_WHERE))


reader = Reader(version=1, files=_files, open=_open)
