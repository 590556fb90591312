"""npz: one zip archive of .npy members.

Uncompressed members are memory-mapped inside the archive. Compressed ones are unpacked into an unnamed temporary file
and mapped there, so that samples can be drawn in any order while memory use stays that of a batch. Large ones are
unpacked only as far as samples are requested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.datasets.samples.mapped import MappedArray, UnpackedArray, told_at
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.weights.archive import Archive
from trtpipe.weights.npy import map_array

LARGEST_UNPACKED = 16 << 30
"""Limit for the unpacked size of all members: more is a zip bomb, or better stored as .npy."""

_AT_ONCE = 64 << 20
"""A compressed member up to this size is unpacked, and its checksum verified, when it is opened."""
_WHERE = ("npz",)


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    return {spec.npz: files(spec.npz)} if spec.npz else {}


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    text = spec.npz or ""
    with told_at(_WHERE):
        return _Members(Archive(files(text), text, stack), stack)


class _Members(Mapping[str, Source]):
    """Arrays by name; each is opened, and unpacked if compressed, on first access."""

    def __init__(self, archive: Archive, stack: ExitStack) -> None:
        self.archive = archive
        self.stack = stack
        self.opened: dict[str, Source] = {}
        self.unpacked = 0

    def __getitem__(self, name: str) -> Source:
        if name not in self.opened:
            size = self.archive.unpacked_size(name)
            self._count(size)
            with told_at(_WHERE):
                large = size > _AT_ONCE
                self.opened[name] = self._large(name) if large else MappedArray(self.archive.array(name))
        return self.opened[name]

    def _large(self, name: str) -> UnpackedArray:
        header, unpacking = self.archive.header(name), self.archive.unpacking(name, self.stack)
        return UnpackedArray(map_array(unpacking.target, header, 0), unpacking, header, _WHERE)

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
